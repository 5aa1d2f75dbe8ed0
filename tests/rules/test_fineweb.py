"""FineWeb's rules: documents counted by hand, and a twin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rules import FineWeb
from curation.rules.fineweb import FineWebParameters
from tests.rules import naive
from tests.rules.helpers import LANGUAGES, failing, measured, texts

STAGE = FineWeb(FineWebParameters())
LONG = "A line of more than thirty characters ends here."


def test_measures_counted_by_hand() -> None:
    _, (row,) = measured(STAGE, [f"{LONG}\nshort\n  \n\nshort\nWhy？\nnot. \n"], ["en"])
    # Lines with more than blanks: LONG (48), short, short, Why？ and "not. ", which ends with a blank.
    assert row == {
        "nonblank_line_count": 5,
        "line_punctuation_ratio": 2 / 5,
        "short_line_ratio": 4 / 5,
        "line_duplicate_char_ratio": 5 / (48 + 5 + 2 + 5 + 4 + 5),
        "newline_word_ratio": 7 / (10 + 1 + 1 + 2 + 2),
    }


@pytest.mark.parametrize(
    ("text", "language", "rules"),
    [
        ("", "en", ["empty"]),
        (" \n\t\n", "en", ["empty"]),
        (LONG, "en", []),
        (LONG[:-1], "en", ["line-punctuation"]),
        ("Too short.", "en", ["short-lines"]),
        (LONG + "\n" + LONG, "en", ["line-duplicates"]),
        ("一二三四五六七八九十一二三四五六，", "zh", ["line-punctuation"]),
        ("一二三四五六七八九十一二三四五“六”", "zh", []),
        ("一二三。", "zh", ["short-lines"]),
        ("พูดภาษาไทยได้", "th", []),
    ],
)
def test_rules(text: str, language: str, rules: list[str]) -> None:
    assert failing(STAGE, text, language) == rules


def test_many_newlines_for_few_words_are_a_list() -> None:
    assert "lists" in failing(STAGE, "\n".join(["word"] * 10))


def test_thresholds_are_reached_from_the_right_side() -> None:
    # 12 of 100 lines end with a mark: exactly the threshold, and kept; so are 0.67 short ones.
    lines = [f"{'x' * 40} {i}." for i in range(12)] + [f"{'y' * 40} {i}" for i in range(88)]
    assert failing(STAGE, "\n".join(lines)) == ["lists"]
    assert failing(STAGE, "\n".join(lines[1:12] + lines[12:] + ["z" * 50])) == ["line-punctuation", "lists"]


@given(st.lists(st.tuples(texts(), st.sampled_from(LANGUAGES)), min_size=1, max_size=4))
@settings(max_examples=120, deadline=None)
def test_measures_equal_those_of_the_twin(pairs: list[tuple[str, str]]) -> None:
    _, rows = measured(STAGE, [text for text, _ in pairs], [code for _, code in pairs])
    short = STAGE.parameters.short_line_length
    limits = [short.get(code, short["default"]) for _, code in pairs]
    assert rows == [
        naive.fineweb(text, code, int(limit or 0)) for (text, code), limit in zip(pairs, limits, strict=True)
    ]
