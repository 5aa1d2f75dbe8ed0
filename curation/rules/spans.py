"""Where in a text the rules on form find what they object to.

For people who look at one document: the same definitions as the measures, written plainly and without kernels, so that
each span can be checked against the measure.  Rules that speak of a text as a whole (few words, no stop words) have no
spans.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from curation.stage import DEFAULT
from curation.text.charclass import CLOSING, TERMINAL, character_flags
from curation.text.ngrams import CHARACTERS_PER_WORD, REPEATED_ORDERS, TOP_ORDERS, script_class
from curation.text.words import HAS_LETTER, split_texts

Span = tuple[int, int]
SHORT_LINE = 30  # characters, where nobody says what else

_ELLIPSIS = re.compile(r"\.{3}|…")
_BULLET = re.compile(r"\s*[-•]")
_ELLIPSIS_END = re.compile(r"(?:\.{3}|…)\s*\Z")
_LOREM_IPSUM = re.compile("lorem ipsum", re.IGNORECASE)
_TOP = re.compile(r"top-(\d+)gram-chars")
_REPEATED = re.compile(r"duplicate-(\d+)gram-chars")


class Text(NamedTuple):
    """What rules look at.

    Attributes:
        text: of the document.
        language: its code, ``und`` where none is known.
        parameters: of the stage, as the recipe gives them.
    """

    text: str
    language: str
    parameters: Mapping[str, Any]


def form_spans(rule: str, text: Text) -> list[Span] | None:
    """What a rule of ``gopher-repetition``, ``gopher-quality``, ``fineweb`` or ``c4`` objects to, in code points.

    Returns:
        Stretches in order; those of the most frequent n-gram may overlap.  None for a rule about the whole text.
    """
    if found := _TOP.fullmatch(rule):
        return list(_top_ngram(text, int(found[1])))
    if found := _REPEATED.fullmatch(rule):
        return list(_repeated_ngrams(text, int(found[1])))
    finder = _FINDERS.get(rule)
    return None if finder is None else list(finder(text))


class Places(NamedTuple):
    """The words of a text: first and last code point of each (the last one exclusive), and their marks."""

    starts: np.ndarray
    stops: np.ndarray
    marks: np.ndarray


def word_places(text: str, language: str) -> Places:
    """Where the words of a text are, as rules count them: they tile all that is no white space."""
    found = split_texts([text], [language != "en"])
    filled = np.array([place for place, character in enumerate(text) if not character.isspace()], np.int64)
    ends = np.cumsum(found.lengths)
    if not ends.size:
        return Places(ends, ends, found.marks)
    return Places(filled[ends - found.lengths], filled[ends - 1] + 1, found.marks)


def _order(places: Places, n: int) -> int:
    """Words that an n-gram has in this text: more where they are single characters."""
    assert n in TOP_ORDERS + REPEATED_ORDERS
    return int(n * CHARACTERS_PER_WORD[script_class(places.marks, 0, len(places.marks))] + 0.5)


def _repeated_ngrams(text: Text, n: int) -> Iterator[Span]:
    places = word_places(text.text, text.language)
    order, words = _order(places, n), _words(text.text, places)
    seen: set[str] = set()
    at = 0
    while at + order <= len(words):
        key = "".join(words[at : at + order])
        if key in seen:
            yield int(places.starts[at]), int(places.stops[at + order - 1])
            at += order
        else:
            seen.add(key)
            at += 1


def _top_ngram(text: Text, n: int) -> Iterator[Span]:
    places = word_places(text.text, text.language)
    order, words = _order(places, n), _words(text.text, places)
    found: dict[tuple[str, ...], list[int]] = {}
    for at in range(len(words) - order + 1):
        found.setdefault(tuple(words[at : at + order]), []).append(at)
    for at in max(found.values(), key=len, default=[]):  # of equally frequent ones the first
        yield int(places.starts[at]), int(places.stops[at + order - 1])


def _words(text: str, places: Places) -> list[str]:
    return [text[start:stop] for start, stop in zip(places.starts.tolist(), places.stops.tolist(), strict=True)]


def _pieces(text: str, start: int, stop: int, least: int) -> Iterator[Span]:
    """What runs of at least so many newlines separate."""
    at = start
    for gap in re.compile(rf"\n{{{least},}}").finditer(text, start, stop):
        yield at, gap.start()
        at = gap.end()
    yield at, stop


def _seen_before(text: str, pieces: Iterator[Span]) -> Iterator[Span]:
    seen: set[str] = set()
    for start, stop in pieces:
        piece = text[start:stop]
        if piece in seen:
            yield start, stop
        seen.add(piece)


def _repeated_lines(text: Text) -> Iterator[Span]:
    return _seen_before(text.text, _pieces(text.text, 0, len(text.text), 1))


def _repeated_paragraphs(text: Text) -> Iterator[Span]:
    stop = len(text.text.rstrip())
    return _seen_before(text.text, _pieces(text.text, min(stop, _indent(text.text)), stop, 2))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _lines(text: str, keep: Callable[[str], bool], every: bool = False) -> Iterator[Span]:
    """Lines that are like this; with ``every``, those of ``str.splitlines``, else what newlines end, blank ones
    left out."""
    at = 0
    for line in text.splitlines(keepends=True) if every else text.split("\n"):
        bare = line.splitlines()[0] if every and line.splitlines() else line
        if keep(bare) and (every or bare.strip()):
            yield at, at + len(bare)
        at += len(line) + (not every)


def _bullet_lines(text: Text) -> Iterator[Span]:
    return _lines(text.text, lambda line: _BULLET.match(line) is not None, every=True)


def _ellipsis_lines(text: Text) -> Iterator[Span]:
    return _lines(text.text, lambda line: _ELLIPSIS_END.search(line) is not None, every=True)


def _unfinished_lines(text: Text) -> Iterator[Span]:
    flags, marks = character_flags(), TERMINAL | (0 if text.language == "en" else CLOSING)
    return _lines(text.text, lambda line: not flags[ord(line[-1:] or " ")] & marks)


def _short_lines(text: Text) -> Iterator[Span]:
    given = text.parameters.get("short_line_length", SHORT_LINE)
    limits = given if isinstance(given, Mapping) else {DEFAULT: given}
    limit = limits.get(text.language, limits.get(DEFAULT))
    return _lines(text.text, lambda line: limit is not None and len(line) <= limit)


def _repeated_prose_lines(text: Text) -> Iterator[Span]:
    return _seen_before(text.text, _lines(text.text, lambda line: True))


def _words_without_letters(text: Text) -> Iterator[Span]:
    places = word_places(text.text, text.language)
    bare = places.marks & HAS_LETTER == 0
    return iter(zip(places.starts[bare].tolist(), places.stops[bare].tolist(), strict=True))


def _matches(pattern: re.Pattern[str]) -> Callable[[Text], Iterator[Span]]:
    return lambda text: (found.span() for found in pattern.finditer(text.text))


_FINDERS: dict[str, Callable[[Text], Iterator[Span]]] = {
    "duplicate-lines": _repeated_lines,
    "duplicate-line-chars": _repeated_lines,
    "duplicate-paragraphs": _repeated_paragraphs,
    "duplicate-paragraph-chars": _repeated_paragraphs,
    "hashes": _matches(re.compile("#")),
    "ellipses": _matches(_ELLIPSIS),
    "bullet-lines": _bullet_lines,
    "ellipsis-lines": _ellipsis_lines,
    "few-alphabetic-words": _words_without_letters,
    "line-punctuation": _unfinished_lines,
    "short-lines": _short_lines,
    "line-duplicates": _repeated_prose_lines,
    "curly-bracket": _matches(re.compile(r"\{")),
    "lorem-ipsum": _matches(_LOREM_IPSUM),
}
