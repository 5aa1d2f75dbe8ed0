"""The words of a text, each with its place in it.

Words are those of the near-duplicates (``word-5gram/1``: folded NFKC, a character of a script written without
spaces is a word of its own), less single letters from a to z: those are the marks of answers (``A.``, ``(b)``,
``C)``), which every site writes in its own way and most benchmark files leave out.

NFKC moves and joins characters, so a word is looked for in groups of characters that normalisation treats by
themselves: a character and all behind it that attach to it.  The place of a word is that of its groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curation.duplicates.folding import normalised, tables
from curation.duplicates.kernel import CONTEXT, LEAD, MAPPED, SECOND, SOLO, WORD

DEFINITION = "word/1 without single letters"
ATTACHES = SECOND | CONTEXT | 0xFF << LEAD  # bits of what may combine with the character before it
PIECE = 1 << 16  # characters read at once: a text of many megabytes takes little memory
_CODES = "utf-32-le"


@dataclass(frozen=True)
class Words:
    """Words in order.

    Attributes:
        words: folded.
        starts, ends: ``int64[n]``, code points in the text as given, from and up to.
        unspaced: ``bool[n]``, whether it is a character of a script written without spaces.
    """

    words: list[str]
    starts: np.ndarray
    ends: np.ndarray
    unspaced: np.ndarray


def words_of(text: str) -> Words:
    """The words of a text with their places."""
    heads, source, letters = _folded(np.frombuffer(text.encode(_CODES), np.uint32), text)
    kinds = tables().entries[letters] & np.uint32(WORD | SOLO)
    run, alone = kinds == WORD, kinds == SOLO
    first = np.flatnonzero(alone | run & ~np.concatenate([[False], run])[:-1])
    last = np.flatnonzero(alone | run & ~np.concatenate([run, [False]])[1:])
    counts = ~((first == last) & (letters[first] >= ord("a")) & (letters[first] <= ord("z")))
    first, last = first[counts], last[counts]
    folded = letters.astype("<u4").tobytes().decode(_CODES)
    words = [folded[start:stop] for start, stop in zip(first.tolist(), (last + 1).tolist(), strict=True)]
    return Words(words, heads[source[first]], heads[source[last] + 1], alone[first])


def pieces_of(text: str) -> Iterator[Words]:
    """The words of a text in pieces, the next of which begins with a character that nothing before it belongs to."""
    entries = tables().entries
    start = 0
    while start < len(text):
        end = start + PIECE
        while end < len(text) and entries[ord(text[end])] & np.uint32(WORD | MAPPED | ATTACHES):
            end += 1
        piece = words_of(text[start:end])
        yield Words(piece.words, piece.starts + start, piece.ends + start, piece.unspaced)
        start = end


def _folded(codes: np.ndarray, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each group of characters begins (and the end), the group of each folded character, and these."""
    folding = tables()
    attached = folding.entries[codes] & np.uint32(ATTACHES) != 0
    heads = np.append(np.flatnonzero(~attached | (np.arange(codes.size) == 0)), codes.size)
    leaders = codes[heads[:-1]]
    large = np.flatnonzero((np.diff(heads) > 1) | attached[heads[:-1]])
    pieces = [text[heads[group] : heads[group + 1]] for group in large.tolist()]
    once = {piece: normalised(piece) for piece in set(pieces)}
    spelled = [once[piece] for piece in pieces]
    pool = np.concatenate([folding.folded, np.frombuffer("".join(spelled).encode(_CODES), np.uint32)])

    mapped = folding.entries[leaders] & np.uint32(MAPPED) != 0
    records = folding.starts[leaders]
    sizes = np.where(mapped, folding.folded[records], 1).astype(np.int64)
    begins = np.where(mapped, records.astype(np.int64) + 2, -1)
    sizes[large] = [len(piece) for piece in spelled]
    begins[large] = folding.folded.size + np.cumsum(sizes[large]) - sizes[large]

    source = np.repeat(np.arange(leaders.size), sizes)
    within = np.arange(source.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    letters = np.where(begins[source] < 0, leaders[source], pool[(begins[source] + within).clip(0)])
    capitals = (letters >= ord("A")) & (letters <= ord("Z"))
    return heads, source, np.where(capitals, letters + np.uint32(32), letters).astype(np.uint32)
