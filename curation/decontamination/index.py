"""All n-grams of some benchmarks, in tables that the kernels look them up in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from curation.decontamination.benchmark import Benchmark
from curation.decontamination.kernel import fill_table, hash_words, number_grams
from curation.decontamination.words import Words, words_of
from curation.duplicates.arrays import read_only, run_starts

_BITS = 32  # of the bitmap for each n-gram: one in thirty other words gets past it


@dataclass(frozen=True)
class Cut:
    """How items are cut into n-grams.

    Attributes:
        ngram: words of an n-gram.
        unspaced_ngram: the same for texts of which more than half the words are characters of scripts without
            spaces.
        min_words: a text of fewer words is not looked for.
        max_items: an n-gram of more items than this says nothing about any of them and is not looked for.
    """

    ngram: int
    unspaced_ngram: int
    min_words: int
    max_items: int

    def size_for(self, words: Words) -> int:
        """Words in the n-grams of a text: all of a short one's."""
        usual = self.unspaced_ngram if 2 * int(words.unspaced.sum()) > len(words.words) else self.ngram
        return min(usual, len(words.words))


class Table(NamedTuple):
    """The n-grams, as the compiled kernels take them.

    Attributes:
        widths: rising numbers of words of an anchor.
        words: numbers of the words of all texts, one after the other.
        starts, sizes: where in ``words`` each n-gram stands first, and its number of words.
        keys, grams: hash table from anchors to n-grams, which are counted from 1 here.
        bitmap, shift: what the table is asked for, beforehand.
    """

    widths: np.ndarray
    words: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray
    grams: np.ndarray
    bitmap: np.ndarray
    shift: np.uint64


@dataclass(frozen=True, eq=False)
class Index:
    """The n-grams of some benchmarks, and whose they are.

    Texts and items are in the order of the names of their benchmarks, and of the files.

    Attributes:
        vocabulary: number of each word.
        hashes: ``uint64[words + 1]``; the last is for a word that no benchmark has.
        table: of the n-grams that are looked for.
        offsets, texts: the texts that have n-gram ``g`` are ``texts[offsets[g]:offsets[g + 1]]``.
        text_grams: ``int64[texts]``, different n-grams of each text.
        text_item: ``int64[texts]``, its item.
        items: name and number of each item.
        ignored: n-grams that too many items have.
        silent: items without any n-gram that is looked for.
    """

    vocabulary: dict[str, int]
    hashes: np.ndarray
    table: Table
    offsets: np.ndarray
    texts: np.ndarray
    text_grams: np.ndarray
    text_item: np.ndarray
    items: list[tuple[str, int]]
    ignored: int
    silent: list[tuple[str, int]]


@dataclass
class _Texts:
    """The texts of all items that have words enough, as numbers of words."""

    vocabulary: dict[str, int] = field(default_factory=dict)
    words: list[list[int]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    items: list[tuple[str, int]] = field(default_factory=list)

    def add(self, name: str, benchmark: Benchmark, cut: Cut) -> None:
        """Add a benchmark."""
        for number, texts in enumerate(benchmark.items):
            for text in texts:
                found = words_of(text)
                if len(found.words) >= cut.min_words:
                    numbered = [self.vocabulary.setdefault(word, len(self.vocabulary)) for word in found.words]
                    self.words.append(numbered)
                    self.sizes.append(cut.size_for(found))
                    self.item.append(len(self.items))
            self.items.append((name, number))


@lru_cache(maxsize=2)
def index_of(benchmarks: tuple[tuple[str, Benchmark], ...], cut: Cut) -> Index:
    """The index of some named benchmarks; made once in a process while they and ``cut`` are the same."""
    texts = _Texts()
    for name, benchmark in sorted(benchmarks, key=lambda named: named[0]):
        texts.add(name, benchmark, cut)
    hashes = vocabulary_hashes(list(texts.vocabulary))
    words = np.array([word for numbered in texts.words for word in numbered], np.int32)
    counts = np.array([len(numbered) for numbered in texts.words], np.int64)
    sizes, item = np.array(texts.sizes, np.int64), np.array(texts.item, np.int64)

    # One row for each n-gram of each text.
    per_text = counts - sizes + 1
    text = np.repeat(np.arange(counts.size), per_text)
    within = np.arange(text.size) - np.repeat(np.cumsum(per_text) - per_text, per_text)
    starts, sizes = (np.cumsum(counts) - counts)[text] + within, sizes[text]
    widths = np.unique([cut.ngram, cut.unspaced_ngram, min(cut.min_words, cut.ngram, cut.unspaced_ngram)])
    slots = np.zeros(_power_above(2 * text.size), np.int32)
    grams, first = number_grams(words, hashes[words], starts, sizes, widths, slots)

    wanted = np.bincount(_pairs(grams, item[text])[0], minlength=first.size) <= cut.max_items
    chosen, renumbered = wanted[grams], np.cumsum(wanted) - 1
    grams, owners = _pairs(renumbered[grams[chosen]], text[chosen])
    first = first[wanted]
    text_grams = np.bincount(owners, minlength=counts.size)
    heard = set(item[text_grams > 0].tolist())
    return Index(
        texts.vocabulary,
        np.append(hashes, np.uint64(0)),
        _table(words, hashes[words], starts[first], sizes[first], widths),
        np.concatenate([[0], np.cumsum(np.bincount(grams, minlength=first.size))]),
        owners,
        text_grams,
        item,
        texts.items,
        int((~wanted).sum()),
        [name for place, name in enumerate(texts.items) if place not in heard],
    )


def _pairs(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different pairs of numbers below 2^31, sorted."""
    both = np.sort(left.astype(np.int64) << 32 | right)
    both = both[run_starts(both)]
    return both >> 32, both & 0xFFFFFFFF


def _table(words: np.ndarray, hashes: np.ndarray, starts: np.ndarray, sizes: np.ndarray, widths: np.ndarray) -> Table:
    capacity = _power_above(2 * starts.size)
    keys, grams = np.zeros(capacity, np.uint64), np.zeros(capacity, np.int32)
    bits = _power_above(_BITS * starts.size)
    bitmap, shift = np.zeros(max(1, bits // 64), np.uint64), np.uint64(64 - (bits.bit_length() - 1))
    fill_table(hashes, starts, sizes, widths, keys, grams, bitmap, shift)
    return Table(
        read_only(widths, np.int64),
        read_only(words, np.int32),
        read_only(starts, np.int64),
        read_only(sizes, np.int64),
        read_only(keys, np.uint64),
        read_only(grams, np.int32),
        read_only(bitmap, np.uint64),
        shift,
    )


def vocabulary_hashes(words: Sequence[str]) -> np.ndarray:
    """Hash of each word, ``uint64[n]``."""
    offsets = np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(np.int64)
    hashes: np.ndarray = hash_words(np.frombuffer("".join(words).encode("utf-32-le"), np.uint32), offsets)
    return hashes


def _power_above(size: int) -> int:
    """The least power of two above ``size``, at least 64."""
    return 1 << max(6, size.bit_length())
