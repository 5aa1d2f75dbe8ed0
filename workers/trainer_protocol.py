"""What a trainer says and how it ends, for whoever started it; docs/trainings.md is the contract."""

from __future__ import annotations

import json
import math
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from curation.errors import InputError

BAD_INPUT, STOPPED = 2, 75  # exit codes
GRACE_SECONDS = 60.0  # to save its state in, after SIGTERM
LONGEST_LINE = 1 << 16
MOST_NAMES = 200  # of a point
DEEPEST = 20  # what lies deeper in a result is told as text
LEVELS = ("info", "warning", "error")


class Said(NamedTuple):
    """A line of the protocol.

    kind: ``progress`` (``phase``, ``done``, ``total``), ``log`` (``level``, ``text``), ``metrics``, ``checkpoint`` or
        ``result``.
    values: plain data that any JSON and any database can hold.
    """

    kind: str
    values: dict[str, Any]


def command_of(text: str) -> list[str]:
    """The words of a trainer's command; ``python`` is the one that runs this."""
    words = shlex.split(text)
    return [sys.executable, *words[1:]] if words[:1] == ["python"] else words


def heard(line: bytes) -> Said:
    """What a line says.

    Raises:
        ValueError: it is none of the protocol.
    """
    try:
        said = json.loads(line)
        kind = said.pop("type")
        if kind not in _FORMS:
            raise ValueError(f"unknown type {kind!r}")
        return Said(kind, _FORMS[kind](said))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def failure(code: int, words: str) -> Exception | None:
    """What the exit code of a trainer means; None where it was done.

    Args:
        words: the last line that it wrote to standard error.
    """
    if code == 0:
        return None
    if code == BAD_INPUT:
        return InputError(f"the trainer refused its job: {words.removeprefix('gristmill-trainer: ')}")
    name = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
    return OSError(f"the trainer ended with {name}: {words}")


def plain(value: Any, depth: int = 0) -> Any:
    """JSON that everybody takes: numbers that it has no word for as text, no NUL, no half of a character."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict | list) and depth == DEEPEST:
        return plain(json.dumps(value)[:500])
    if isinstance(value, dict):
        return {plain(str(name)): plain(one, depth + 1) for name, one in value.items()}
    return [plain(one, depth + 1) for one in value] if isinstance(value, list) else value


def _point(said: Mapping[str, Any]) -> dict[str, Any]:
    given = list(said.items())[:MOST_NAMES]
    return {plain(str(n)): plain(json.dumps(v)[:500] if isinstance(v, dict | list) else v) for n, v in given}


def _progress(said: Mapping[str, Any]) -> dict[str, Any]:
    phase = plain(str(said.get("phase", "training")))
    return {"phase": phase, "done": int(said["done"]), "total": int(said["total"])}


def _log(said: Mapping[str, Any]) -> dict[str, Any]:
    level = said.get("level", "info")
    return {"level": level if level in LEVELS else "info", "text": plain(str(said["text"]))}


_FORMS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "metrics": _point, "checkpoint": _point, "progress": _progress, "log": _log,
    "result": lambda said: plain(dict(said)),
}  # fmt: skip
