"""Hashes of words and n-grams, and small open-addressing tables for kernels.

The hash of a string of code points is polynomial modulo 2^64, so that the hash of two strings one after the
other follows from theirs: ``hash(ab) = hash(a) * power(len(b)) + hash(b)``.  Equal hashes stand for equal
strings within one document; a chance collision among a million n-grams has a probability below 1e-7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# Odd constants: the golden ratio and the multipliers of the splitmix64 generator (Steele et al., 2014).
BASE = np.uint64(0x9E3779B97F4A7C15)
_SPREAD = np.uint64(0xBF58476D1CE4E5B9)
_MIX = np.uint64(0x94D049BB133111EB)
_ONE, _ZERO = np.uint64(1), np.uint64(0)
_HALF = np.uint64(32)

with np.errstate(over="ignore"):
    POWERS = np.cumprod(np.array([1] + [int(BASE)] * 255, np.uint64), dtype=np.uint64)


@njit(cache=True, nogil=True, inline="always")
def extended(h: Any, code: Any) -> Any:
    """Hash of a string that is one code point longer."""
    return h * BASE + (np.uint64(code) + _ONE) * _SPREAD


@njit(cache=True, nogil=True)
def hash_codes(codes: Any, start: Any, stop: Any) -> Any:
    """Hash of the code points ``codes[start:stop]``."""
    h = _ZERO
    for i in range(start, stop):
        h = extended(h, codes[i])
    return h


@njit(cache=True, nogil=True)
def power(length: Any) -> Any:
    """``BASE ** length`` modulo 2^64."""
    result, square, left = POWERS[length & 255], POWERS[255] * BASE, length >> 8
    while left > 0:
        if left & 1:
            result = result * square
        square = square * square
        left >>= 1
    return result


@njit(cache=True, nogil=True)
def fold(key: Any, h: Any) -> Any:
    """Key of a sequence of hashes, one item longer; unlike concatenation it keeps the borders."""
    key = (key + h + _ONE) * _MIX
    return key ^ (key >> _HALF)


@njit(cache=True, nogil=True, inline="always")
def slot_of(table: Any, key: Any) -> Any:
    """Where ``key`` (not 0) is in a table whose size is a power of two, or the empty slot where it would go."""
    mixed = key * _MIX
    mask = table.size - 1
    slot = np.int64((mixed ^ (mixed >> _HALF)) & np.uint64(mask))
    while table[slot] != _ZERO and table[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True, inline="always")
def find(table: Any, key: Any) -> Any:
    """Slot of a key, or -1."""
    slot = slot_of(table, key)
    return slot if table[slot] == key and key != _ZERO else -1


@njit(cache=True, nogil=True)
def contains(table: Any, key: Any) -> Any:
    """Whether a key is in the table."""
    return find(table, key) >= 0


@njit(cache=True, nogil=True)
def table_size(items: Any) -> Any:
    """Slots for that many items at a load of at most one half."""
    size = 8
    while size < 2 * items + 2:
        size *= 2
    return size


def key_table(keys: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """A table of distinct keys (none is 0) and the index of the key in each slot."""
    distinct = {key: number for number, key in reversed(list(enumerate(keys)))}
    table = np.zeros(table_size(len(distinct)), np.uint64)
    numbers = np.zeros(table.size, np.int32)
    for key, number in distinct.items():
        slot = slot_of(table, np.uint64(key))
        table[slot], numbers[slot] = key, number
    return table, numbers
