# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs
# (kernels have no annotations: numba infers their types)
"""Looking for n-grams of benchmarks in texts, compiled.

An n-gram is looked up by its anchor, its first words: one of up to three numbers of them, the greatest that it
has.  The first reading (:func:`find_rows`) rolls a hash for each such number over the hashes of a text's words, asks
a bitmap and then a table of all anchors, and stops at the first that is there.  Most texts have none and are
done with.  The others are read again word by word, and :func:`match` compares words by their numbers in the
vocabulary of the benchmarks, so that no hash decides anything.

Hashes, modulo 2^64: a word is ``h = h * W + c`` over its folded code points, mixed; an anchor of ``n`` words is
``sum(word[i] * S^(n - 1 - i)) + n * N``, mixed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curation.duplicates.kernel import CONTEXT, LEAD, MAPPED, SECOND, SOLO, WORD, mix64

LONGEST = 64  # no anchor has more words
BLOCK = 1024  # words hashed before they are looked up

CLEAN = 0  # no anchor is in the text
FOUND = 1  # an anchor is
DOUBTFUL = 2  # a character may combine with its neighbour: put the text into folded NFKC and read it as plain

_W = np.uint64(0x9FB21C651E98DF25)  # odd multipliers with well-spread bits, as for the near-duplicates
_S = np.uint64(0xBF58476D1CE4E5B9)
_N = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0x243F6A8885A308D3)
_SINGLE = np.uint64((0x243F6A8885A308D3 * 0x9FB21C651E98DF25 + ord("a")) % (1 << 64))  # the word "a", not mixed
_LETTERS, _ZERO, _ONE = np.uint64(26), np.uint64(0), np.uint64(1)
_PLAIN = np.uint32(WORD | SOLO)
_UNSURE = np.uint32(SECOND | CONTEXT | 0xFF << LEAD)
_MAPPED = np.uint32(MAPPED)
_ROOM = 32  # words that one code point may bring, and the one before it
_POSITION, _HASH, _INSIDE, _DOUBT = range(4)


@njit(cache=True, nogil=True)
def hash_words(letters, offsets):
    """Hash of each word ``letters[offsets[i]:offsets[i + 1]]``."""
    hashes = np.empty(offsets.size - 1, np.uint64)
    for row in range(hashes.size):
        word = _SEED
        for place in range(offsets[row], offsets[row + 1]):
            word = word * _W + np.uint64(letters[place])
        hashes[row] = mix64(word)
    return hashes


@njit(cache=True, nogil=True)
def _power(width):
    power = _ONE
    for _ in range(width):
        power = power * _S
    return power


@njit(cache=True, nogil=True)
def _anchor(hashes, start, width):
    total = _ZERO
    for place in range(start, start + width):
        total = total * _S + hashes[place]
    return mix64(total + np.uint64(width) * _N)


@njit(cache=True, nogil=True)
def _widest(widths, size):
    """The greatest of the rising ``widths`` that is no more than ``size``, 0 if there is none."""
    best = 0
    for width in widths:
        if width <= size:
            best = width
    return best


@njit(cache=True, nogil=True)
def _same(first, start, second, other, size):
    place = 0
    while place < size and first[start + place] == second[other + place]:
        place += 1
    return place == size


@njit(cache=True, nogil=True)
def number_grams(words, hashes, starts, sizes, widths, slots):
    """The number of each n-gram ``words[starts[k]:starts[k] + sizes[k]]``, equal ones alike, from 0 in order.

    Args:
        words, hashes: numbers of words, and their hashes.
        slots: ``int32`` zeros, a power of two and more than there are n-grams.

    Returns:
        ``(numbers, first)``: ``int32[len(starts)]``, and the first occurrence of each number.
    """
    numbers = np.empty(starts.size, np.int32)
    first = np.empty(starts.size, np.int64)
    count, mask = 0, slots.size - 1
    for row in range(starts.size):
        start, size = starts[row], sizes[row]
        slot = np.int64(_anchor(hashes, start, _widest(widths, size)) & np.uint64(mask))
        while slots[slot]:
            other = first[slots[slot] - 1]
            if sizes[other] == size and _same(words, start, words, starts[other], size):
                break
            slot = (slot + 1) & mask
        if not slots[slot]:
            first[count] = row
            count += 1
            slots[slot] = count
        numbers[row] = slots[slot] - 1
    return numbers, first[:count].copy()


@njit(cache=True, nogil=True)
def fill_table(hashes, starts, sizes, widths, keys, grams, bitmap, shift):
    """Enter each n-gram by its anchor.

    Args:
        keys, grams: ``uint64`` and ``int32`` zeros of the table, a power of two; an entry has its gram's number
            and one.
        bitmap: ``uint64`` zeros; bit ``key >> shift``.
    """
    mask = keys.size - 1
    for gram in range(starts.size):
        key = _anchor(hashes, starts[gram], _widest(widths, sizes[gram]))
        slot = np.int64(key & np.uint64(mask))
        while grams[slot]:
            slot = (slot + 1) & mask
        keys[slot], grams[slot] = key, gram + 1
        bit = key >> shift
        bitmap[np.int64(bit >> np.uint64(6))] |= _ONE << (bit & np.uint64(63))


@njit(cache=True, nogil=True)
def match(words, hashes, index, places, grams):
    """All n-grams of the index in a text of numbered words.

    Args:
        words, hashes: number (-1 for a word that no benchmark has) and hash of each word.
        index: :class:`curation.decontamination.index.Table`.
        places, grams: filled as far as there is room with the word where an n-gram begins, and its number.

    Returns:
        How many there are.
    """
    count, mask = 0, index.keys.size - 1
    for width in index.widths:
        power, total = _power(width), _ZERO
        for place in range(words.size):
            total = total * _S + hashes[place]
            start = place - width + 1
            if start < 0:
                continue
            if start > 0:
                total -= hashes[start - 1] * power
            key = mix64(total + np.uint64(width) * _N)
            slot = np.int64(key & np.uint64(mask))
            while index.grams[slot]:
                gram = index.grams[slot] - 1
                if index.keys[slot] == key and start + index.sizes[gram] <= words.size:
                    size = index.sizes[gram]
                    if _widest(index.widths, size) == width and _same(
                        words, start, index.words, index.starts[gram], size
                    ):
                        if count < places.size:
                            places[count], grams[count] = start, gram
                        count += 1
                slot = (slot + 1) & mask
    return count


@njit(cache=True, nogil=True)
def _ascii_steps(letters):
    """``h * factors[byte] + terms[byte]``: in a word the step of its hash, elsewhere the start of the next."""
    factors, terms = np.empty(128, np.uint64), np.empty(128, np.uint64)
    for byte in range(128):
        factors[byte] = _W if letters[byte] else _ZERO
        terms[byte] = np.uint64(letters[byte]) if letters[byte] else _SEED
    return factors, terms


@njit(cache=True, nogil=True)
def _decode(data, position, stop):
    """Code point at ``position`` of valid UTF-8 that is not ASCII, and its length."""
    first, low = np.uint32(data[position]), np.uint32(63)
    if first < np.uint32(0xE0) and position + 1 < stop:
        return (first & np.uint32(31)) << np.uint32(6) | np.uint32(data[position + 1]) & low, 2
    if first < np.uint32(0xF0) and position + 2 < stop:
        code = (first & np.uint32(15)) << np.uint32(12) | (np.uint32(data[position + 1]) & low) << np.uint32(6)
        return code | np.uint32(data[position + 2]) & low, 3
    if position + 3 < stop:
        code = (first & np.uint32(7)) << np.uint32(18) | (np.uint32(data[position + 1]) & low) << np.uint32(12)
        code |= (np.uint32(data[position + 2]) & low) << np.uint32(6) | np.uint32(data[position + 3]) & low
        return min(code, np.uint32(0x10FFFF)), 4
    return np.uint32(0xFFFD), 1


@njit(cache=True, nogil=True)
def _read_block(data, stop, plain, folding, steps, state, words):
    """Hash words into ``words[LONGEST:]`` until they are full or the text ends; where they end there.

    A word of one letter is left out.  ``state[_DOUBT]`` says that the table cannot decide a character.
    """
    factors, terms = steps
    position, word, inside = np.int64(state[_POSITION]), state[_HASH], state[_INSIDE]
    count = np.uint64(LONGEST)
    room = np.uint64(words.size - _ROOM)
    while position < stop and count < room:
        byte = data[position]
        if byte < 128:
            # No branch: where a word ends is hard to predict.  The hash is always written and counts when a
            # word ends here that is no single letter.
            factor = factors[byte]
            words[count] = word
            count += inside & ~factor & np.uint64(word - _SINGLE >= _LETTERS)
            word = word * factor + terms[byte]
            inside = factor & _ONE
            position += 1
            continue
        code, length = _decode(data, position, stop)
        position += length
        entry = folding.entries[code]
        first, size = 0, 1
        if not plain:
            if entry & _UNSURE:
                state[_DOUBT] = _ONE
                return count
            if entry & _MAPPED:
                first = folding.starts[code] + 2
                size = np.int64(folding.folded[first - 2])
        for place in range(first, first + size):
            letter = folding.folded[place] if first else code
            kind = folding.entries[letter] & _PLAIN
            if kind == WORD:
                word, inside = word * _W + np.uint64(letter), _ONE
                continue
            words[count] = word
            count += inside & np.uint64(word - _SINGLE >= _LETTERS)
            word, inside = _SEED, _ZERO
            if kind == SOLO:
                words[count] = _SEED * _W + np.uint64(letter)
                count += _ONE
    if position >= stop and inside:
        words[count] = word
        count += np.uint64(word - _SINGLE >= _LETTERS)
        word, inside = _SEED, _ZERO
    state[_POSITION], state[_HASH], state[_INSIDE] = position, word, inside
    return count


@njit(cache=True, nogil=True)
def _has_anchor(words, count, index, powers, totals):
    """Whether an anchor ends in this block.  Words before the text's first count as 0, which starts no anchor."""
    mask = np.uint64(index.keys.size - 1)
    for number in range(index.widths.size):
        width, power, total = index.widths[number], powers[number], totals[number]
        extra = np.uint64(width) * _N
        for place in range(LONGEST, count):
            total = total * _S + words[place] - words[place - width] * power
            key = mix64(total + extra)
            bit = key >> index.shift
            if index.bitmap[np.int64(bit >> np.uint64(6))] >> (bit & np.uint64(63)) & _ONE:
                slot = key & mask
                while index.grams[slot]:
                    if index.keys[slot] == key:
                        return True
                    slot = (slot + _ONE) & mask
        totals[number] = total
    return False


@njit(cache=True, nogil=True)
def find_rows(data, offsets, plain, folding, index, status):
    """Whether each text has an anchor of the index.

    Args:
        data, offsets: UTF-8 bytes and ``int64[n + 1]``.
        plain: the texts are in folded NFKC already.
        folding: :class:`curation.duplicates.folding.Folding`.
        index: :class:`curation.decontamination.index.Table`.
        status: ``int8[n]``, filled here.
    """
    words, state, steps = (
        np.empty(LONGEST + BLOCK + _ROOM, np.uint64),
        np.zeros(4, np.uint64),
        _ascii_steps(folding.ascii),
    )
    totals, powers = np.zeros(index.widths.size, np.uint64), np.empty(index.widths.size, np.uint64)
    for number in range(powers.size):
        powers[number] = _power(index.widths[number])
    for row in range(offsets.size - 1):
        state[_POSITION], state[_HASH], state[_INSIDE], state[_DOUBT] = offsets[row], _SEED, _ZERO, _ZERO
        for place in range(LONGEST):
            words[place] = _ZERO
        for number in range(totals.size):
            totals[number] = _ZERO
        stop, status[row] = offsets[row + 1], CLEAN
        while state[_POSITION] < np.uint64(stop):
            count = np.int64(_read_block(data, stop, plain, folding, steps, state, words))
            if state[_DOUBT]:
                status[row] = DOUBTFUL
                break
            for place in range(LONGEST, count):
                words[place] = mix64(words[place])
            if _has_anchor(words, count, index, powers, totals):
                status[row] = FOUND
                break
            for place in range(LONGEST):
                words[place] = words[count - LONGEST + place]
