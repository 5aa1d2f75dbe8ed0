"""Decontamination as its documentation defines it, with sets of tuples and one character at a time."""

from __future__ import annotations

import unicodedata
from collections import Counter
from fractions import Fraction
from functools import cache

import regex

from curation.decontamination.index import Cut
from curation.decontamination.search import Finding
from curation.duplicates.folding import UNSPACED

_ALONE = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in UNSPACED) + "]")
Word = tuple[str, int, int, bool]
Items = dict[tuple[str, int], list[str]]


@cache
def _seconds() -> frozenset[str]:
    """Characters that some canonical composition has in second place."""
    found = set()
    for character in map(chr, range(0x110000)):
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and parts[0][0] != "<":
            first, second = (chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", first + second) == character:
                found.add(second)
    return frozenset(found)


def attaches(character: str) -> bool:
    """Whether a character may be reordered before, or compose with, the one before it."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.combining(first) > 0 or first in _seconds() or 0x1160 <= ord(first) <= 0x11FF


def words(text: str) -> list[Word]:
    """Words with start, end, and whether each is a character of a script without spaces."""
    groups: list[list[int]] = []
    for place, character in enumerate(text):
        if groups and attaches(character):
            groups[-1][1] = place + 1
        else:
            groups.append([place, place + 1])
    found: list[Word] = []
    run, first, last = "", 0, 0
    for start, end in [*groups, [len(text), len(text)]]:
        for character in unicodedata.normalize("NFKC", text[start:end]).casefold() or " ":
            category = unicodedata.category(character)
            alone = category[0] in "LMN" and _ALONE.match(character) is not None
            if not alone and (category[0] in "LM" or category == "Nd"):
                first, last, run = (start if not run else first), end, run + character
                continue
            if run:
                found.append((run, first, last, False))
            run = ""
            if alone:
                found.append((character, start, end, True))
    return [word for word in found if word[0] not in set("abcdefghijklmnopqrstuvwxyz")]


def _grams(found: list[Word], size: int) -> list[tuple[str, ...]]:
    plain = [word[0] for word in found]
    return [tuple(plain[start : start + size]) for start in range(len(plain) - size + 1)]


class Twin:
    """Finds what :func:`curation.decontamination.search` finds."""

    def __init__(self, items: Items, cut: Cut) -> None:
        texts: list[tuple[tuple[str, int], set[tuple[str, ...]]]] = []
        for item, its_texts in sorted(items.items()):
            for text in its_texts:
                found = words(text)
                if len(found) >= cut.min_words:
                    unspaced = sum(word[3] for word in found) * 2 > len(found)
                    size = cut.unspaced_ngram if unspaced else cut.ngram
                    texts.append((item, set(_grams(found, min(size, len(found))))))
        owners = Counter(gram for item, gram in {(item, gram) for item, grams in texts for gram in grams})
        self.texts = [(item, {gram for gram in grams if owners[gram] <= cut.max_items}) for item, grams in texts]

    def find(self, text: str, min_ngrams: int) -> Finding:
        """What is found in a text."""
        found = words(text)
        there = {gram for size in {len(g) for _, gs in self.texts for g in gs} for gram in _grams(found, size)}
        best, witness = Fraction(0), None
        for item, grams in self.texts:
            common = len(grams & there)
            if common and common >= min(min_ngrams, len(grams)) and Fraction(common, len(grams)) > best:
                best, witness = Fraction(common, len(grams)), item
        every = {gram for _, grams in self.texts for gram in grams}
        ngrams = len({start for start, _ in self._places(found, every)})
        if witness is None:
            return Finding(ngrams=ngrams)
        own = {gram for item, grams in self.texts if item == witness for gram in grams}
        places = self._places(found, own)
        stretches: list[list[int]] = []
        for start in sorted({start for start, _ in places}):
            end = max(end for begin, end in places if begin == start)
            if stretches and start == stretches[-1][2] + 1:
                stretches[-1] = [stretches[-1][0], max(stretches[-1][1], end), start]
            else:
                stretches.append([start, end, start])
        first, end, _ = max(stretches, key=lambda stretch: (stretch[1] - stretch[0], -stretch[0]))
        return Finding(float(best), ngrams, f"{witness[0]}:{witness[1]}", found[first][1], found[end - 1][2])

    @staticmethod
    def _places(found: list[Word], grams: set[tuple[str, ...]]) -> set[tuple[int, int]]:
        return {
            (start, start + size)
            for size in {len(gram) for gram in grams}
            for start, gram in enumerate(_grams(found, size))
            if gram in grams
        }
