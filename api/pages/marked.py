"""Texts with stretches marked: what rules object to, what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from api.pages.visible import CUT, plain, shown


class Mark(NamedTuple):
    """A stretch of a text in code points, and why it is marked."""

    start: int
    end: int
    why: str


def marked(text: str, marks: Iterable[Mark], limit: int | None = None) -> Markup:
    """Markup of a text with its marks; where they overlap, the reasons stand together.

    Args:
        limit: characters that are shown.
    """
    end = len(text) if limit is None else min(len(text), limit)
    parts = [_piece(text[start:stop], why) for start, stop, why in _stretches(marks, end)]
    if end < len(text):
        parts.append(CUT)
    return Markup('<bdi class="said">{}</bdi>').format(Markup("").join(parts))


def _piece(text: str, why: tuple[str, ...]) -> Markup:
    if not why:
        return shown(text)
    return Markup('<mark title="{}">{}</mark>').format(plain(", ".join(why)), shown(text))


def _stretches(marks: Iterable[Mark], end: int) -> Iterable[tuple[int, int, tuple[str, ...]]]:
    """Stretches that tile ``[0, end)``, each with the reasons that hold all over it."""
    turns: dict[int, list[tuple[bool, str]]] = {}
    for mark in marks:
        start, stop = max(0, mark.start), min(end, mark.end)
        if start < stop:
            turns.setdefault(start, []).append((True, mark.why))
            turns.setdefault(stop, []).append((False, mark.why))
    open_: dict[str, int] = {}
    at = 0
    for place in [*sorted(turns), end]:
        if at < place:
            yield at, place, tuple(why for why, count in open_.items() if count)
            at = place
        for begins, why in turns.get(place, ()):
            open_[why] = open_.get(why, 0) + (1 if begins else -1)


def compared(pieces: Sequence[Any], side: str | None = None) -> Markup:
    """Pieces of a difference, each with ``kind`` and ``text``; what only one has is marked as gone or new.

    Args:
        side: ``first`` or ``second`` for one of the texts alone, with what the other has not marked; both in one
            where nothing is said.
    """
    tags = {"first": "del", "second": "ins"} if side is None else {side: "mark"}
    parts = [
        Markup(f"<{tags[piece.kind]}>{{}}</{tags[piece.kind]}>").format(shown(piece.text))
        if piece.kind in tags
        else shown(piece.text)
        for piece in pieces
        if side is None or piece.kind in ("same", side)
    ]
    return Markup('<bdi class="said">{}</bdi>').format(Markup("").join(parts))
