"""Fields of somebody else's ``config.json``, each looked at before it is believed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from trainer.errors import StateError

MOST = 1 << 31
"""No size is larger."""


class Fields:
    """Reads fields of a configuration; every refusal names the field.

    Args:
        config: parsed JSON.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def whole(self, name: str) -> int:
        """A size, which must be there."""
        value = self._config.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST:
            raise self.refusal(name, "a positive whole number is needed")
        return value

    def optional_whole(self, name: str, default: int | None) -> int | None:
        """A size, or nothing."""
        if name not in self._config:
            return default
        return None if self._config[name] is None else self.whole(name)

    def count(self, name: str, default: int) -> int:
        """A whole number from 0 up."""
        value = self._config.get(name, default)
        return 0 if value == 0 and value is not False else self.optional_whole(name, default) or 0

    def number(self, name: str, default: float) -> float:
        """A positive number."""
        value = self._config.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
            raise self.refusal(name, "a positive number is needed")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._config.get(name, default)
        if not isinstance(value, bool):
            raise self.refusal(name, "true or false is needed")
        return value

    def text(self, name: str, default: str) -> str:
        """A text."""
        value = self._config.get(name, default)
        if not isinstance(value, str):
            raise self.refusal(name, "a text is needed")
        return value

    def must_be(self, name: str, default: Any, allowed: tuple[Any, ...], why: str) -> None:
        """Refuse a field that has none of the values ``allowed``."""
        value = self._config.get(name, default)
        if not any(value is one or (type(value) is type(one) and value == one) for one in allowed):
            raise self.refusal(name, why, default)

    def labels(self) -> int:
        """How many numbers a classifier gives; two where nothing is said."""
        labels = self._config.get("id2label")
        if not isinstance(labels, Mapping | None):
            raise self.refusal("id2label", "an object is needed")
        return 2 if labels is None else len(labels)

    def rotary_base(self, default: float) -> float:
        """The base of plain rotary positions; scaled ones are refused.

        ``rope_parameters`` holds it where newer versions wrote the folder, ``rope_theta`` where older ones did.
        """
        self.must_be("partial_rotary_factor", 1.0, (1.0, 1, None), "whole heads are rotated here")
        bases = [Fields(self._config).number("rope_theta", default)] if "rope_theta" in self._config else []
        for name in ("rope_scaling", "rope_parameters"):
            rope = self._config.get(name)
            if rope is None:
                continue
            if not isinstance(rope, Mapping):
                raise self.refusal(name, "an object is needed")
            kind = rope.get("rope_type", rope.get("type", "default"))
            if kind != "default" or set(rope) - {"rope_type", "type", "rope_theta", "partial_rotary_factor"}:
                raise self.refusal(name, "only plain rotary positions ('default') are known here")
            inner = Fields(rope)
            inner.must_be("partial_rotary_factor", 1.0, (1.0, 1, None), f"whole heads are rotated here ({name})")
            if "rope_theta" in rope:
                bases.append(inner.number("rope_theta", default))
        if len(set(bases)) > 1:
            raise self.refusal("rope_theta", f"rope_parameters says another base: {bases[1]:g}")
        return bases[0] if bases else default

    def refusal(self, name: str, why: str, default: Any = None) -> StateError:
        """What to raise about a field."""
        said = repr(self._config[name]) if name in self._config else f"not there, which means {default!r}"
        return StateError(f"config.json: {name} is {said[:80]}; {why}")
