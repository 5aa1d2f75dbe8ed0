"""Fields with a range and a reason: out of range is refused, unless the field is named in ``allow_beyond``.

    @dataclass(frozen=True)
    class AttentionConfig(Checked):
        chunk: int = field(default=512, metadata={"range": Range(512, 1024, "as published")})

    AttentionConfig(chunk=16)                           # ConfigError: /chunk: 16 is outside 512..1024 (as published) …
    AttentionConfig(chunk=16, allow_beyond=("chunk",))  # an explicit override

``limit`` beside ``range`` is a hard bound that nothing overrides (a width of 0 is no width).  ``None`` in an optional
field is always allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any

from trainer.errors import ConfigError

Number = int | float


@dataclass(frozen=True)
class Range:
    """The closed interval ``low..high`` (``None``: open end) and why it is this one."""

    low: Number | None
    high: Number | None
    why: str = ""

    def __contains__(self, value: Number) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{low}..{high}" + (f" ({self.why})" if self.why else "")


POSITIVE = Range(1, None)
NOT_NEGATIVE = Range(0, None)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Base of configurations: checks every field that carries ``metadata={"range": …}`` or ``{"limit": …}``."""

    allow_beyond: tuple[str, ...] = ()
    """Names of fields whose range does not bind here."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow_beyond", tuple(self.allow_beyond))
        fields = {field.name: field.metadata for field in dataclasses.fields(self)}
        ranged = [name for name, metadata in fields.items() if "range" in metadata]
        for name in self.allow_beyond:
            if name not in ranged:
                raise ConfigError("/allow_beyond", f"{name!r} is no field with a range{suggestion(name, ranged)}")
        for name, metadata in fields.items():
            if "limit" in metadata:
                check(self, name, metadata["limit"], binding=True)
            if "range" in metadata:
                check(self, name, metadata["range"])


def check(config: Any, name: str, allowed: Range, *, binding: bool = False) -> None:
    """Refuse ``config.name`` outside ``allowed``; ``binding`` ranges cannot be left through ``allow_beyond``."""
    value = getattr(config, name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ConfigError(f"/{name}", f"{value!r} is no number")
    if value in allowed or (not binding and name in getattr(config, "allow_beyond", ())):
        return
    way_out = "" if binding else f"; to go beyond, name {name!r} in allow_beyond"
    raise ConfigError(f"/{name}", f"{value:g} is outside {allowed}{way_out}")


def suggestion(name: str, known: list[str] | tuple[str, ...]) -> str:
    """``", did you mean …?"``, or nothing where no known name is near."""
    near = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {near[0]!r}?" if near else ""
