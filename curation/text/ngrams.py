"""How much of a text is its most frequent n-gram of words, and how much is n-grams seen before.

Measures of Gopher (Rae et al., 2021, table A1) as datatrove computes them.  In text of a script without spaces a
word is a character, and n-grams are made longer so that they span about as much meaning: 1.6 characters of
Chinese or Japanese, or 3 letters of Thai, Lao, Khmer or Myanmar, stand for a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curation.text.hashing import fold, power, slot_of, table_size
from curation.text.words import HAS_LETTER, IDEOGRAM, SYLLABLE

TOP_ORDERS = (2, 3, 4)
REPEATED_ORDERS = (5, 6, 7, 8, 9, 10)
CHARACTERS_PER_WORD = (1.0, 1.6, 3.0)  # by script class: spaced, ideograms and kana, syllables

_LETTER, _IDEOGRAM, _SYLLABLE = HAS_LETTER, IDEOGRAM, SYLLABLE
_TOPS = len(TOP_ORDERS)
_ORDERS = np.array(
    [[int(n * factor + 0.5) for n in TOP_ORDERS + REPEATED_ORDERS] for factor in CHARACTERS_PER_WORD],
    np.int64,
)


@njit(cache=True, nogil=True)
def script_class(marks: Any, start: Any, stop: Any) -> Any:
    """What most words with a letter are: 0 words between spaces, 1 ideograms or kana, 2 syllables."""
    letters, ideograms, syllables = 0, 0, 0
    for i in range(start, stop):
        letters += marks[i] & _LETTER != 0
        ideograms += marks[i] & _IDEOGRAM != 0
        syllables += marks[i] & _SYLLABLE != 0
    if 2 * (ideograms + syllables) <= letters:
        return 0
    return 1 if ideograms >= syllables else 2


@njit(cache=True, nogil=True)
def _top_characters(keys: Any, count: Any, n: Any, ends: Any, blanks: Any, table: Any, counts: Any, firsts: Any) -> Any:
    """Code points of all occurrences of the most frequent n-gram, the blanks inside it included.

    Of equally frequent ones the first counts.
    """
    table[:] = np.uint64(0)
    most, first = 0, 0
    for i in range(count):
        key = keys[i] | np.uint64(1)
        slot = slot_of(table, key)
        if table[slot] != key:
            table[slot], counts[slot], firsts[slot] = key, 0, i
        counts[slot] += 1
        if counts[slot] > most or (counts[slot] == most and firsts[slot] < first):
            most, first = counts[slot], firsts[slot]
    characters = ends[first + n] - ends[first] + blanks[first + n - 1] - blanks[first]
    return np.int64(characters) * most


@njit(cache=True, nogil=True)
def _repeated_characters(keys: Any, count: Any, n: Any, ends: Any, table: Any) -> Any:
    """Code points of n-grams seen before; behind one of them the search goes on after its last word."""
    table[:] = np.uint64(0)
    characters, i = 0, 0
    while i < count:
        key = keys[i] | np.uint64(1)
        slot = slot_of(table, key)
        if table[slot] == key:
            characters += ends[i + n] - ends[i]
            i += n
        else:
            table[slot] = key
            i += 1
    return characters


@njit(cache=True, nogil=True)
def repeated_ngrams(offsets: Any, hashes: Any, lengths: Any, marks: Any) -> Any:
    """Code points in frequent and in repeated n-grams of each document's words.

    Returns:
        ``int64[n, 9]``: of the most frequent 2-, 3- and 4-gram (-1 where there are fewer words) and of the
        repeated 5- to 10-grams.
    """
    found = np.zeros((offsets.size - 1, _ORDERS.shape[1]), np.int64)
    for row in range(offsets.size - 1):
        start, count = offsets[row], offsets[row + 1] - offsets[row]
        orders = _ORDERS[script_class(marks, start, start + count)]
        ends, blanks = np.zeros(count + 1, np.int32), np.zeros(count + 1, np.int32)
        powers, chain, joined = (
            np.empty(count, np.uint64),
            np.empty(count, np.uint64),
            np.empty(count, np.uint64),
        )
        unspaced = True
        for i in range(count):
            before, unspaced = unspaced, marks[start + i] & (_IDEOGRAM | _SYLLABLE) != 0
            ends[i + 1] = ends[i] + lengths[start + i]
            # Blank in front of word i; none next to a character of a script without spaces.
            blanks[i] = (blanks[i - 1] if i > 0 else 0) + (0 if before or unspaced else 1)
            powers[i] = power(lengths[start + i])
            chain[i], joined[i] = fold(np.uint64(0), hashes[start + i]), hashes[start + i]
        table = np.empty(table_size(count), np.uint64)
        counts, firsts = np.empty(table.size, np.int32), np.empty(table.size, np.int32)
        place = 0
        for n in range(2, orders[-1] + 1):
            # joined[i]: hash of words i to i + n as one string; chain[i]: of the words as a sequence.
            for i in range(count - n + 1):
                joined[i] = joined[i] * powers[i + n - 1] + hashes[start + i + n - 1]
            if place < _TOPS:
                for i in range(count - n + 1):
                    chain[i] = fold(chain[i], hashes[start + i + n - 1])
            if n != orders[place]:
                continue
            if place >= _TOPS:
                found[row, place] = _repeated_characters(joined, count - n + 1, n, ends, table)
            elif count >= n:
                found[row, place] = _top_characters(chain, count - n + 1, n, ends, blanks, table, counts, firsts)
            else:
                found[row, place] = -1
            place += 1
    return found
