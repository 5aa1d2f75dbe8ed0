"""Lines and paragraphs: how many there are, how they begin and end, how much of them is repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curation.text.charclass import CLOSING, TERMINAL
from curation.text.hashing import slot_of, table_size
from curation.text.utf8 import (
    count_characters,
    decode_at,
    hash_bytes,
    last_start,
    line_end,
    skip_space,
    skip_space_back,
)

_CLOSING, _TERMINAL = CLOSING, TERMINAL
_NEWLINE, _STOP, _HYPHEN, _HASH = 0x0A, 0x2E, 0x2D, 0x23


@njit(cache=True, nogil=True)
def _starts_with(data: Any, start: Any, stop: Any, last: Any) -> Any:
    """Whether ``E2 80 last`` is at ``start``: a bullet (``A2``) or an ellipsis (``A6``)."""
    return start + 3 <= stop and data[start] == 0xE2 and data[start + 1] == 0x80 and data[start + 2] == last


@njit(cache=True, nogil=True)
def marked_lines(data: Any, offsets: Any, flags: Any) -> Any:
    """Symbols and marked lines of each text; lines end as for ``str.splitlines``.

    Returns:
        ``int64[n, 5]``: number signs, ellipses (``…``, and ``...`` without overlap), lines, lines that start
        with a bullet or hyphen, lines that end with an ellipsis.
    """
    found = np.zeros((offsets.size - 1, 5), np.int64)
    for row in range(offsets.size - 1):
        i, stop = offsets[row], offsets[row + 1]
        hashes, ellipses, lines, bullets, trailing = 0, 0, 0, 0, 0
        while i < stop:
            end, following = line_end(data, i, stop)
            lines += 1
            first = skip_space(data, i, end, flags)
            if first < end:
                last = skip_space_back(data, first, end, flags)
                bullets += data[first] == _HYPHEN or _starts_with(data, first, end, 0xA2)
                dots = last - first >= 3 and data[last - 1] == _STOP and data[last - 2] == _STOP
                dots = dots and data[last - 3] == _STOP
                trailing += dots or (last - first >= 3 and _starts_with(data, last - 3, last, 0xA6))
            run = 0
            for j in range(first, end):
                if data[j] == _STOP:
                    run += 1
                    if run == 3:
                        ellipses += 1
                        run = 0
                    continue
                run = 0
                if data[j] == _HASH:
                    hashes += 1
                elif data[j] == 0xE2 and _starts_with(data, j, end, 0xA6):
                    ellipses += 1
            i = following
        found[row, 0], found[row, 1], found[row, 2], found[row, 3] = hashes, ellipses, lines, bullets
        found[row, 4] = trailing
    return found


@njit(cache=True, nogil=True)
def _count_newlines(data: Any, start: Any, stop: Any) -> Any:
    count = 0
    for i in range(start, stop):
        count += data[i] == _NEWLINE
    return count


@njit(cache=True, nogil=True)
def _repeated(data: Any, start: Any, stop: Any, least: Any) -> Any:
    """Pieces between runs of at least ``least`` newlines, those seen before, and their code points."""
    seen = np.zeros(table_size(_count_newlines(data, start, stop) + 1), np.uint64)
    pieces, repeated, characters = 0, 0, 0
    first, i = start, start
    while i <= stop:
        run = 0
        while i + run < stop and data[i + run] == _NEWLINE:
            run += 1
        if i == stop or run >= least:
            pieces += 1
            if pieces > 1 or i < stop:  # a text of one piece repeats nothing
                key = hash_bytes(data, first, i)
                slot = slot_of(seen, key)
                if seen[slot] == key:
                    repeated += 1
                    characters += count_characters(data, first, i)
                seen[slot] = key
            first = i + run
        i += max(run, 1)
    return pieces, repeated, characters


@njit(cache=True, nogil=True)
def repeated_lines(data: Any, offsets: Any, flags: Any) -> Any:
    """Repeated lines and paragraphs of each text.

    Lines are what one or more newlines separate (a text that starts or ends with one has an empty line there),
    paragraphs what two or more separate in the stripped text.

    Returns:
        ``int64[n, 7]``: lines, repeated lines, their code points, the same of paragraphs, all code points.
    """
    found = np.zeros((offsets.size - 1, 7), np.int64)
    for row in range(offsets.size - 1):
        start, stop = offsets[row], offsets[row + 1]
        found[row, 0], found[row, 1], found[row, 2] = _repeated(data, start, stop, 1)
        found[row, 6] = count_characters(data, start, stop)
        start = skip_space(data, start, stop, flags)
        stop = skip_space_back(data, start, stop, flags)
        found[row, 3], found[row, 4], found[row, 5] = _repeated(data, start, stop, 2)
    return found


@njit(cache=True, nogil=True)
def prose_lines(data: Any, offsets: Any, flags: Any, short: Any, closing: Any) -> Any:
    """Lines of each text that look like prose or not; lines end with a newline, blank ones do not count.

    Args:
        short: ``int64[n]``, the most code points that a short line has.
        closing: ``bool[n]``, whether closing quotes, ``…`` and ``；`` end a line as a full stop does.

    Returns:
        ``int64[n, 6]``: lines, lines with a terminal mark at the very end, short lines, code points of repeated
        lines, newlines, code points that are no newline.
    """
    found = np.zeros((offsets.size - 1, 6), np.int64)
    for row in range(offsets.size - 1):
        start, stop = offsets[row], offsets[row + 1]
        newlines = _count_newlines(data, start, stop)
        seen = np.zeros(table_size(newlines + 1), np.uint64)
        marks = _TERMINAL | _CLOSING if closing[row] else _TERMINAL
        lines, ended, shorts, repeated = 0, 0, 0, 0
        first = start
        while first < stop:
            end = first
            while end < stop and data[end] != _NEWLINE:
                end += 1
            if skip_space(data, first, end, flags) < end:
                lines += 1
                c, _ = decode_at(data, last_start(data, end))
                ended += flags[c] & marks != 0
                characters = count_characters(data, first, end)
                shorts += characters <= short[row]
                key = hash_bytes(data, first, end)
                slot = slot_of(seen, key)
                if seen[slot] == key:
                    repeated += characters
                seen[slot] = key
            first = end + 1
        found[row, 0], found[row, 1], found[row, 2], found[row, 3] = lines, ended, shorts, repeated
        found[row, 4], found[row, 5] = newlines, count_characters(data, start, stop) - newlines
    return found
