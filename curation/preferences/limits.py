"""How much one record may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that keep the work on one record small, whoever wrote it.

    Attributes:
        text_characters: a longer text is ``too-long``.
        turns: a longer conversation is ``too-many-turns``.
        responses: a longer list of answers is ``too-many-responses``; all pairs of it are half its square.
    """

    text_characters: int = 1 << 20
    turns: int = 2048
    responses: int = 128


DEFAULT_LIMITS = Limits()
