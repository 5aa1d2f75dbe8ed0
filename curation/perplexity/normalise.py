"""The text normalisation that CCNet's language models were trained on.

A perplexity means something only together with the normalisation in front of it, so the normalisation is a
named, versioned profile.  ``ccnet/1`` gives, character for character, what ``text_normalizer.normalize`` of
cc_net (Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data")
gives with its default arguments, its oddities included:

- The whole page is one string.  A line feed is a control character and is *removed*, not replaced by a
  space, so the last word of a line fuses with the first word of the next.
- Every decimal digit of any script becomes ``0``, one for one (``2024`` is ``0000``).
- Nonspacing marks go after canonical decomposition, so Hangul syllables end as loose jamo and accents,
  Arabic vowel signs and the like vanish.
- cc_net's table also sends the full-width digit one to a quotation mark (an upstream slip).  Digits are
  replaced before punctuation, so that entry is never reached: a full-width one becomes ``0``.

Two implementations: ``normalise`` for one string, which is the definition, and ``normalise_utf8`` for the
buffers of a whole Arrow column, compiled.  Both give the same text.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

PROFILE = "ccnet/1"

# Punctuation as cc_net unifies it.
_PUNCTUATION = (
    dict.fromkeys("„”“«»」「《》", '"')
    | dict.fromkeys("´’", "'")
    | dict.fromkeys("，、", ",")
    | dict.fromkeys("∶：", ":")
    | dict.fromkeys("–━►", "-")
    | dict(zip("。？！（）；～〈〉【】％", ".?!();~<>[]%", strict=True))
    | {"—": " - ", "．": ". ", "…": "..."}
)


class _Image(dict[int, str]):
    """What remains of each code point once the text is in lower case and decomposed; filled on demand."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Mn", "Cc"):
            image = ""
        elif category == "Nd":
            image = "0"
        else:
            image = _PUNCTUATION.get(character, character)
        self[code] = image
        return image


_image = _Image()


def normalise(text: str) -> str:
    """The text as the ``ccnet/1`` profile sees it."""
    return unicodedata.normalize("NFD", text.strip().lower()).translate(_image)


# --- the same for UTF-8 buffers -------------------------------------------------------------------------

_LIMIT = 0xE0200  # code points from here on (private use, unassigned) are their own image
_KEEP = -1  # action: the character is its own image
_DELEGATE = -2  # action: its image depends on its neighbours; the text goes through ``normalise``
_SLOT = 16  # an image is at most 15 bytes long: an action is 16 * (position in the pool) + length


class _Table(NamedTuple):
    """Attributes: ``action: int32[_LIMIT]``, ``pool: uint8[n]`` of images, ``space: bool[0x3001]``."""

    action: np.ndarray
    pool: np.ndarray
    space: np.ndarray


def _depends_on_neighbours(character: str) -> bool:
    """Capital sigma has two lower cases; combining characters that stay are put into canonical order."""
    if character == "Σ":
        return True
    decomposed = unicodedata.normalize("NFD", character.lower())
    return any(unicodedata.combining(c) and unicodedata.category(c) != "Mn" for c in decomposed)


@lru_cache(maxsize=1)
def _table() -> _Table:
    """Image of every code point, from ``normalise`` itself."""
    action = np.full(_LIMIT, _KEEP, np.int32)
    pool = bytearray()
    where: dict[bytes, int] = {}
    # Planes 2 to 14 hold nothing that changes but the compatibility ideographs and variation selectors.
    for block in (range(0xD800), range(0xE000, 0x20000), range(0x2F800, 0x2FA20), range(0xE0100, _LIMIT)):
        for code in block:
            character = chr(code)
            if _depends_on_neighbours(character):
                action[code] = _DELEGATE
                continue
            image = unicodedata.normalize("NFD", character.lower()).translate(_image)
            if image == character:
                continue
            encoded = image.encode()
            position = where.setdefault(encoded, len(pool))
            if position == len(pool):
                pool += encoded
            action[code] = position * _SLOT + len(encoded)
    space = np.array([chr(code).isspace() for code in range(0x3001)])
    return _Table(action, np.frombuffer(bytes(pool), np.uint8), space)


@njit(cache=True, nogil=True)
def _normalise_all(data, offsets, action, pool, space, out, ends, delegated):  # type: ignore[no-untyped-def]
    """Write the image of each text to ``out``; text ``i`` ends at ``ends[i + 1]``.

    ``out`` has room for three bytes for each input byte, the most that decomposition makes of one (a Hangul
    syllable of 3 bytes into three jamo of 3 bytes).
    """
    written = 0
    for i in range(len(offsets) - 1):
        start, stop = offsets[i], offsets[i + 1]
        begin = written
        solid = written  # end of the last character that is not white space
        position = start
        leading = True
        while position < stop:
            lead = data[position]
            if lead < 0x80:
                size, code = 1, np.int64(lead)
            elif lead < 0xE0:
                size, code = 2, np.int64(lead & 0x1F)
            elif lead < 0xF0:
                size, code = 3, np.int64(lead & 0x0F)
            else:
                size, code = 4, np.int64(lead & 0x07)
            size = min(size, stop - position)
            for k in range(1, size):
                code = (code << 6) | np.int64(data[position + k] & 0x3F)
            is_space = code < 0x3001 and space[code]
            if not (leading and is_space):
                leading = False
                what = action[code] if code < _LIMIT else _KEEP
                if what == _KEEP:
                    for k in range(size):
                        out[written + k] = data[position + k]
                    written += size
                elif what == _DELEGATE:
                    delegated[i] = True
                    break
                else:
                    first = what // _SLOT
                    length = what % _SLOT
                    for k in range(length):
                        out[written + k] = pool[first + k]
                    written += length
                if not is_space:
                    solid = written
            position += size
        written = begin if delegated[i] else solid
        ends[i + 1] = written


def normalise_utf8(data: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """Normalise many texts at once.

    Args:
        data: ``uint8[n_bytes]``, valid UTF-8.
        offsets: ``int64[n + 1]``; text ``i`` is ``data[offsets[i]:offsets[i + 1]]``.

    Returns:
        The UTF-8 of each normalised text.
    """
    count = len(offsets) - 1
    if count <= 0:
        return []
    table = _table()
    out = np.empty(3 * int(offsets[-1] - offsets[0]) + 16, np.uint8)
    ends = np.zeros(count + 1, np.int64)
    delegated = np.zeros(count, np.bool_)
    _normalise_all(data, offsets, table.action, table.pool, table.space, out, ends, delegated)
    # A slice of one bytes object is cheaper than a slice of an array turned into bytes.
    everything = out[: ends[-1]].tobytes()
    bounds = ends.tolist()
    texts = [everything[a:b] for a, b in pairwise(bounds)]
    for i in np.flatnonzero(delegated).tolist():
        original = data[offsets[i] : offsets[i + 1]].tobytes()
        texts[i] = normalise(original.decode("utf-8", "replace")).encode()
    return texts
