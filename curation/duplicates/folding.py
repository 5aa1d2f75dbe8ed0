"""Folded NFKC by table: what each code point becomes, where that does not depend on its neighbours.

The shingle definition works on ``casefold(NFKC(text))``.  Case folding maps each code point by itself.  NFKC
does not: combining marks are put in order and composed with the letter before them.  The tables say, for each
code point, what it becomes alone, and hold what is needed to prove that the same is true inside a text:

* Marks must stand in canonical order: a mark's combining class is not below that of the mark before it
  (Unicode Standard, section 3.11, definition D109).
* No character composes with the last starter before it (definition D117).  Only a character that is the
  second half of some primary composite can; for those the pair is looked up.

A text for which either fails is put into NFKC by :func:`normalised` and read again.  The test is sure but
not sharp: a pair that would compose counts even where a mark in between blocks it.

Properties come from the interpreter's Unicode tables (``unicodedata.unidata_version``), so characters that
were assigned later separate words.  :data:`UNICODE_VERSION` therefore belongs to what fixes a result.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np

from curation.duplicates.arrays import read_only
from curation.duplicates.kernel import CONTEXT, LEAD, LONGEST, MAPPED, SECOND, SOLO, TRAIL, WORD

UNICODE_VERSION = unicodedata.unidata_version

# Outside these there are only unified ideographs and Hangul syllables, which become themselves, and nothing.
_SCANNED = [
    *range(0x80, 0x3400),
    *range(0x4DC0, 0x4E00),
    *range(0xA000, 0xAC00),
    *range(0xD7A4, 0xD800),
    *range(0xF900, 0x20000),
    *range(0x2F800, 0x2FA20),
    *range(0xE0000, 0xE0200),
]
_HANGUL = slice(0xAC00, 0xD7A4)

# Scripts written without spaces: Unicode 17 Scripts.txt.  Unassigned code points inside a range do no harm,
# as only letters, marks and numbers count.
UNSPACED = {
    "Han": "2E80-2E99 2E9B-2EF3 2F00-2FD5 3005 3007 3021-3029 3038-303B 3400-4DBF 4E00-9FFF F900-FA6D "
    "FA70-FAD9 16FE2-16FE3 16FF0-16FF6 20000-2A6DF 2A700-2B81E 2B820-2CEAD 2CEB0-2EBE0 2EBF0-2EE5D "
    "2F800-2FA1D 30000-3134A 31350-33479",
    "Hiragana": "3041-3096 309D-309F 1B001-1B11F 1B132 1B150-1B152 1F200",
    "Katakana": "30A1-30FA 30FD-30FF 31F0-31FF 32D0-32FE 3300-3357 FF66-FF6F FF71-FF9D 1AFF0-1AFF3 "
    "1AFF5-1AFFB 1AFFD-1AFFE 1B000 1B120-1B122 1B155 1B164-1B167",
    "Thai": "0E01-0E3A 0E40-0E5B",
    "Lao": "0E81-0E82 0E84 0E86-0E8A 0E8C-0EA3 0EA5 0EA7-0EBD 0EC0-0EC4 0EC6 0EC8-0ECE 0ED0-0ED9 0EDC-0EDF",
    "Khmer": "1780-17DD 17E0-17E9 17F0-17F9 19E0-19FF",
    "Myanmar": "1000-109F A9E0-A9FE AA60-AA7F 116D0-116E3",
}


class Folding(NamedTuple):
    """The tables, as the compiled kernels take them.

    Attributes:
        ascii: ``uint8[128]``, the folded character of an ASCII letter or digit, 0 for any other.
        entries: ``uint32[0x110000]``, for each code point the bits that :mod:`curation.duplicates.kernel` names.
        starts: ``int32[0x110000]``, record of a mapped code point in ``folded``, else 0.
        folded: ``uint32[...]``, records: length, last starter of the NFKC form (0 if none), the characters.
        pairs: ``uint64[...]``, sorted ``starter << 32 | second`` of every pair that composes.
    """

    ascii: np.ndarray
    entries: np.ndarray
    starts: np.ndarray
    folded: np.ndarray
    pairs: np.ndarray


@cache
def tables() -> Folding:
    """The tables of this interpreter's Unicode version; built once per process, in about a tenth of a second."""
    entries = np.zeros(0x110000, np.uint32)
    starts = np.zeros(0x110000, np.int32)
    pairs = _composing_pairs()
    seconds = {pair & 0xFFFFFFFF for pair in pairs}
    folded = [0]
    entries[_HANGUL] = WORD
    for code in _SCANNED:
        character = chr(code)
        bits = _bits(code, character, seconds)
        becomes = unicodedata.normalize("NFKC", character)
        if becomes != character or character.casefold() != character:
            starts[code] = len(folded)
            folded += _record(becomes)
            bits |= MAPPED
        entries[code] = bits
    _mark_unspaced(entries)
    letters = np.zeros(128, np.uint8)
    for character in map(chr, range(128)):
        if character.isalnum():
            letters[ord(character)] = ord(character.lower())
            entries[ord(character)] = WORD
    return Folding(
        read_only(letters, np.uint8),
        read_only(entries, np.uint32),
        read_only(starts, np.int32),
        read_only(np.array(folded), np.uint32),
        read_only(np.array(sorted(pairs), np.uint64), np.uint64),
    )


def _bits(code: int, character: str, seconds: set[int]) -> int:
    """Everything about a code point but its mapping and its script."""
    category = unicodedata.category(character)
    bits = WORD if category[0] in "LM" or category == "Nd" else 0
    if code in seconds:
        bits |= SECOND
    if not unicodedata.decomposition(character):
        combining = unicodedata.combining(character)
        conjoining = 0x1160 <= code <= 0x11FF  # Hangul vowels and finals compose by arithmetic, not by pairs
        return bits | combining << LEAD | combining << TRAIL | (CONTEXT if conjoining else 0)
    apart = unicodedata.normalize("NFKD", character)
    lead = unicodedata.combining(apart[0])
    bits |= lead << LEAD | unicodedata.combining(apart[-1]) << TRAIL
    joins_back = ord(apart[0]) in seconds or 0x1160 <= ord(apart[0]) <= 0x11FF
    if (lead or joins_back) and unicodedata.normalize("NFKC", character) != character:
        bits |= CONTEXT
    return bits


def _record(becomes: str) -> list[int]:
    """Length, last starter and characters of one mapping, from the code point's NFKC form."""
    starters = [ord(character) for character in becomes if not unicodedata.combining(character)]
    characters = [ord(character) for character in becomes.casefold()]
    if len(characters) > LONGEST:
        raise AssertionError(f"a code point becomes {len(characters)} characters")
    return [len(characters), starters[-1] if starters else 0, *characters]


def _composing_pairs() -> set[int]:
    """``first << 32 | second`` of each primary composite but the Hangul syllables."""
    pairs = set()
    for code in _SCANNED:
        decomposition = unicodedata.decomposition(chr(code))
        if not decomposition or decomposition[0] == "<":
            continue
        parts = [int(part, 16) for part in decomposition.split()]
        if len(parts) == 2 and unicodedata.normalize("NFC", chr(parts[0]) + chr(parts[1])) == chr(code):
            pairs.add(parts[0] << 32 | parts[1])
    return pairs


def _mark_unspaced(entries: np.ndarray) -> None:
    for ranges in UNSPACED.values():
        for part in ranges.split():
            first, _, last = part.partition("-")
            for code in range(int(first, 16), int(last or first, 16) + 1):
                if unicodedata.category(chr(code))[0] in "LMN":
                    entries[code] = entries[code] & ~np.uint32(WORD) | SOLO


def normalised(text: str) -> str:
    """``unicodedata.normalize("NFKC", text).casefold()`` in time that stays near linear on hostile text.

    CPython orders marks by insertion, which is quadratic in the length of a run of marks.  Such a run is
    brought into canonical order first (a stable sort by combining class), after which nothing is left to move.
    """
    if text.isascii():
        return text.lower()  # which is all of it there
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    marks = np.cumsum(tables().entries[codes] >> TRAIL != 0)
    if marks.size > _LONG_RUN and (marks[_LONG_RUN:] - marks[:-_LONG_RUN]).max() == _LONG_RUN:
        text = _ordered(text)
    return unicodedata.normalize("NFKC", text).casefold()


_LONG_RUN = 64


def _ordered(text: str) -> str:
    """The text decomposed, its marks in canonical order; equivalent to the text under NFKC."""
    apart = "".join(unicodedata.normalize("NFKD", character) for character in text)
    codes = np.frombuffer(apart.encode("utf-32-le"), np.uint32)
    classes = tables().entries[codes] >> LEAD & 0xFF
    order = np.lexsort((classes, np.cumsum(classes == 0)))
    return codes[order].tobytes().decode("utf-32-le")
