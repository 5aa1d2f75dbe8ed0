"""Words as rules count them: English tokens, and one word for each character of a script without spaces.

English text (language ``en``) becomes the tokens of spaCy 3.8's rule-based English tokenizer.  Text in any other
language goes through the same rules, but every character of a script without spaces is a word of its own.  How a
chunk between blanks is cut is in ``chunks``; this file walks a text and joins words that together spell a
special case.  Everything is linear in the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from curation.batch import Batch, text_buffers
from curation.text import charclass
from curation.text.chunks import IS_UNIT, LONGEST_CASE, cut_chunk, cut_mixed_chunk
from curation.text.hashing import BASE, contains, extended, find, fold, hash_codes, key_table
from curation.text.special_cases import special_cases
from curation.text.utf8 import decode_at, read_only

# What is known of a word, as bits of ``Words.marks``.
HAS_LETTER = 1
NOT_SYMBOLIC = 2  # holds a character that is not in datatrove's punctuation set
ALL_PUNCTUATION = 4
ENDS_SENTENCE = 8
IDEOGRAM = 16  # a single character of Han, Kana or Bopomofo, in text that is not English
SYLLABLE = 32  # a single letter of Thai, Lao, Khmer or Myanmar, in text that is not English
_BLANK = 64  # white space other than one blank between words; only inside the kernels
_AFTER_BLANK = 128  # one blank in front; only inside the kernels

_SPACE, _LETTER, _SYMBOL, _SENTENCE = charclass.SPACE, charclass.LETTER, charclass.SYMBOL, charclass.SENTENCE
_PUNCTUATION, _AFFIX, _SUFFIX, _WIDE = (
    charclass.PUNCTUATION,
    charclass.AFFIX,
    charclass.SUFFIX,
    charclass.WIDE,
)
_BEFORE_STOP = charclass.BEFORE_STOP
_IDEOGRAM, _SYLLABLE, _UNSPACED = charclass.IDEOGRAM, charclass.SYLLABLE, charclass.UNSPACED

# Units of measurement that split off behind a digit, as spaCy has them.
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa "
    "Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с "
    "км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ كم غرام جرام جم "
    "كغ ملغ كوب اكواب"
)


class Lexicon(NamedTuple):
    """Tables of the splitter; those of keys are open-addressed, a key of 0 is an empty slot.

    Attributes:
        flags: classes of every code point.
        keys: hashes of special cases and units of measurement.
        values: by slot of ``keys``: lengths of the words of a special case, four bits each, and ``IS_UNIT``.
        patterns: folded hashes of the words that the general rules make of a special case.
        pattern_cases: by slot of ``patterns``: the number of the special case.
        pattern_starts: hashes of the first words of the patterns.
        part_offsets: the words of special case ``i`` are ``part_offsets[i]`` to ``part_offsets[i + 1]``.
        part_hashes, part_lengths, part_marks: these words.
        longest_pattern: how many words the longest pattern has.
    """

    flags: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    patterns: np.ndarray
    pattern_cases: np.ndarray
    pattern_starts: np.ndarray
    part_offsets: np.ndarray
    part_hashes: np.ndarray
    part_lengths: np.ndarray
    part_marks: np.ndarray
    longest_pattern: int


@dataclass(frozen=True)
class Words:
    """The words of a batch.

    Attributes:
        offsets: ``int64[n + 1]``; the words of document ``i`` are ``offsets[i]`` to ``offsets[i + 1]``.
        hashes: ``uint64``, polynomial hash of each word's code points; see ``hashing``.
        lengths: ``int32``, code points of each word.
        marks: ``uint8``, bits of this module.
    """

    offsets: np.ndarray
    hashes: np.ndarray
    lengths: np.ndarray
    marks: np.ndarray


@njit(cache=True, nogil=True, inline="always")
def _marks(every: Any, some: Any, size: Any) -> Any:
    """Marks of a word from the classes that every and some of its characters have."""
    mark = HAS_LETTER if some & _LETTER else 0
    if not every & _SYMBOL:
        mark |= NOT_SYMBOLIC
    if every & _PUNCTUATION:
        mark |= ALL_PUNCTUATION
    if size == 1 and every & _SENTENCE:
        mark |= ENDS_SENTENCE
    return mark


@njit(cache=True, nogil=True)
def _emit_chunk(
    data: Any,
    start: Any,
    size: Any,
    mixed: Any,
    flags: Any,
    keys: Any,
    values: Any,
    codes: Any,
    borders: Any,
    hashes: Any,
    lengths: Any,
    marks: Any,
    n: Any,
) -> Any:
    """Append the words of the chunk of ``size`` code points at byte ``start``; the new number of words."""
    i = start
    for k in range(size):
        codes[k], width = decode_at(data, i)
        borders[k] = 0
        i += width
    if mixed:
        cut_mixed_chunk(codes, size, flags, keys, values, borders)
    else:
        cut_chunk(codes, 0, size, flags, keys, values, borders)
    length, h, every, some = 0, np.uint64(0), np.uint32(0xFFFFFFFF), np.uint32(0)
    for k in range(size):
        own = flags[codes[k]]
        h = extended(h, codes[k])
        every &= own
        some |= own
        length += 1
        if borders[k + 1]:
            mark = _marks(every, some, length)
            if mixed:
                first = flags[codes[k + 1 - length]]
                mark |= (IDEOGRAM if first & _IDEOGRAM else 0) | (SYLLABLE if first & _SYLLABLE else 0)
            hashes[n], lengths[n], marks[n] = h, length, mark
            n += 1
            length, h, every, some = 0, np.uint64(0), np.uint32(0xFFFFFFFF), np.uint32(0)
    return n


@njit(cache=True, nogil=True)
def tokenise(
    data: Any,
    start: Any,
    stop: Any,
    unspaced: Any,
    lexicon: Any,
    codes: Any,
    borders: Any,
    hashes: Any,
    lengths: Any,
    marks: Any,
) -> Any:
    """Words of the UTF-8 text ``data[start:stop]``, with runs of white space as words marked ``_BLANK``.

    Args:
        unspaced: whether characters of scripts without spaces are words of their own.
        codes, borders: working space of ``stop - start + 1`` items.
        hashes, lengths, marks: room for the result, ``stop - start`` items.

    Returns:
        How many words there are.
    """
    flags, keys, values = lexicon.flags, lexicon.keys, lexicon.values
    n, i = 0, start
    after_blank = False
    while i < stop:
        first = i
        size, h, every, some, last = 0, np.uint64(0), np.uint32(0xFFFFFFFF), np.uint32(0), np.uint32(0)
        rest_h, rest_every, rest_some, before = h, every, some, last
        while i < stop:
            c, width = decode_at(data, i)
            own = flags[c]
            if own & _SPACE:
                break
            rest_h, rest_every, rest_some, before, last = h, every, some, last, own
            h = extended(h, c)
            every &= own
            some |= own
            size += 1
            i += width
        if size > 0:
            m = n
            mixed = unspaced and some & (_UNSPACED | _WIDE) != 0
            # The common case of a word and one mark behind it, without the trouble of looking for affixes.
            plain = size > 1 and not mixed and not rest_some & _AFFIX
            plain = plain and (last & _SUFFIX != 0 or (data[i - 1] == 0x2E and before & _BEFORE_STOP != 0))
            if plain and not (size <= LONGEST_CASE + 1 and (contains(keys, h) or contains(keys, rest_h))):
                hashes[n], lengths[n], marks[n] = rest_h, size - 1, _marks(rest_every, rest_some, size - 1)
                hashes[n + 1], lengths[n + 1] = h - rest_h * BASE, 1
                marks[n + 1] = _marks(last, last, 1)
                n += 2
            elif mixed or some & _AFFIX or (size <= LONGEST_CASE and contains(keys, h)):
                n = _emit_chunk(
                    data, first, size, mixed, flags, keys, values, codes, borders, hashes, lengths, marks, n
                )
            else:
                hashes[n], lengths[n], marks[n] = h, size, _marks(every, some, size)
                n += 1
            if after_blank:
                marks[m] |= _AFTER_BLANK
        first, run = i, 0
        while i < stop:
            c, width = decode_at(data, i)
            if not flags[c] & _SPACE:
                break
            run += 1
            i += width
        # A blank that follows a word belongs to neither side; what is left of the run is a word of its own.
        single = run > 0 and first > start and data[first] == 0x20
        after_blank = single and run == 1
        if run > (1 if single else 0):
            hashes[n], lengths[n], marks[n] = np.uint64(1), run, _BLANK
            n += 1
    return _join(hashes, lengths, marks, n, lexicon)


@njit(cache=True, nogil=True)
def _join(hashes: Any, lengths: Any, marks: Any, n: Any, lexicon: Any) -> Any:
    """Replace neighbouring words that together spell a special case by the words of that case, in place."""
    starts, patterns, longest = lexicon.pattern_starts, lexicon.patterns, lexicon.longest_pattern
    found = 0
    for i in range(n - 1):
        if not marks[i + 1] & _BLANK and contains(starts, hashes[i]):
            found += 1
    if found == 0:
        return n
    firsts, sizes = np.empty(found * longest, np.int64), np.empty(found * longest, np.int64)
    cases = np.empty(found * longest, np.int64)
    found = 0
    for i in range(n - 1):
        if marks[i + 1] & _BLANK or not contains(starts, hashes[i]):
            continue
        key = fold(np.uint64(0), hashes[i])
        for j in range(i + 1, min(n, i + longest)):
            if marks[j] & _BLANK:
                break
            key = fold(key, hashes[j])
            slot = find(patterns, key)
            if slot >= 0:
                firsts[found], sizes[found], cases[found] = i, j + 1 - i, lexicon.pattern_cases[slot]
                found += 1
    if found == 0:
        return n
    return _replace(hashes, lengths, marks, n, lexicon, firsts[:found], sizes[:found], cases[:found])


@njit(cache=True, nogil=True)
def _replace(hashes: Any, lengths: Any, marks: Any, n: Any, lexicon: Any, firsts: Any, sizes: Any, cases: Any) -> Any:
    """Carry out what ``_join`` found.

    Where candidates overlap the longest wins, then the leftmost; one with a blank inside changes nothing but
    still stands in the way of others, as in spaCy.
    """
    taken, chosen = np.zeros(n, np.bool_), np.full(n, -1, np.int64)
    for size in range(lexicon.longest_pattern, 1, -1):
        for k in range(firsts.size):
            if sizes[k] == size:
                first, last = firsts[k], firsts[k] + size - 1
                if not taken[first] and not taken[last]:
                    chosen[first] = k
                taken[first : last + 1] = True
    room = n + firsts.size
    new_hashes, new_lengths = np.empty(room, np.uint64), np.empty(room, np.int32)
    new_marks = np.empty(room, np.uint8)
    m, i = 0, 0
    while i < n:
        k = chosen[i]
        blank_inside = False
        if k >= 0:
            for j in range(i + 1, i + sizes[k]):
                blank_inside |= marks[j] & _AFTER_BLANK != 0
        if k >= 0 and not blank_inside:
            for part in range(lexicon.part_offsets[cases[k]], lexicon.part_offsets[cases[k] + 1]):
                new_hashes[m], new_lengths[m] = lexicon.part_hashes[part], lexicon.part_lengths[part]
                new_marks[m] = lexicon.part_marks[part]
                m += 1
            i += sizes[k]
        else:
            new_hashes[m], new_lengths[m], new_marks[m] = hashes[i], lengths[i], marks[i]
            m += 1
            i += 1
    hashes[:m], lengths[:m], marks[:m] = new_hashes[:m], new_lengths[:m], new_marks[:m]
    return m


@njit(cache=True, nogil=True)
def _longest(starts: Any, stops: Any) -> Any:
    longest = 0
    for i in range(starts.size):
        longest = max(longest, stops[i] - starts[i])
    return longest


@njit(cache=True, nogil=True)
def _larger(array: Any, size: Any) -> Any:
    """A copy with room for at least ``size`` items."""
    larger = np.empty(max(size, 2 * array.size), array.dtype)
    larger[: array.size] = array
    return larger


@njit(cache=True, nogil=True)
def _split_words(data: Any, starts: Any, stops: Any, unspaced: Any, lexicon: Any) -> Any:
    offsets = np.zeros(starts.size + 1, np.int64)
    room = _longest(starts, stops)
    codes, borders = np.empty(room + 1, np.uint32), np.empty(room + 1, np.uint8)
    own_hashes, own_lengths, own_marks = (
        np.empty(room, np.uint64),
        np.empty(room, np.int32),
        np.empty(room, np.uint8),
    )
    room = 64 + (stops[-1] - starts[0]) // 4 if starts.size else 0
    hashes, lengths, marks = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.uint8)
    n = 0
    for i in range(starts.size):
        found = tokenise(
            data,
            starts[i],
            stops[i],
            unspaced[i],
            lexicon,
            codes,
            borders,
            own_hashes,
            own_lengths,
            own_marks,
        )
        if n + found > hashes.size:
            hashes, lengths, marks = (
                _larger(hashes, n + found),
                _larger(lengths, n + found),
                _larger(marks, n + found),
            )
        for j in range(found):
            if not own_marks[j] & _BLANK:
                hashes[n], lengths[n], marks[n] = own_hashes[j], own_lengths[j], own_marks[j]
                n += 1
        offsets[i + 1] = n
    return offsets, hashes[:n].copy(), lengths[:n].copy(), marks[:n].copy()


@njit(cache=True, nogil=True)
def _count_sentences(data: Any, starts: Any, stops: Any, unspaced: Any, lexicon: Any) -> Any:
    counts = np.ones(starts.size, np.int32)
    room = _longest(starts, stops)
    codes, borders = np.empty(room + 1, np.uint32), np.empty(room + 1, np.uint8)
    hashes, lengths, marks = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.uint8)
    flags = lexicon.flags
    for row in range(starts.size):
        i, ended = starts[row], False
        while i < stops[row]:
            first = i
            blank = i > starts[row] and data[i] == 0x20
            every, some, run = np.uint32(0xFFFFFFFF), np.uint32(0), 0
            space = flags[decode_at(data, i)[0]] & _SPACE
            while i < stops[row]:
                c, width = decode_at(data, i)
                own = flags[c]
                if own & _SPACE != space:
                    break
                every &= own
                some |= own
                run += 1
                i += width
            if some & _SENTENCE:
                n = tokenise(data, first, i, unspaced[row], lexicon, codes, borders, hashes, lengths, marks)
                for j in range(n):
                    if ended and not marks[j] & (ALL_PUNCTUATION | ENDS_SENTENCE):
                        counts[row] += 1
                        ended = False
                    elif marks[j] & ENDS_SENTENCE:
                        ended = True
            elif ended and not every & _PUNCTUATION and not (space and blank and run == 1):
                # Some word of the chunk is more than punctuation, or white space is a word of its own.
                counts[row] += 1
                ended = False
    return counts


def _hash(text: str) -> int:
    return int(hash_codes(np.frombuffer(text.encode("utf-32-le"), np.uint32), 0, len(text)))


def _marks_of(text: str) -> int:
    flags = charclass.character_flags()[[ord(character) for character in text]]
    return int(_marks(np.bitwise_and.reduce(flags), np.bitwise_or.reduce(flags), len(text)))


def _keys() -> tuple[np.ndarray, np.ndarray]:
    """Table of special cases and units, and the value in each slot."""
    values: dict[int, int] = {}
    for case, parts in special_cases().items():
        values[_hash(case)] = sum(len(part) << (4 * place) for place, part in enumerate(parts))
    for unit in _UNITS.split():
        values[_hash(unit)] = values.get(_hash(unit), 0) | IS_UNIT
    table, numbers = key_table(list(values))
    return table, np.array(list(values.values()), np.int32)[numbers]


@cache
def lexicon() -> Lexicon:
    """The tables of the splitter; built once in a process."""
    cases = special_cases()
    flags, none = charclass.character_flags(), np.zeros(1, np.uint64)
    parts = [part for words_of_case in cases.values() for part in words_of_case]
    units = key_table([_hash(unit) for unit in _UNITS.split()])[0]
    complete = Lexicon(
        flags=flags,
        keys=_keys()[0],
        values=_keys()[1],
        patterns=none,
        pattern_cases=np.zeros(1, np.int32),
        pattern_starts=none,
        part_offsets=np.cumsum([0, *(len(words_of_case) for words_of_case in cases.values())], dtype=np.int32),
        part_hashes=np.array([_hash(part) for part in parts], np.uint64),
        part_lengths=np.array([len(part) for part in parts], np.int32),
        part_marks=np.array([_marks_of(part) for part in parts], np.uint8),
        longest_pattern=1,
    )
    # What the general rules make of each special case: where several words, a pattern to be joined again.
    general = complete._replace(keys=units, values=np.full(units.size, IS_UNIT, np.int32))
    split = split_texts(list(cases), [False] * len(cases), general)
    patterns, pattern_cases, pattern_starts = [], [], []
    for number in range(len(cases)):
        hashes = split.hashes[split.offsets[number] : split.offsets[number + 1]]
        if len(hashes) > 1:
            key = np.uint64(0)
            for item in hashes:
                key = np.uint64(fold(key, item))
            patterns.append(int(key))
            pattern_cases.append(number)
            pattern_starts.append(int(hashes[0]))
    table, numbers = key_table(patterns)
    return complete._replace(
        patterns=table,
        pattern_cases=np.array(pattern_cases, np.int32)[numbers],
        pattern_starts=key_table(pattern_starts)[0],
        longest_pattern=int(np.diff(split.offsets).max()),
    )


def split_texts(texts: list[str], unspaced: list[bool], tables: Lexicon | None = None) -> Words:
    """The words of some texts that are not in a batch; see ``words``."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets.setflags(write=False)
    return Words(*_split_words(data, offsets[:-1], offsets[1:], np.array(unspaced, bool), tables or lexicon()))


def words_are_characters(languages: list[str]) -> np.ndarray:
    """``bool[n]``: in whose text characters of scripts without spaces are words of their own; all but English."""
    return np.array([code != "en" for code in languages], bool)


def words(batch: Batch) -> Words:
    """The words of a batch; ask for it with ``batch.feature(words)``."""
    data, offsets = read_only(*text_buffers(batch.text))
    return Words(*_split_words(data, offsets[:-1], offsets[1:], words_are_characters(batch.languages()), lexicon()))


def count_sentences(data: np.ndarray, starts: np.ndarray, stops: np.ndarray, unspaced: np.ndarray) -> np.ndarray:
    """Sentences of each text ``data[starts[i]:stops[i]]``, at least one.

    A sentence ends with a word that is a sentence terminal, and with the punctuation that follows it.

    Args:
        data: UTF-8 bytes.
        unspaced: whether characters of scripts without spaces are words of their own, by text.

    Returns:
        ``int32[n]``.
    """
    data, starts, stops = read_only(data, starts, stops)
    counts: np.ndarray = _count_sentences(data, starts, stops, unspaced, lexicon())
    return counts
