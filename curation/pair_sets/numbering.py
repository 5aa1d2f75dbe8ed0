"""Identifiers and digests as arrays, dense numbers for combinations of columns, and a seeded hash."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curation.duplicates.arrays import run_starts

# Multipliers and increment of the splitmix64 generator (Steele, Lea, Flood, OOPSLA 2014).
_STEP, _SPREAD, _MIX = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def from_binary(column: pa.Array) -> np.ndarray:
    """16-byte values as ``uint64[n, 2]``, big end first: numbers are ordered like the bytes.

    Args:
        column: ``fixed_size_binary(16)`` without nulls.

    Raises:
        ValueError: another type, or a null.
    """
    if column.type != pa.binary(16) or column.null_count:
        raise ValueError(f"digests are 16 bytes each and never null, not {column.type} with {column.null_count} nulls")
    if not len(column):
        return np.empty((0, 2), np.uint64)
    data = np.frombuffer(column.buffers()[1], ">u8", 2 * len(column), 16 * column.offset)
    return data.reshape(-1, 2).astype(np.uint64)


def to_binary(words: np.ndarray) -> pa.FixedSizeBinaryArray:
    """The reverse of :func:`from_binary`."""
    data = np.ascontiguousarray(words, ">u8")
    return pa.Array.from_buffers(pa.binary(16), len(words), [None, pa.py_buffer(data)])


def as_columns(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """One-dimensional columns, the most significant first; a table of words gives one for each word."""
    return tuple(column for array in arrays for column in (array.T if array.ndim == 2 else (array,)))


def order_by(*arrays: np.ndarray) -> np.ndarray:
    """Rows in rising order of the first array, then of the second ..., ``int64[n]``; equal rows stay as they are."""
    return np.lexsort(as_columns(*arrays)[::-1])


def numbered(*arrays: np.ndarray) -> np.ndarray:
    """A number for each row, ``int64[n]``: rows that agree in all arrays share one; 0, 1 ... in rising order."""
    columns = as_columns(*arrays)
    order = np.lexsort(columns[::-1])
    new = np.zeros(order.size, np.bool_)
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    numbers = np.empty(order.size, np.int64)
    numbers[order] = np.cumsum(new)
    return numbers


def repeated(words: np.ndarray) -> bool:
    """Whether a row occurs twice."""
    return len(words) > 0 and run_starts(words[order_by(words)]).size < len(words)


def seeded_hash(words: np.ndarray, seed: int) -> np.ndarray:
    """64 hash bits for each row of ``uint64[n, 2]``.

    ``mix(mix(mix(seed) ^ first word) ^ second word)``, where ``mix`` is one step of splitmix64.  It spreads well and
    is the same everywhere; it does not withstand someone who picks the words.
    """
    state = np.full(len(words), seed % (1 << 64), np.uint64)
    state = _mixed(state)
    for word in words.T:
        state = _mixed(state ^ word)
    return state


def _mixed(state: np.ndarray) -> np.ndarray:
    state = state + _STEP
    state = (state ^ (state >> np.uint64(30))) * _SPREAD
    state = (state ^ (state >> np.uint64(27))) * _MIX
    mixed: np.ndarray = state ^ (state >> np.uint64(31))
    return mixed
