"""Gopher's repetition rules: documents counted by hand, and a twin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rules import GopherRepetition
from curation.rules.gopher_repetition import GopherRepetitionParameters
from tests.rules import naive
from tests.rules.helpers import LANGUAGES, failing, measured, texts

PROSE = (
    "The cat sat on a mat and looked at all the other cats with a yawn. It was thinking of food, as it often did in "
    "those days, when nobody came home before dark and every door of the old house stayed shut until evening."
)
STAGE = GopherRepetition(GopherRepetitionParameters())


def test_lines_and_paragraphs_counted_by_hand() -> None:
    _, (row,) = measured(STAGE, ["\nab\ncd\n\nab\n\n\ncd\ncd\n"], ["en"])
    # Lines: "", ab, cd, ab, cd, cd, "".  Paragraphs: "ab\ncd", "ab", "cd\ncd".
    assert row["character_count"] == 19
    assert row["duplicate_line_ratio"] == 4 / 7
    assert row["duplicate_line_char_ratio"] == 6 / 19
    assert row["duplicate_paragraph_ratio"] == 0
    _, (row,) = measured(STAGE, ["ab\n\nab\n\n\nab"], ["en"])
    assert row["duplicate_paragraph_ratio"] == 2 / 3
    assert row["duplicate_paragraph_char_ratio"] == 4 / 11


def test_ngrams_counted_by_hand() -> None:
    _, (row,) = measured(STAGE, ["a b a b a b c"], ["en"])
    # "a b" three times, 3 characters each; "a b a" and "b a b" twice, 5 each, the first counts.
    assert row["top_2gram_char_ratio"] == 9 / 13
    assert row["top_3gram_char_ratio"] == 10 / 13
    assert row["top_4gram_char_ratio"] == 14 / 13
    _, (row,) = measured(STAGE, ["p q r s t p q r s t u"], ["en"])
    # The second "pqrst" repeats a 5-gram; no 6-gram is repeated.
    assert row["duplicate_5gram_char_ratio"] == 5 / 21
    assert row["duplicate_6gram_char_ratio"] == 0


def test_repeated_ngrams_are_compared_as_strings() -> None:
    # "ab c d e f" and "a bc d e f" are different words and the same characters.
    _, (row,) = measured(STAGE, ["ab c d e f a bc d e f"], ["en"])
    assert row["duplicate_5gram_char_ratio"] == 6 / 21


def test_too_few_words_for_an_ngram() -> None:
    _, (row,) = measured(STAGE, ["one two"], ["en"])
    assert row["top_2gram_char_ratio"] == 1 and row["top_3gram_char_ratio"] is None
    assert row["duplicate_10gram_char_ratio"] == 0


def test_chinese_ngrams_are_longer_and_have_no_blanks() -> None:
    _, (row,) = measured(STAGE, ["甲乙丙甲乙丙丁"], ["zh"])
    assert row["top_2gram_char_ratio"] == 6 / 7  # 甲乙丙 twice
    line = "一二三四五六七八"
    _, (row,) = measured(STAGE, [line + "九" + line], ["zh"])
    assert row["duplicate_5gram_char_ratio"] == 8 / 17 and row["duplicate_6gram_char_ratio"] == 0


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ["empty"]),
        (PROSE, []),
        ("alpha\nbravo\nalpha\ncharlie\nalpha", ["duplicate-lines", "duplicate-line-chars", "top-2gram-chars"]),
    ],
)
def test_rules(text: str, rules: list[str]) -> None:
    found = failing(STAGE, text)
    assert found[: len(rules)] == rules and (rules or not found)


@given(st.lists(st.tuples(texts(), st.sampled_from(LANGUAGES)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_measures_equal_those_of_the_twin(pairs: list[tuple[str, str]]) -> None:
    _, rows = measured(STAGE, [text for text, _ in pairs], [code for _, code in pairs])
    expected = [naive.gopher_repetition(text, code) for text, code in pairs]
    for (text, _), row, twin in zip(pairs, rows, expected, strict=True):
        if text == "":  # datatrove calls it empty and looks no further; shares of nothing are null
            assert row["character_count"] == 0 and row["duplicate_line_char_ratio"] is None
        assert row == twin


def test_without_a_profile_only_the_rules_given_are_on() -> None:
    stage = GopherRepetition(GopherRepetitionParameters(profile="none", max_duplicate_10gram_chars={"zh": 0.7}))
    limits = {rule.name: rule.thresholds for rule in stage.rules()}
    assert limits.pop("duplicate-10gram-chars") == {"zh": 0.7}
    assert set(limits) == {rule.name for rule in STAGE.rules()} - {"duplicate-10gram-chars"}
    assert all(limit == {"default": None} for limit in limits.values())
    written = GopherRepetitionParameters.model_validate_json(stage.parameters.model_dump_json())
    assert written == stage.parameters
    assert failing(stage, "", "en") == failing(stage, "x", "en") == []
