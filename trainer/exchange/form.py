"""What a model looks like over there: the class that computes it, its configuration, and where its weights go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from trainer.exchange.pieces import Piece

RECORD = "gristmill"
"""Field of ``config.json`` with our own configuration."""
LANGUAGE, REWARD = "language", "reward"


@dataclass(frozen=True)
class Form:
    """A model's counterpart.

    Attributes:
        architecture: name of the class.
        config: fields of ``config.json`` that say what is computed.
        pieces: the weights.
        constants: weights that it has and ours does not, with their only value.
        code: files that the folder needs to bring along, by name.
        wide: parts of names of weights that stay in fp32: what they decide, rounding would change.
    """

    architecture: str
    config: Mapping[str, Any]
    pieces: Sequence[Piece]
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    wide: Sequence[str] = ()


def trunk(kind: str) -> str:
    """What names of the language model's own weights begin with."""
    return "trunk." if kind == REWARD else ""


def scored(kind: str) -> dict[str, Any]:
    """Fields of ``config.json`` that a reward model has besides."""
    return {"id2label": {"0": "reward"}, "label2id": {"reward": 0}} if kind == REWARD else {}
