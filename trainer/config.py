"""Configurations from JSON and back: frozen dataclasses whose fields have types, ranges and reasons.

Every refusal names the field by its JSON pointer: ``/optimizer/learning_rate: 'fast' is no number``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from trainer.errors import ConfigError
from trainer.ranges import suggestion

T = TypeVar("T")


def from_dict(cls: type[T], data: Any, pointer: str = "") -> T:
    """Build a configuration.

    Args:
        cls: a dataclass; fields may be dataclasses, optional, tuples, mappings, literals and plain values.
        data: parsed JSON.
        pointer: of ``data`` in the document that it is from.

    Raises:
        ConfigError: unknown or missing names, values of another type, values out of range.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(pointer, f"an object with {', '.join(_names(cls))} is expected, not {_shown(data)}")
    hints = typing.get_type_hints(cls)
    for name in data:
        if name not in hints:
            raise ConfigError(f"{pointer}/{name}", f"there is no such field{suggestion(str(name), _names(cls))}")
    missing = [f.name for f in dataclasses.fields(cls) if f.name not in data and _required(f)]  # type: ignore[arg-type]
    if missing:
        raise ConfigError(f"{pointer}/{missing[0]}", "this field is missing")
    values = {name: _value(hints[name], value, f"{pointer}/{name}") for name, value in data.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise error.under(pointer) from None


def to_dict(config: Any) -> dict[str, Any]:
    """Plain data that :func:`from_dict` reads back."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def digest(config: Any) -> str:
    """Hash of what a configuration says, 16 hexadecimal digits."""
    text = json.dumps(to_dict(config), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, pointer: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, value, pointer)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(pointer, f"{_shown(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(Any, hint), value, pointer)
    if origin in (tuple, list):
        return _sequence(origin, arguments, value, pointer)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(pointer, f"{_shown(value)} is no object")
        return {str(name): _value(arguments[1], item, f"{pointer}/{name}") for name, item in value.items()}
    return _plain(hint, value, pointer)


def _one_of(choices: tuple[Any, ...], value: Any, pointer: str) -> Any:
    if value is None and type(None) in choices:
        return None
    some = [choice for choice in choices if choice is not type(None)]
    return _value(some[0], value, pointer)


def _sequence(origin: Any, arguments: tuple[Any, ...], value: Any, pointer: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ConfigError(pointer, f"{_shown(value)} is no list")
    if len(arguments) == 2 and arguments[1] is not Ellipsis and len(value) != 2:
        raise ConfigError(pointer, f"two values are expected, not {len(value)}")
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis or len(arguments) == 1 else list(arguments)
    return origin(
        _value(kind, item, f"{pointer}/{at}") for at, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _plain(hint: Any, value: Any, pointer: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        return float(value)
    if hint is int and number and float(value).is_integer():
        return int(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    words = {float: "number", int: "whole number", str: "text", bool: "true or false"}
    raise ConfigError(pointer, f"{_shown(value)} is no {words.get(hint, hint)}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
