"""UTF-8 in kernels: decoding, stripping, lines.  The bytes are those of Arrow strings, so always valid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curation.text.charclass import SPACE
from curation.text.hashing import BASE, POWERS

_SPACE = SPACE
_BASE_2, _BASE_4 = POWERS[2], POWERS[4]
_NEWLINE = 0x0A


@njit(cache=True, nogil=True, inline="always")
def decode_at(data: Any, i: Any) -> Any:
    """Code point that starts at byte ``i``, and the bytes it takes."""
    b = np.int64(data[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return ((b & 0x1F) << 6) | (data[i + 1] & 0x3F), 2
    if b < 0xF0:
        return ((b & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F), 3
    high = ((b & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12)
    return high | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F), 4


@njit(cache=True, nogil=True)
def last_start(data: Any, stop: Any) -> Any:
    """First byte of the code point that ends before ``stop``."""
    i = stop - 1
    while data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@njit(cache=True, nogil=True)
def skip_space(data: Any, start: Any, stop: Any, flags: Any) -> Any:
    """First byte at or after ``start`` that is not white space."""
    while start < stop:
        c, width = decode_at(data, start)
        if not flags[c] & _SPACE:
            break
        start += width
    return start


@njit(cache=True, nogil=True)
def skip_space_back(data: Any, start: Any, stop: Any, flags: Any) -> Any:
    """Where the text before ``stop`` ends once its trailing white space is gone."""
    while start < stop:
        i = last_start(data, stop)
        c, _ = decode_at(data, i)
        if not flags[c] & _SPACE:
            break
        stop = i
    return stop


@njit(cache=True, nogil=True)
def count_characters(data: Any, start: Any, stop: Any) -> Any:
    """Code points of ``data[start:stop]``."""
    count = 0
    for i in range(start, stop):
        count += data[i] & 0xC0 != 0x80
    return count


@njit(cache=True, nogil=True)
def hash_bytes(data: Any, start: Any, stop: Any) -> Any:
    """Hash of the bytes ``data[start:stop]``, never 0."""
    h = np.uint64(stop - start + 1)
    i = start
    while i + 4 <= stop:  # four bytes at a time, so that one multiplication waits for another only once
        pair = np.uint64(data[i]) * BASE + np.uint64(data[i + 1])
        h = h * _BASE_4 + pair * _BASE_2 + np.uint64(data[i + 2]) * BASE + np.uint64(data[i + 3])
        i += 4
    while i < stop:
        h = h * BASE + np.uint64(data[i])
        i += 1
    return h if h != np.uint64(0) else BASE


@njit(cache=True, nogil=True)
def line_end(data: Any, start: Any, stop: Any) -> Any:
    """End of the line that starts at ``start``, and the start of the next one, as ``str.splitlines`` sees them."""
    i = start
    while i < stop:
        b = data[i]
        if b < 0x20:
            if b == 0x0D:
                return i, i + 2 if i + 1 < stop and data[i + 1] == _NEWLINE else i + 1
            if 0x0A <= b <= 0x0C or 0x1C <= b <= 0x1E:
                return i, i + 1
        elif b == 0xC2 and data[i + 1] == 0x85:
            return i, i + 2
        elif b == 0xE2 and data[i + 1] == 0x80 and (data[i + 2] == 0xA8 or data[i + 2] == 0xA9):
            return i, i + 3
        i += 1
    return stop, stop


def read_only(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Views that cannot be written to, so that a kernel is compiled for one kind of array only."""
    views = tuple(array.view() for array in arrays)
    for view in views:
        view.setflags(write=False)
    return views
