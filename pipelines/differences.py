"""What differs between two texts, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

# As in the definition of a word for near-duplicates, roughly: what is written without spaces is cut by character.
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿฀-๿]|[^\W぀-ヿ㐀-鿿豈-﫿฀-๿]+|\s+|[^\w\s]")
MOST_WORDS = 2000  # of each text: comparing takes as many steps as the product, in the worst case


@dataclass(frozen=True)
class Piece:
    """A stretch of either text or of both.

    Attributes:
        kind: ``same``, ``first`` (only there) or ``second``.
        text: of the stretch.
    """

    kind: Literal["same", "first", "second"]
    text: str


def differences(first: str, second: str, most: int = MOST_WORDS) -> tuple[list[Piece], bool]:
    """Pieces in order, and whether only the beginnings, so many words, were compared."""
    words = [_WORD.findall(text[: 20 * most])[:most] for text in (first, second)]
    cut = any(sum(map(len, some)) < len(text) for some, text in zip(words, (first, second), strict=True))
    pieces: list[Piece] = []
    for kind, a, b, c, d in SequenceMatcher(None, words[0], words[1], autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", "".join(words[0][a:b])))
            continue
        if b > a:
            pieces.append(Piece("first", "".join(words[0][a:b])))
        if d > c:
            pieces.append(Piece("second", "".join(words[1][c:d])))
    return pieces, cut
