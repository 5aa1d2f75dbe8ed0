"""The lines of a page that C4 keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from curation.text.charclass import CLOSING, DECIMAL, SPACE, TERMINAL, UNSPACED, WIDE
from curation.text.utf8 import decode_at, last_start, line_end, skip_space, skip_space_back

_CLOSING, _DECIMAL, _SPACE, _TERMINAL, _UNSPACED, _WIDE = CLOSING, DECIMAL, SPACE, TERMINAL, UNSPACED, WIDE
_NEWLINE, _STOP, _OPEN, _CLOSE, _CURLY = 0x0A, 0x2E, 0x5B, 0x5D, 0x7B

LOREM_IPSUM, JAVASCRIPT, POLICY, CURLY, CHINESE_POLICY = 1, 2, 4, 8, 16
# Phrases and what they are a sign of; they are sought in lower case.
_PHRASES = {
    "lorem ipsum": LOREM_IPSUM,
    "javascript": JAVASCRIPT,
    "terms of use": POLICY,
    "privacy policy": POLICY,
    "cookie policy": POLICY,
    "uses cookies": POLICY,
    "use of cookies": POLICY,
    "use cookies": POLICY,
    "隐私政策": CHINESE_POLICY,
    "隱私政策": CHINESE_POLICY,
    "隱私權政策": CHINESE_POLICY,
    "使用条款": CHINESE_POLICY,
    "使用條款": CHINESE_POLICY,
    "服务条款": CHINESE_POLICY,
    "服務條款": CHINESE_POLICY,
}
_ENCODED = [phrase.encode() for phrase in _PHRASES]
_PHRASE_BYTES = np.frombuffer(b"".join(_ENCODED), np.uint8)
_PHRASE_ENDS = np.cumsum([len(phrase) for phrase in _ENCODED])
_PHRASE_SIGNS = np.array(list(_PHRASES.values()), np.int64)
# Whether two bytes may begin a phrase; index is the first byte and, eight bits higher, the second.
_BEGINNINGS = np.zeros(1 << 16, np.bool_)
for _phrase in _ENCODED:
    for _first in {_phrase[:1], _phrase[:1].upper()}:
        for _second in {_phrase[1:2], _phrase[1:2].upper()}:
            _BEGINNINGS[_first[0] | _second[0] << 8] = True
_CITATIONS = np.frombuffer(b"edit]citation needed]", np.uint8)

# Columns of the counts that ``kept_lines`` returns.
LINES, KEPT, LONG_WORD, UNFINISHED, FEW_WORDS, WITH_LOREM_IPSUM, WITH_JAVASCRIPT, WITH_CURLY, WITH_POLICY = range(9)
_COUNTS = 9


@njit(cache=True, nogil=True)
def _is_phrase(data: Any, i: Any, stop: Any, first: Any, last: Any) -> Any:
    """Whether the phrase ``_PHRASE_BYTES[first:last]`` is at ``i``, in any case as ``str.lower`` undoes it."""
    for k in range(first, last):
        if i >= stop:
            return False
        b = data[i]
        if 0x41 <= b <= 0x5A:
            b += 32
        if b == _PHRASE_BYTES[k]:
            i += 1
        elif _PHRASE_BYTES[k] == 0x6B and i + 2 < stop and b == 0xE2 and data[i + 1] == 0x84 and data[i + 2] == 0xAA:
            i += 3  # the Kelvin sign, whose lower case is k
        else:
            return False
    return True


@njit(cache=True, nogil=True)
def _signs(data: Any, start: Any, stop: Any) -> Any:
    """Which phrases and brackets the line holds, as bits."""
    found = 0
    for i in range(start, stop):
        if data[i] == _CURLY:
            found |= CURLY
        if i + 1 < stop and _BEGINNINGS[np.int64(data[i]) | np.int64(data[i + 1]) << 8]:
            first = 0
            for phrase in range(_PHRASE_ENDS.size):
                if _is_phrase(data, i, stop, first, _PHRASE_ENDS[phrase]):
                    found |= _PHRASE_SIGNS[phrase]
                first = _PHRASE_ENDS[phrase]
    return found


@njit(cache=True, nogil=True)
def _citation(data: Any, i: Any, stop: Any, flags: Any) -> Any:
    """Bytes of the citation mark at ``i``: ``[12]``, ``[edit]``, ``[citation needed]``; 0 if there is none."""
    if data[i] != _OPEN:
        return 0
    for first, last in ((0, 5), (5, 21)):
        k = first
        while k < last and i + 1 + k - first < stop and data[i + 1 + k - first] == _CITATIONS[k]:
            k += 1
        if k == last:
            return 1 + last - first
    j = i + 1
    while j < stop:
        c, width = decode_at(data, j)
        if c == _CLOSE:
            return j + 1 - i
        if not flags[c] & _DECIMAL:
            return 0
        j += width
    return 0


@njit(cache=True, nogil=True)
def _line_words(data: Any, start: Any, stop: Any, unspaced: Any, flags: Any) -> Any:
    """Words between white space of a line, and the code points of the longest.

    Where characters of scripts without spaces are words, each is one, and it and wide punctuation end the word
    before.
    """
    count, longest, size = 0, 0, 0
    i = start
    while i < stop:
        c, width = decode_at(data, i)
        i += width
        own = flags[c]
        if own & _SPACE or (unspaced and own & (_UNSPACED | _WIDE)):
            size = 0
            count += unspaced and own & _UNSPACED != 0
            continue
        count += size == 0
        size += 1
        longest = max(longest, size)
    return count, longest


@njit(cache=True, nogil=True)
def _is_finished(data: Any, start: Any, stop: Any, unspaced: Any, flags: Any) -> Any:
    """Whether a line ends with a terminal mark that is not an ellipsis of three stops."""
    if start == stop:
        return False
    last = data[stop - 1]
    if last == _STOP:
        return not (stop - start >= 3 and data[stop - 2] == _STOP and data[stop - 3] == _STOP)
    if last == 0x3F or last == 0x21 or last == 0x22 or last == 0x27:  # ? ! " '
        return True
    if not unspaced:
        return False
    c, _ = decode_at(data, last_start(data, stop))
    return flags[c] & (_TERMINAL | _CLOSING) != 0


@njit(cache=True, nogil=True)
def _copy_uncited(data: Any, start: Any, stop: Any, out: Any, at: Any, flags: Any) -> Any:
    """Copy a line without its citation marks; where the copy ends."""
    i = start
    while i < stop:
        skipped = _citation(data, i, stop, flags) if data[i] == _OPEN else 0
        if skipped == 0:
            out[at] = data[i]
            at += 1
            skipped = 1
        i += skipped
    return at


@njit(cache=True, nogil=True)
def kept_lines(
    data: Any, offsets: Any, flags: Any, unspaced: Any, unmarked: Any, min_words: Any, max_length: Any
) -> Any:
    """Lines that end like a sentence, have enough words, none too long, and nothing of JavaScript or policies.

    Args:
        data, offsets: texts.
        unspaced: whether characters of scripts without spaces are words, by text; then also the terminal marks
            of other scripts end a line.
        unmarked: whether lines need no terminal mark, by text.
        min_words: fewest words of a line, by text.
        max_length: most code points of a word, by text.

    Returns:
        ``(out, out_offsets, starts, stops, first_lines, counts)``: the kept lines of each text joined by
        newlines, stripped; first and last byte of each kept line; ``first_lines[i]:first_lines[i + 1]`` are the
        lines of text ``i``; ``int64[n, 9]`` counts of lines, kept ones and those dropped or found by reason.
    """
    rows = offsets.size - 1
    out = np.empty(offsets[rows] - offsets[0] + 1, np.uint8)
    out_offsets, first_lines = np.zeros(rows + 1, np.int64), np.zeros(rows + 1, np.int64)
    counts = np.zeros((rows, _COUNTS), np.int64)
    room = rows
    for i in range(offsets[0], offsets[rows]):  # every byte that may end a line
        room += data[i] < 0x20 or data[i] == 0xC2 or data[i] == 0xE2
    starts, stops = np.empty(room, np.int64), np.empty(room, np.int64)
    n, end = 0, 0
    for row in range(rows):
        i, stop, begin = offsets[row], offsets[row + 1], end
        while i < stop:
            line_stop, following = line_end(data, i, stop)
            first = skip_space(data, i, line_stop, flags)
            last = skip_space_back(data, first, line_stop, flags)
            i = following
            counts[row, LINES] += 1
            at = end + 1 if end > begin else end
            words, longest = 0, 0
            if last - first > max_length[row]:
                words, longest = _line_words(data, first, last, unspaced[row], flags)
            if longest > max_length[row]:
                counts[row, LONG_WORD] += 1
                continue
            uncited = _copy_uncited(data, first, last, out, at, flags)
            if unmarked[row]:
                uncited = skip_space_back(out, at, uncited, flags)
            elif not _is_finished(out, at, uncited, unspaced[row], flags):
                counts[row, UNFINISHED] += 1
                continue
            words, longest = _line_words(data, first, last, unspaced[row], flags)
            if words < min_words[row]:
                counts[row, FEW_WORDS] += 1
                continue
            signs = _signs(out, at, uncited)
            counts[row, WITH_LOREM_IPSUM] += signs & LOREM_IPSUM != 0
            if signs & JAVASCRIPT:
                counts[row, WITH_JAVASCRIPT] += 1
                continue
            counts[row, WITH_CURLY] += signs & CURLY != 0
            if signs & POLICY or (unspaced[row] and signs & CHINESE_POLICY):
                counts[row, WITH_POLICY] += 1
                continue
            counts[row, KEPT] += 1
            starts[n], stops[n] = at, uncited
            n += 1
            if at > end:
                out[end] = _NEWLINE
            end = uncited
        # A line that began with a citation may begin with a blank now.
        blank = skip_space(out, begin, end, flags) - begin
        if blank:
            out[begin : end - blank] = out[begin + blank : end].copy()
            end -= blank
            for line in range(first_lines[row], n):
                starts[line], stops[line] = max(starts[line] - blank, begin), stops[line] - blank
        out_offsets[row + 1], first_lines[row + 1] = end, n
    return out[:end], out_offsets, starts[:n], stops[:n], first_lines, counts
