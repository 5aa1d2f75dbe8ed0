"""Spans are what the measures count: each is checked against the measure of the same text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rules import C4, FineWeb, GopherQuality, GopherRepetition
from curation.rules.fineweb import FineWebParameters
from curation.rules.gopher_quality import GopherQualityParameters
from curation.rules.gopher_repetition import GopherRepetitionParameters
from curation.rules.spans import Text, form_spans, word_places
from curation.text.ngrams import REPEATED_ORDERS
from curation.text.words import split_texts
from tests.rules.helpers import LANGUAGES, measured, texts

REPETITION = GopherRepetition(GopherRepetitionParameters())
QUALITY = GopherQuality(GopherQualityParameters())
FINEWEB = FineWeb(FineWebParameters())
languages = st.sampled_from(LANGUAGES)


def spans(rule: str, text: str, language: str = "en") -> list[tuple[int, int]]:
    """Those of a rule that has some."""
    found = form_spans(rule, Text(text, language, {}))
    assert found is not None
    assert all(0 <= start <= end <= len(text) for start, end in found)
    return found


def parts(rule: str, text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in spans(rule, text, language)]


def values(stage: Any, text: str, language: str) -> dict[str, Any]:
    row: dict[str, Any] = measured(stage, [text], [language])[1][0]
    return row


@given(texts(), languages)
@settings(deadline=None)
def test_words_are_found_where_they_are(text: str, language: str) -> None:
    places = word_places(text, language)
    words = [text[a:b] for a, b in zip(places.starts, places.stops, strict=True)]
    assert [len(word) for word in words] == split_texts([text], [language != "en"]).lengths.tolist()
    assert "".join(words) == "".join(text.split())


@given(texts(), languages)
@settings(deadline=None)
def test_repetitions_have_as_many_characters_as_were_measured(text: str, language: str) -> None:
    row = values(REPETITION, text, language)
    whole = row["character_count"]
    for n in REPEATED_ORDERS:
        own = sum(len("".join(part.split())) for part in parts(f"duplicate-{n}gram-chars", text, language))
        assert own == round((row[f"duplicate_{n}gram_char_ratio"] or 0) * whole)
    lines = parts("duplicate-line-chars", text, language)
    assert sum(map(len, lines)) == round((row["duplicate_line_char_ratio"] or 0) * whole)
    paragraphs = parts("duplicate-paragraph-chars", text, language)
    assert sum(map(len, paragraphs)) == round((row["duplicate_paragraph_char_ratio"] or 0) * whole)


@given(texts(), languages)
@settings(deadline=None)
def test_marked_lines_and_symbols_are_as_many_as_were_measured(text: str, language: str) -> None:
    row, total = values(QUALITY, text, language), len(word_places(text, language).starts)
    lines = len(text.splitlines())
    for rule, name, whole in (
        ("hashes", "hash_word_ratio", total), ("ellipses", "ellipsis_word_ratio", total),
        ("bullet-lines", "bullet_line_ratio", lines), ("ellipsis-lines", "ellipsis_line_ratio", lines),
    ):  # fmt: skip
        if row[name] is not None:
            assert len(spans(rule, text, language)) == round(row[name] * whole), rule
    if row["alphabetic_word_ratio"] is not None:
        bare = len(spans("few-alphabetic-words", text, language))
        assert bare == total - round(row["alphabetic_word_ratio"] * total)


@given(texts(), languages)
@settings(deadline=None)
def test_lines_of_prose_are_as_many_as_were_measured(text: str, language: str) -> None:
    row, given_ = values(FINEWEB, text, language), {"short_line_length": FineWebParameters().short_line_length}
    lines = row["nonblank_line_count"]
    short = form_spans("short-lines", Text(text, language, given_))
    assert short is not None and len(short) == round((row["short_line_ratio"] or 0) * lines)
    assert len(spans("line-punctuation", text, language)) == lines - round((row["line_punctuation_ratio"] or 0) * lines)
    whole = len(text) - text.count("\n")
    repeated = sum(map(len, parts("line-duplicates", text, language)))
    assert repeated == round((row["line_duplicate_char_ratio"] or 0) * whole)


def test_the_most_frequent_ngram_is_marked_wherever_it_stands() -> None:
    text = "go home now and go home then, go home"
    assert parts("top-2gram-chars", text) == ["go home"] * 3
    assert values(REPETITION, text, "en")["top_2gram_char_ratio"] == pytest.approx(3 * 7 / len(text))
    assert parts("top-2gram-chars", "天天向上天天向上", "zh") == ["天天向", "天天向"]


def test_what_c4_looks_for_is_marked() -> None:
    assert parts("curly-bracket", "a { b { c") == ["{", "{"]
    assert parts("lorem-ipsum", "Here: Lorem Ipsum.") == ["Lorem Ipsum"]
    assert {rule.name for rule in C4(C4.Parameters()).rules()} >= {"curly-bracket", "lorem-ipsum"}


def test_rules_about_the_whole_have_no_places() -> None:
    for rule in ("few-words", "many-words", "few-stop-words", "lists", "few-sentences", "empty", "nobody"):
        assert form_spans(rule, Text("some text", "en", {})) is None
