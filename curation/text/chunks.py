"""Where a chunk of text between blanks falls apart into words.

English text is split as spaCy 3.8's rule-based English tokenizer does it: special cases and web addresses are
left alone, prefixes and suffixes are taken off, the rest is split at infixes.  In other languages each character
of a script without spaces is a word before these rules see the runs between, and East Asian punctuation ends a
run.

A chunk is an array of code points; where a word ends at ``i``, ``borders[i]`` is set.  The kernels take single
arrays, no tuples of them: numba counts the references to a tuple's members at each call, which costs more than
the work itself.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from curation.text import charclass
from curation.text.hashing import find, hash_codes

# Local names: numba reads module globals as constants, attributes of modules it does not.
_ALPHA, _LOWER, _UPPER, _QUOTE = charclass.ALPHA, charclass.LOWER, charclass.UPPER, charclass.QUOTE
_PREFIX, _SUFFIX, _ICON, _AFFIX = charclass.PREFIX, charclass.SUFFIX, charclass.ICON, charclass.AFFIX
_BEFORE_STOP, _CURRENCY = charclass.BEFORE_STOP, charclass.CURRENCY
_HOST, _WORD, _DIGIT, _MARK = charclass.HOST, charclass.WORD, charclass.DIGIT, charclass.MARK
_WIDE, _UNSPACED = charclass.WIDE, charclass.UNSPACED

_STOP, _COMMA, _COLON, _SLASH, _AT, _DOLLAR = ord("."), ord(","), ord(":"), ord("/"), ord("@"), ord("$")
_PLUS, _HYPHEN, _EN_DASH, _EM_DASH, _UNDERSCORE = ord("+"), ord("-"), ord("–"), ord("—"), ord("_")
_ASTERISK, _CARET, _TILDE, _LESS, _GREATER, _EQUALS = (
    ord("*"),
    ord("^"),
    ord("~"),
    ord("<"),
    ord(">"),
    ord("="),
)
_APOSTROPHE, _CURLY, _ELLIPSIS, _DEGREE = ord("'"), ord("’"), ord("…"), ord("°")
_QUESTION, _HASH, _ZERO = ord("?"), ord("#"), ord("0")
_A, _C, _F, _K, _S, _U, _SMALL_S = ord("A"), ord("C"), ord("F"), ord("K"), ord("S"), ord("U"), ord("s")

LONGEST_CASE = 12  # code points of the longest special case
_LONGEST_UNIT = 5
IS_UNIT = 1 << 12  # in the value of a key: a unit of measurement
_PART_LENGTHS = IS_UNIT - 1  # in the value of a key: lengths of the parts of a special case, four bits each


@njit(cache=True, nogil=True)
def case_at(codes: Any, start: Any, stop: Any, keys: Any, values: Any) -> Any:
    """Lengths of the words that the special case ``codes[start:stop]`` becomes, packed; 0 if it is none."""
    if stop - start > LONGEST_CASE:
        return 0
    slot = find(keys, hash_codes(codes, start, stop))
    return values[slot] & _PART_LENGTHS if slot >= 0 else 0


@njit(cache=True, nogil=True)
def _stops(codes: Any, i: Any, stop: Any) -> Any:
    """Length of the run of full stops at ``i``."""
    j = i
    while j < stop and codes[j] == _STOP:
        j += 1
    return j - i


@njit(cache=True, nogil=True)
def _prefix(codes: Any, start: Any, stop: Any, flags: Any) -> Any:
    """Length of what splits off in front, or 0."""
    c = codes[start]
    if flags[c] & _PREFIX:
        return 1
    if c == _PLUS:
        return 0 if start + 1 < stop and flags[codes[start + 1]] & _DIGIT else 1
    if c == _STOP:
        run = _stops(codes, start, stop)
        return run if run > 1 else 0
    if c in (_A, _C) and start + 1 < stop and codes[start + 1] == _DOLLAR:
        return 2
    if c == _U and start + 2 < stop and codes[start + 1] == _S and codes[start + 2] == _DOLLAR:
        return 3
    return 0


@njit(cache=True, nogil=True)
def _suffix(codes: Any, start: Any, stop: Any, flags: Any, keys: Any, values: Any) -> Any:
    """Length of what splits off behind, or 0."""
    if start >= stop:
        return 0
    size = stop - start
    last = codes[stop - 1]
    if last == _STOP:
        return _suffix_stop(codes, start, stop, flags)
    if flags[last] & _SUFFIX:
        return 2 if last == _ELLIPSIS and size > 1 and codes[stop - 2] == _ELLIPSIS else 1
    if size == 1 or flags[last] & _DIGIT:
        return 0
    before = codes[stop - 2]
    if last in (_SMALL_S, _S) and (before in (_APOSTROPHE, _CURLY)):
        return 2
    if flags[before] & _DIGIT and (last == _PLUS or flags[last] & _CURRENCY):
        return 1
    if last == _DOLLAR:
        if size > 2 and before in (_A, _C) and flags[codes[stop - 3]] & _DIGIT:
            return 2
        us = size > 3 and before == _S and codes[stop - 3] == _U
        return 3 if us and flags[codes[stop - 4]] & _DIGIT else 0
    for length in range(1, min(_LONGEST_UNIT, size - 1) + 1):
        if flags[codes[stop - 1 - length]] & _DIGIT:
            slot = find(keys, hash_codes(codes, stop - length, stop))
            return length if slot >= 0 and values[slot] & IS_UNIT else 0
    return 0


@njit(cache=True, nogil=True)
def _suffix_stop(codes: Any, start: Any, stop: Any, flags: Any) -> Any:
    """Length of the suffix of a string that ends with a full stop."""
    run = 1
    while run < stop - start and codes[stop - 1 - run] == _STOP:
        run += 1
    if run > 1:
        return run
    if stop - start == 1:
        return 0
    before = codes[stop - 2]
    if flags[before] & _BEFORE_STOP:
        return 1
    if stop - start == 2:
        return 0
    second = codes[stop - 3]
    if flags[before] & _UPPER and flags[second] & _UPPER:
        return 1
    return 1 if second == _DEGREE and before in (_C, _F, _K) else 0


@njit(cache=True, nogil=True)
def _infix(codes: Any, start: Any, stop: Any, i: Any, flags: Any) -> Any:
    """Length of the infix at ``i``, or 0."""
    c = codes[i]
    own = flags[c]
    if c == _ELLIPSIS or own & _ICON:
        return 1
    if c == _STOP and i + 1 < stop and codes[i + 1] == _STOP:
        return _stops(codes, i, stop)
    if i == start or i + 1 == stop:
        return 0
    before, after = flags[codes[i - 1]], flags[codes[i + 1]]
    if c == _STOP:
        return 1 if before & (_LOWER | _QUOTE) and after & (_UPPER | _QUOTE) else 0
    if c in (_PLUS, _HYPHEN, _ASTERISK, _CARET):
        if before & _DIGIT and (after & _DIGIT or codes[i + 1] == _HYPHEN):
            return 1
    elif c == _COMMA:
        return 1 if before & _ALPHA and after & _ALPHA else 0
    if not before & (_ALPHA | _DIGIT):
        return 0
    if c in (_HYPHEN, _EM_DASH):
        longest = 3 if c == _HYPHEN else 2
        length = 1
        while length < longest and i + length < stop and codes[i + length] == c:
            length += 1
        return length if i + length < stop and flags[codes[i + length]] & _ALPHA else 0
    if c in (_EN_DASH, _TILDE, _COLON, _LESS, _GREATER, _EQUALS, _SLASH):
        return 1 if after & _ALPHA else 0
    return 0


@njit(cache=True, nogil=True)
def _is_address_tail(codes: Any, i: Any, stop: Any, flags: Any) -> Any:
    """Whether a port and a path, both optional, reach from ``i`` to the end."""
    if i < stop and codes[i] == _COLON:
        digits = 0
        while i + 1 + digits < stop and flags[codes[i + 1 + digits]] & _DIGIT:
            digits += 1
        if digits < 2 or digits > 5:
            return False
        i += 1 + digits
    return i == stop or codes[i] == _SLASH or codes[i] == _QUESTION or codes[i] == _HASH


@njit(cache=True, nogil=True)
def _is_named_host(codes: Any, i: Any, stop: Any, flags: Any) -> Any:
    """Whether labels, a top-level domain in lower case, port and path reach from ``i`` to the end."""
    labels = 0
    while True:
        first = i
        while i < stop and (flags[codes[i]] & _HOST or codes[i] == _HYPHEN or codes[i] == _UNDERSCORE):
            i += 1
        label = first < i <= first + 64 and flags[codes[first]] & _HOST and flags[codes[i - 1]] & _HOST
        if i < stop and codes[i] == _STOP and label:
            labels += 1
            i += 1
        else:
            break
    top = first
    while top < stop and flags[codes[top]] & _LOWER:
        top += 1
    return labels > 0 and 2 <= top - first <= 63 and _is_address_tail(codes, top, stop, flags)


@njit(cache=True, nogil=True)
def _is_numbered_host(codes: Any, i: Any, stop: Any, flags: Any) -> Any:
    """Whether a public IPv4 address, port and path reach from ``i`` to the end."""
    a, b, last = 0, 0, 0
    for place in range(4):
        first, octet = i, 0
        while i < stop and i < first + 3 and flags[codes[i]] & _DIGIT:
            octet = octet * 10 + codes[i] - _ZERO
            i += 1
        leading_zero = i > first and codes[first] == _ZERO
        # Octets of three digits may not start with 0; the first and the last may not start with it at all.
        if i == first or octet > 255 or (leading_zero and (place == 0 or place == 3 or i == first + 3)):
            return False
        if place == 0:
            a = octet
        elif place == 1:
            b = octet
        last = octet
        if place < 3:
            if i == stop or codes[i] != _STOP:
                return False
            i += 1
    if a > 223 or last > 254 or a == 10 or a == 127:
        return False
    if (a == 169 and b == 254) or (a == 192 and b == 168) or (a == 172 and 16 <= b <= 31):
        return False
    return _is_address_tail(codes, i, stop, flags)


@njit(cache=True, nogil=True)
def _is_host(codes: Any, i: Any, stop: Any, flags: Any) -> Any:
    if i >= stop:
        return False
    if flags[codes[i]] & _DIGIT and _is_numbered_host(codes, i, stop, flags):
        return True
    return _is_named_host(codes, i, stop, flags)


@njit(cache=True, nogil=True)
def _is_address(codes: Any, start: Any, stop: Any, flags: Any) -> Any:
    """Whether ``codes[start:stop]`` is a web or mail address; scheme, user, port and path are optional."""
    i = start
    while i < stop and codes[i] != _STOP:
        i += 1
    if i == stop:
        return False
    scheme = start
    while scheme < stop:
        c = codes[scheme]
        if not flags[c] & _WORD and c != _PLUS and c != _HYPHEN and c != _STOP:
            break
        scheme += 1
    if scheme - start >= 2 and scheme + 3 <= stop:
        slashes = codes[scheme] == _COLON and codes[scheme + 1] == _SLASH and codes[scheme + 2] == _SLASH
        if slashes and _is_host(codes, scheme + 3, stop, flags):
            return True
    if _is_host(codes, start, stop, flags):
        return True
    for i in range(start + 1, stop):  # noqa: SIM110
        if codes[i] == _AT and _is_host(codes, i + 1, stop, flags):
            return True
    return False


@njit(cache=True, nogil=True)
def _cut_infixes(codes: Any, start: Any, stop: Any, flags: Any, borders: Any) -> Any:
    """Set the borders of infixes; one at the very beginning stays where it is."""
    i = start
    while i < stop:
        length = _infix(codes, start, stop, i, flags) if flags[codes[i]] & _AFFIX else 0
        if length > 0 and i > start:
            borders[i] = 1
            borders[i + length] = 1
        i += max(length, 1)


@njit(cache=True, nogil=True)
def cut_chunk(codes: Any, start: Any, stop: Any, flags: Any, keys: Any, values: Any, borders: Any) -> Any:
    """Set the borders of the words of ``codes[start:stop]``, ``stop`` included.

    Prefixes and suffixes come off until nothing more is found or the rest is a special case.
    """
    borders[stop] = 1
    while start < stop:
        parts = case_at(codes, start, stop, keys, values)
        if parts:
            while parts:
                start += parts & 15
                borders[start] = 1
                parts >>= 4
            return
        prefix = _prefix(codes, start, stop, flags)
        if 0 < prefix < stop - start and case_at(codes, start + prefix, stop, keys, values):
            start += prefix
            borders[start] = 1
            continue
        suffix = _suffix(codes, start + prefix, stop, flags, keys, values)
        if prefix == 0 and suffix == 0:
            break
        if suffix > 0 and suffix < stop - start and case_at(codes, start, stop - suffix, keys, values):
            prefix = 0
        if prefix > 0:
            start += prefix
            borders[start] = 1
        if suffix > 0:
            stop -= suffix
            borders[stop] = 1
    if start < stop and not _is_address(codes, start, stop, flags):
        _cut_infixes(codes, start, stop, flags, borders)


@njit(cache=True, nogil=True)
def cut_mixed_chunk(codes: Any, size: Any, flags: Any, keys: Any, values: Any, borders: Any) -> Any:
    """Set the borders of a chunk in which characters of scripts without spaces are words."""
    i = 0
    while i < size:
        own = flags[codes[i]]
        first = i
        i += 1
        if own & _UNSPACED:
            while i < size and flags[codes[i]] & _MARK:
                i += 1
            borders[i] = 1
        elif own & _WIDE:
            borders[i] = 1
        else:
            while i < size and not flags[codes[i]] & (_UNSPACED | _WIDE):
                i += 1
            cut_chunk(codes, first, i, flags, keys, values, borders)
