"""Configurations of the trainer's tasks: a file, JSON or YAML, and values on top."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curation.errors import InputError

_POWER = re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+")


def read_config(path: Path | None, changes: Iterable[str] = ()) -> dict[str, Any]:
    """A configuration from a file, JSON or YAML, with values set on top.

    Args:
        changes: ``loop.steps=100`` each; values are JSON, and text where they are none.

    Raises:
        InputError: it cannot be read, or a value has no place.
    """
    found: Any = {}
    if path is not None:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", str(path)) from None
        found = _parsed(data, path)
    if not isinstance(found, dict):
        raise InputError("a configuration is an object", str(path))
    for change in changes:
        _set(found, change)
    return found


def _parsed(data: bytes, path: Path) -> Any:
    if path.suffix == ".json":
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not JSON: {error}", str(path)) from None
    from pipelines.yaml_source import read_yaml

    return _powers(read_yaml(data, str(path)).data)


def _powers(value: Any) -> Any:
    """``3e-4`` is text in YAML 1.1, and a number to everybody who writes it."""
    if isinstance(value, dict):
        return {name: _powers(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_powers(one) for one in value]
    return float(value) if isinstance(value, str) and _POWER.fullmatch(value) else value


def _set(config: dict[str, Any], change: str) -> None:
    place, sign, text = change.partition("=")
    *parents, last = place.split(".")
    if not sign or not all((*parents, last)):
        raise InputError(f"{change!r} is not like loop.steps=100", "--set")
    for name in parents:
        config = config.setdefault(name, {})
        if not isinstance(config, dict):
            raise InputError(f"{change!r}: {name!r} has a value already, and no fields", "--set")
    try:
        config[last] = json.loads(text)
    except (ValueError, RecursionError):
        config[last] = text
