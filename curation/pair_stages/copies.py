"""How much of one text is copied from another, word by word.

Words are those of the near-duplicates (``word-5gram/1``): runs of letters, marks and decimal digits of the folded
text, and each character of a script written without spaces.  Linear in the two texts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from curation.batch import text_buffers
from curation.duplicates.folding import normalised
from curation.text.charclass import SOLO, UNIT, character_flags
from curation.text.hashing import fold, slot_of, table_size
from curation.text.utf8 import decode_at, hash_bytes, read_only

_SOLO, _UNIT = SOLO, UNIT


def copied_words(sources: pa.Array, texts: pa.Array, ngram: int, unspaced_ngram: int) -> np.ndarray:
    """What of each text is copied from its source: words in n-grams that the source has as well.

    Args:
        sources, texts: of the same length; nulls count as empty.
        ngram: words of an n-gram.
        unspaced_ngram: the same for texts of which most words are characters of scripts without spaces.

    Returns:
        ``int64[n, 3]``: words of the text, those that are copied, and the longest stretch of words of which every
        n in a row are in the source.
    """
    flags = character_flags()
    found: np.ndarray = _compare(*_words(sources, flags), *_words(texts, flags)[:3], ngram, unspaced_ngram)
    return found


def _words(texts: pa.Array, flags: np.ndarray) -> tuple[np.ndarray, ...]:
    folded = pa.array([normalised(text or "") for text in texts.to_pylist()], pa.large_string())
    data, offsets = read_only(*text_buffers(folded))
    words: tuple[np.ndarray, ...] = _split(data, offsets, flags)
    return words


@njit(cache=True, nogil=True)
def _split(data: Any, offsets: Any, flags: Any) -> Any:
    """Offsets of each text's words, their hashes, and whether they are single characters."""
    ends = np.zeros(offsets.size, np.int64)
    hashes, alone = np.empty(data.size, np.uint64), np.empty(data.size, np.bool_)
    count = 0
    for row in range(offsets.size - 1):
        i, start = offsets[row], -1
        while i < offsets[row + 1]:
            c, width = decode_at(data, i)
            solo = flags[c] & _SOLO != 0
            if start >= 0 and (solo or flags[c] & _UNIT == 0):
                hashes[count], alone[count] = hash_bytes(data, start, i), False
                count, start = count + 1, -1
            if solo:
                hashes[count], alone[count] = hash_bytes(data, i, i + width), True
                count += 1
            elif start < 0 and flags[c] & _UNIT != 0:
                start = i
            i += width
        if start >= 0:
            hashes[count], alone[count] = hash_bytes(data, start, i), False
            count += 1
        ends[row + 1] = count
    return ends, hashes[:count].copy(), alone[:count].copy()


@njit(cache=True, nogil=True)
def _key(hashes: Any, start: Any, n: Any) -> Any:
    """Key of ``n`` words in a row, never 0."""
    key = np.uint64(0)
    for i in range(start, start + n):
        key = fold(key, hashes[i])
    return key | np.uint64(1)


@njit(cache=True, nogil=True)
def _compare(
    source_ends: Any, source: Any, _alone: Any, ends: Any, words: Any, alone: Any, spaced_n: Any, unspaced_n: Any
) -> Any:
    found = np.zeros((ends.size - 1, 3), np.int64)
    for row in range(ends.size - 1):
        start, stop = ends[row], ends[row + 1]
        single = 0
        for i in range(start, stop):
            single += alone[i]
        n = unspaced_n if 2 * single > stop - start else spaced_n
        found[row, 0] = stop - start
        first, last = source_ends[row], source_ends[row + 1] - n + 1
        if last <= first or stop - start < n:
            continue
        table = np.zeros(table_size(last - first), np.uint64)
        for i in range(first, last):
            key = _key(source, i, n)
            table[slot_of(table, key)] = key
        run, covered = start, start  # first word of the stretch at hand, end of what is counted
        for i in range(start, stop - n + 1):
            key = _key(words, i, n)
            if table[slot_of(table, key)] != key:
                run = i + 1
                continue
            found[row, 1] += i + n - max(covered, i)
            covered = i + n
            found[row, 2] = max(found[row, 2], i + n - run)
    return found
