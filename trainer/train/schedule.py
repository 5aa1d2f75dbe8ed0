"""How the learning rate rises and falls."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from trainer.errors import ConfigError
from trainer.ranges import Checked, Range

_SHARE = Range(0, 1, "a share of all steps")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Checked):
    """A rise from zero, a plateau, a fall.

    Attributes:
        kind: ``cosine`` falls all the way (Loshchilov and Hutter, 2017), ``linear`` too; ``trapezoid`` stays at its
            height and falls linearly at the end (warmup, stable, decay: Hu et al., MiniCPM, 2024); ``constant`` stays.
        warmup: share of all steps in which it rises.
        decay: share in which a trapezoid falls.
        floor: the last rate as a share of the highest.
    """

    kind: Literal["cosine", "linear", "trapezoid", "constant"] = "trapezoid"
    warmup: float = field(default=0.02, metadata={"limit": _SHARE})
    decay: float = field(default=0.2, metadata={"limit": _SHARE})
    floor: float = field(default=0.0, metadata={"limit": Range(0, 1, "a share of the highest rate")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "trapezoid" and self.warmup + self.decay > 1:
            raise ConfigError(
                "/decay", f"rise and fall take {self.warmup + self.decay:g} of all steps, more than there are"
            )


def factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """Learning rate of a step (from 0) as a share of the highest; every step has more than none."""
    rising = round(config.warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if config.kind == "constant":
        return 1.0
    falling = max(1, round(config.decay * steps)) if config.kind == "trapezoid" else steps - rising
    gone = max(0.0, (step - (steps - falling)) / max(1, falling))
    share = 0.5 * (1 + math.cos(math.pi * gone)) if config.kind == "cosine" else 1 - gone
    return config.floor + (1 - config.floor) * share
