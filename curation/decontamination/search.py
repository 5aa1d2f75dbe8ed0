"""Which benchmark item a text contains, how much of it, and where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.decontamination.index import Index
from curation.decontamination.kernel import CLEAN, DOUBTFUL, find_rows, match
from curation.decontamination.words import pieces_of
from curation.duplicates.folding import tables
from curation.duplicates.shingles import folded_texts, text_arrays


@dataclass(frozen=True)
class Finding:
    """What of the benchmarks is in a text.

    Attributes:
        ratio: greatest share of the n-grams of one item's text that are there; 0 where no item counts.
        ngrams: places in the text where an n-gram of any item begins.
        item: ``name:number`` of that item, the first by name and number among equals; None where none counts.
        start, end: its longest stretch in which an n-gram begins at every word, the first among equals, in code
            points; 0 without item.
    """

    ratio: float = 0.0
    ngrams: int = 0
    item: str | None = None
    start: int = 0
    end: int = 0


def search(text: pa.Array, index: Index, min_ngrams: int) -> dict[int, Finding]:
    """What is found in a column of texts, by row; rows without any n-gram of the index are left out.

    Args:
        min_ngrams: an item counts if so many of the n-grams of one of its texts are there, or all that this text has.
    """
    found = {}
    for row in _suspects(text, index).tolist():
        finding = search_text(text[row].as_py() or "", index, min_ngrams)
        if finding.ngrams:
            found[row] = finding
    return found


def _suspects(text: pa.Array, index: Index) -> np.ndarray:
    """Rows that may have an n-gram of the index; no other has."""
    status = _status(text, index, plain=False)
    doubtful = np.flatnonzero(status == DOUBTFUL)
    if doubtful.size:
        status[doubtful] = _status(folded_texts(text, doubtful), index, plain=True)
    return np.flatnonzero(status != CLEAN)


def _status(text: pa.Array, index: Index, plain: bool) -> np.ndarray:
    status = np.zeros(len(text), np.int8)
    find_rows(*text_arrays(text), plain, tables(), index.table, status)
    return status


def search_text(text: str, index: Index, min_ngrams: int) -> Finding:
    """What is found in one text, word by word."""
    numbers, word_starts, word_ends = _numbered(text, index)
    places, grams = _matches(numbers, index)
    if not places.size:
        return Finding()
    ngrams = np.unique(places).size
    different, which = np.unique(grams, return_inverse=True)
    owners = [index.texts[index.offsets[gram] : index.offsets[gram + 1]] for gram in different]
    candidates, there = np.unique(np.concatenate(owners), return_counts=True)
    whole = index.text_grams[candidates]
    ratios = np.where(there >= np.minimum(min_ngrams, whole), there / whole, 0.0)
    best = int(ratios.argmax())
    if not ratios[best]:
        return Finding(ngrams=ngrams)
    item = int(index.text_item[candidates[best]])
    own = np.array([(index.text_item[texts] == item).any() for texts in owners])[which]
    first, last = _longest(places[own], places[own] + index.table.sizes[grams[own]])
    name, number = index.items[item]
    return Finding(float(ratios[best]), ngrams, f"{name}:{number}", int(word_starts[first]), int(word_ends[last - 1]))


def _numbered(text: str, index: Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, start and end of each word; -1 is the number of a word that no benchmark has."""
    number = index.vocabulary.get
    pieces = [
        (np.array([number(word, -1) for word in words.words], np.int32), words.starts, words.ends)
        for words in pieces_of(text)
    ]
    if not pieces:
        return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    numbers, starts, ends = (np.concatenate(part) for part in zip(*pieces, strict=True))
    return numbers, starts, ends


def _matches(numbers: np.ndarray, index: Index) -> tuple[np.ndarray, np.ndarray]:
    """Every n-gram of the index in a text: the word where it begins, and its number."""
    hashes = index.hashes[numbers]
    room = 64
    while True:
        places, grams = np.empty(room, np.int64), np.empty(room, np.int64)
        count = match(numbers, hashes, index.table, places, grams)
        if count <= room:
            return places[:count], grams[:count]
        room = count


def _longest(starts: np.ndarray, stops: np.ndarray) -> tuple[int, int]:
    """The longest stretch covered by intervals that start one after the other, the first among equals."""
    order = np.lexsort((stops, starts))
    starts, stops = starts[order], np.maximum.accumulate(stops[order])
    begins = np.flatnonzero(np.concatenate([[True], np.diff(starts) > 1]))
    firsts, lasts = starts[begins], stops[np.append(begins[1:], starts.size) - 1]
    longest = int((lasts - firsts).argmax())
    return int(firsts[longest]), int(lasts[longest])
