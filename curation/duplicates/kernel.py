# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs
# (kernels have no annotations: numba infers their types)
"""From UTF-8 to shingle hashes to MinHash minima in one pass over the text, compiled.

All kernels that call one another are in this file, with their constants, because numba's cache notices a
changed file only where the cached function itself is written.  Arrays are copied by loops, because a slice
takes seconds to compile.

A text is read in blocks: :func:`_read_words` folds code points and hashes words, :func:`_next_shingles`
combines five words at a time, :func:`permute` takes minima.  Memory does not depend on the text's length,
but for the shingle sets themselves.

Hashes (all modulo 2^64, none of them cryptographic; a text made on purpose to collide is not defended against):

* word: ``h = h * W + c`` over its folded code points ``c``, then mixed;
* shingle: ``sum(word[i] * S^(4 - i)) + 5 * N`` over its five words, mixed; a text of ``n < 5`` words has the one
  shingle ``sum(word[i] * S^(n - 1 - i)) + n * N``, mixed;
* text, 128 bits: ``h = h * T + word[i]`` and ``h = (h ^ word[i]) * R`` over its words, each mixed.

The mixer is the 64-bit finaliser of MurmurHash3 (A. Appleby, public domain), a bijection.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# What a folding table says of a code point (curation.duplicates.folding builds it).
WORD = 1  # letter, mark or decimal digit: part of a run
SOLO = 2  # letter, mark or number of a script written without spaces: a word of its own
MAPPED = 4  # becomes something else; ``starts`` says where in ``folded`` that is written
SECOND = 8  # may compose with the starter before it
CONTEXT = 16  # never decided by table
LEAD = 8  # shift of the combining class (8 bits) of the first character of the decomposition
TRAIL = 16  # shift of the combining class (8 bits) of the last one
LONGEST = 32  # no code point becomes more characters than this (the longest, U+FDFA, becomes 18)

WIDTH = 5  # words in a shingle
BLOCK = 1024  # words read before they are combined: the working set stays in the nearest cache

DONE = 0  # the text was read
IN_CONTEXT = 1  # the table cannot fold it: put it into folded NFKC and read it as plain
WORDLESS = 2  # it has no word

_W = np.uint64(0x9FB21C651E98DF25)  # odd multipliers with well-spread bits: of XXH3's mixers (xxHash, BSD) …
_R = np.uint64(0xD6E8FEB86659FD93)  # … of degski's 64-bit mixer …
_S = np.uint64(0xBF58476D1CE4E5B9)  # … of SplitMix64 (Steele, Lea, Flood 2014) …
_T = np.uint64(0x94D049BB133111EB)
_N = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio
_S2, _S3, _S4 = (np.uint64(pow(int(_S), power, 1 << 64)) for power in (2, 3, 4))
_WORD_SEED = np.uint64(0x243F6A8885A308D3)  # digits of pi
_TEXT_SEEDS = (np.uint64(0x13198A2E03707344), np.uint64(0xA4093822299F31D0))
_INVALID = np.uint64(0xFFFD)
_ASCII = np.uint64(128)
_ZERO, _ONE, _TWO, _THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
_PLAIN = np.uint32(WORD | SOLO)
_SPECIAL = np.uint32(MAPPED | SECOND | CONTEXT | 0xFF << LEAD | 0xFF << TRAIL)

# Where a reading stands, between two blocks of one text.
_POSITION, _HASH, _INSIDE, _STARTER, _MARK, _CARRIED, _TOTAL, _TEXT_FIRST, _TEXT_SECOND, _STATUS, _ENDED = range(11)


@njit(cache=True, nogil=True)
def mix64(value):
    """MurmurHash3's 64-bit finaliser."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@njit(cache=True, nogil=True)
def _mix32(value):
    """MurmurHash3's 32-bit finaliser."""
    value = np.uint32((value ^ (value >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    value = np.uint32((value ^ (value >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(value ^ (value >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _decode(data, position, stop):
    """Code point at ``position`` and its length in bytes; a byte that starts nothing counts as U+FFFD."""
    first = np.uint64(data[position])
    low = np.uint64(63)
    if first >= np.uint64(0xF0) and position + _THREE < stop:
        code = (first & np.uint64(7)) << np.uint64(18) | (np.uint64(data[position + _ONE]) & low) << np.uint64(12)
        code |= (np.uint64(data[position + _TWO]) & low) << np.uint64(6) | np.uint64(data[position + _THREE]) & low
        return (code if code < np.uint64(0x110000) else _INVALID), np.uint64(4)
    if np.uint64(0xE0) <= first < np.uint64(0xF0) and position + _TWO < stop:
        code = (first & np.uint64(15)) << np.uint64(12) | (np.uint64(data[position + _ONE]) & low) << np.uint64(6)
        return code | np.uint64(data[position + _TWO]) & low, _THREE
    if np.uint64(0xC0) <= first < np.uint64(0xE0) and position + _ONE < stop:
        return (first & np.uint64(31)) << np.uint64(6) | np.uint64(data[position + _ONE]) & low, _TWO
    return _INVALID, _ONE


@njit(cache=True, nogil=True)
def _composes(pairs, starter, code):
    """Whether a starter and the character behind it are a primary composite apart."""
    pair = starter << np.uint64(32) | code
    place = np.searchsorted(pairs, pair)
    return place < pairs.size and pairs[place] == pair


@njit(cache=True, nogil=True)
def _ascii_steps(letters):
    """``h * factors[byte] + terms[byte]``: in a word the step of its hash, elsewhere the start of the next."""
    factors, terms = np.empty(128, np.uint64), np.empty(128, np.uint64)
    for byte in range(128):
        factors[byte] = _W if letters[byte] else np.uint64(0)
        terms[byte] = np.uint64(letters[byte]) if letters[byte] else _WORD_SEED
    return factors, terms


@njit(cache=True, nogil=True)
def _read_words(data, stop, plain, folding, steps, state, words):
    """Hash words, not yet mixed, behind ``words[:state[_CARRIED]]``; the number of hashes then there.

    Stops where the text or the room ends, or with ``IN_CONTEXT`` at a character that the table cannot decide.
    """
    factors, terms = steps
    position, starter, mark = state[_POSITION], state[_STARTER], state[_MARK]
    word, inside, count = state[_HASH], state[_INSIDE], state[_CARRIED]
    room = np.uint64(words.size - LONGEST - 1)
    while position < stop and count < room:
        byte = np.uint64(data[position])
        if byte < _ASCII:
            # No branch: where a word ends is hard to predict.  The hash is always written and counts when a
            # word ends here; factors are odd in a word and 0 elsewhere.
            factor = factors[byte]
            words[count] = word
            count += inside & ~factor & _ONE
            word = word * factor + terms[byte]
            inside = factor & _ONE
            starter, mark = byte, _ZERO  # a mark behind it may compose with it
            position += _ONE
            continue
        code, length = _decode(data, position, stop)
        position += length
        entry = folding.entries[code]
        first, size = _ZERO, _ONE
        if plain or not entry & _SPECIAL:
            starter, mark = code, _ZERO
        else:
            lead = np.uint64(entry >> np.uint32(LEAD)) & np.uint64(0xFF)
            unsure = entry & np.uint32(CONTEXT) or (lead and lead < mark)
            if unsure or (entry & np.uint32(SECOND) and _composes(folding.pairs, starter, code)):
                state[_STATUS] = IN_CONTEXT
                return count
            mark = np.uint64(entry >> np.uint32(TRAIL))
            starter = starter if lead else code
            if entry & np.uint32(MAPPED):
                first, size, last_starter = _mapping(folding, code)
                starter = starter if lead else last_starter
        for place in range(first, first + size):
            letter = np.uint64(folding.folded[place]) if first else code
            kind = (folding.entries[letter] if first else entry) & _PLAIN
            if kind == WORD:
                word, inside = word * _W + letter, _ONE
                continue
            words[count] = word
            count += inside
            word, inside = _WORD_SEED, _ZERO
            if kind == SOLO:
                words[count] = _WORD_SEED * _W + letter
                count += _ONE
    if position >= stop and inside:
        words[count] = word
        count += _ONE
        word, inside = _WORD_SEED, _ZERO
    state[_POSITION], state[_STARTER], state[_MARK] = position, starter, mark
    state[_HASH], state[_INSIDE], state[_ENDED] = word, inside, position >= stop
    return count


@njit(cache=True, nogil=True)
def _mapping(folding, code):
    """Place and number of the characters a mapped code point becomes, and the last starter of its NFKC form."""
    record = np.uint64(folding.starts[code])
    return record + _TWO, np.uint64(folding.folded[record]), np.uint64(folding.folded[record + _ONE])


@njit(cache=True, nogil=True)
def _next_shingles(data, stop, plain, folding, steps, state, words, hashes):
    """Hash the next block of shingles into ``hashes``; their number."""
    carried = state[_CARRIED]
    count = _read_words(data, stop, plain, folding, steps, state, words)
    if state[_STATUS] != DONE:
        return 0
    for place in range(carried, count):
        words[place] = mix64(words[place])
    first, second = state[_TEXT_FIRST], state[_TEXT_SECOND]
    for place in range(carried, count):
        first, second = first * _T + words[place], (second ^ words[place]) * _R
    state[_TEXT_FIRST], state[_TEXT_SECOND] = first, second
    state[_TOTAL] += count - carried
    if count >= WIDTH:
        number = np.int64(count) - WIDTH + 1
        for place in range(number):
            total = words[place] * _S4 + words[place + 1] * _S3 + words[place + 2] * _S2
            hashes[place] = mix64(total + words[place + 3] * _S + words[place + 4] + np.uint64(WIDTH) * _N)
        for place in range(WIDTH - 1):
            words[place] = words[number + place]
        state[_CARRIED] = WIDTH - 1
        return number
    if state[_TOTAL] >= WIDTH:  # the last block brought no word
        return 0
    if count == 0:
        state[_STATUS] = WORDLESS
        return 0
    total = np.uint64(0)
    for place in range(count):
        total = total * _S + words[place]
    hashes[0] = mix64(total + count * _N)
    return 1


@njit(cache=True, nogil=True)
def _begin(state, position):
    for place in range(state.size):
        state[place] = 0
    state[_POSITION], state[_HASH] = position, _WORD_SEED
    state[_TEXT_FIRST], state[_TEXT_SECOND] = _TEXT_SEEDS


@njit(cache=True, nogil=True)
def permute(hashes, count, multipliers, addends, minima):
    """Lower ``minima[k]`` to the least ``multipliers[k] * mix(h) + addends[k]`` over ``hashes[:count]``.

    Four hashes at a time, so that each vector of minima, multipliers and addends is loaded once for four; what
    is missing from the last four is made up with its first.  The width is that of ``minima``.
    """
    one = minima.dtype.type
    for place in range(0, count, 4):
        h0, h1 = hashes[place], hashes[min(place + 1, count - 1)]
        h2, h3 = hashes[min(place + 2, count - 1)], hashes[min(place + 3, count - 1)]
        if minima.itemsize == 4:
            m0, m1 = one(_mix32(np.uint32(h0))), one(_mix32(np.uint32(h1)))
            m2, m3 = one(_mix32(np.uint32(h2))), one(_mix32(np.uint32(h3)))
        else:
            m0, m1, m2, m3 = one(mix64(h0)), one(mix64(h1)), one(mix64(h2)), one(mix64(h3))
        for k in range(minima.size):
            a, b = multipliers[k], addends[k]
            low = min(one(a * m0 + b), one(a * m1 + b))
            low = min(low, min(one(a * m2 + b), one(a * m3 + b)))
            minima[k] = min(minima[k], low)


@njit(cache=True, nogil=True)
def sketch_rows(data, offsets, plain, folding, multipliers, addends, minima, counts, text_hash, status):
    """Signature, number of words, text hash and status of each text.

    Args:
        data, offsets: UTF-8 bytes and ``int64[n + 1]``.
        plain: the texts are in folded NFKC already.
        folding: :class:`curation.duplicates.folding.Folding`.
        multipliers, addends: ``uint32[p]`` or ``uint64[p]``.
        minima: ``[n, p]`` of the same type, filled with its greatest value.
        counts, text_hash, status: ``int64[n]``, ``uint64[n, 2]``, ``int8[n]``, filled here.
    """
    words, hashes = np.empty(BLOCK + 64, np.uint64), np.empty(BLOCK + 64, np.uint64)
    state, steps = np.empty(11, np.uint64), _ascii_steps(folding.ascii)
    for row in range(offsets.size - 1):
        _begin(state, offsets[row])
        while not state[_ENDED] and state[_STATUS] == DONE:
            count = _next_shingles(data, np.uint64(offsets[row + 1]), plain, folding, steps, state, words, hashes)
            permute(hashes, count, multipliers, addends, minima[row])
        counts[row], status[row] = state[_TOTAL], state[_STATUS]
        if state[_STATUS] == IN_CONTEXT:  # blocks before the doubtful character have left their mark
            for place in range(minima.shape[1]):
                minima[row, place] = minima.dtype.type(-1)
        text_hash[row, 0] = mix64(state[_TEXT_FIRST])
        text_hash[row, 1] = mix64(state[_TEXT_SECOND])


@njit(cache=True, nogil=True)
def set_rows(data, offsets, plain, folding, set_offsets, status):
    """The set of shingle hashes of each text, sorted, in one array.

    Args:
        set_offsets: ``int64[n + 1]``, filled here; empty where ``status`` is not ``DONE``.
        status: ``int8[n]``, filled here.

    Returns:
        ``uint64[set_offsets[n]]``, a view of up to twice as much.
    """
    words, state, steps = np.empty(BLOCK + 64, np.uint64), np.empty(11, np.uint64), _ascii_steps(folding.ascii)
    values = np.empty(4 * BLOCK, np.uint64)
    spare = np.empty(4 * BLOCK, np.uint64)
    end = 0
    set_offsets[0] = 0
    for row in range(offsets.size - 1):
        start = end
        _begin(state, offsets[row])
        while not state[_ENDED] and state[_STATUS] == DONE:
            if end + words.size > values.size:
                values = _enlarged(values, 2 * values.size)
            end += _next_shingles(data, np.uint64(offsets[row + 1]), plain, folding, steps, state, words, values[end:])
        status[row] = state[_STATUS]
        if state[_STATUS] != DONE:
            end = start
        if spare.size < end - start:
            spare = np.empty(2 * (end - start), np.uint64)
        end = start + sort_unique(values[start:end], spare)
        set_offsets[row + 1] = end
    return values[:end]


@njit(cache=True, nogil=True)
def _enlarged(values, size):
    larger = np.empty(size, np.uint64)
    for place in range(values.size):
        larger[place] = values[place]
    return larger


@njit(cache=True, nogil=True)
def sort_unique(values, spare):
    """Sort in place and drop repeats; the number that stays.  ``spare`` is at least as long.

    Hashes are spread evenly, so a count of their leading bits puts them nearly in place and an insertion sort
    does the rest.  Where it has much to do (values chosen by someone), a heap sort bounds the time.
    """
    size = values.size
    bits = 1
    while (1 << bits) < size and bits < 16:
        bits += 1
    shift = np.uint64(64 - bits)
    ends = np.zeros((1 << bits) + 1, np.int64)
    for place in range(size):
        ends[(values[place] >> shift) + np.uint64(1)] += 1
        spare[place] = values[place]
    for bucket in range(1 << bits):
        ends[bucket + 1] += ends[bucket]
    for place in range(size):
        bucket = spare[place] >> shift
        values[ends[bucket]] = spare[place]
        ends[bucket] += 1
    moves = 0
    for place in range(1, size):
        value, hole = values[place], place
        while hole > 0 and values[hole - 1] > value:
            values[hole] = values[hole - 1]
            hole -= 1
        values[hole] = value
        moves += place - hole
        if moves > 32 * size:
            _heap_sort(values)
            break
    kept = min(size, 1)
    for place in range(1, size):
        if values[place] != values[kept - 1]:
            values[kept] = values[place]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def _heap_sort(values):
    """Floyd's heap sort (Communications of the ACM 7, 1964)."""
    end, start = values.size, values.size // 2
    while end > 1:
        if start > 0:
            start -= 1
        else:
            end -= 1
            values[0], values[end] = values[end], values[0]
        parent = start
        while 2 * parent + 1 < end:
            child = 2 * parent + 1
            if child + 1 < end and values[child + 1] > values[child]:
                child += 1
            if values[parent] >= values[child]:
                break
            values[parent], values[child] = values[child], values[parent]
            parent = child


@njit(cache=True, nogil=True)
def fingerprint_rows(minima, rows, fingerprints):
    """Fill ``fingerprints[n, bands]`` with a hash of each band's ``rows`` minima and its number."""
    for document in range(fingerprints.shape[0]):
        for band in range(fingerprints.shape[1]):
            value = mix64(np.uint64(band + 1) * _N)
            for place in range(band * rows, band * rows + rows):
                value = mix64((value ^ np.uint64(minima[document, place])) * _S + _N)
            fingerprints[document, band] = value


@njit(cache=True, nogil=True)
def agreement_rows(minima, left, right, agreements):
    """Fill ``agreements[k]`` with the number of places where two signatures are equal."""
    for pair in range(left.size):
        first, second = minima[left[pair]], minima[right[pair]]
        equal = 0
        for place in range(first.size):
            equal += first[place] == second[place]
        agreements[pair] = equal
