"""Gopher's quality rules: hand-made documents for every rule, and a twin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.rules import GopherQuality
from curation.rules.gopher_quality import GopherQualityParameters
from tests.rules import naive
from tests.rules.helpers import LANGUAGES, failing, measured, texts

STAGE = GopherQuality(GopherQualityParameters())
GOOD = "The mill by the river has been grinding corn with water that comes down from hills to be used again. "
CHINESE = "我们在河边的磨坊里看到了水是怎么推动石磨的，也知道了面粉是从哪里来的。"


def test_good_prose_is_kept() -> None:
    assert failing(STAGE, GOOD * 4) == []
    assert failing(STAGE, CHINESE * 4, "zh") == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (GOOD, "few-words"),  # 20 words
        (GOOD * 5_001, "many-words"),
        ("a the of to it at in be " * 9, "short-words"),  # 17 characters in 8 words
        ("incomprehensibilities internationalisation the of " * 20, "long-words"),  # 46 characters in 4 words
        (GOOD * 4 + "# " * 12, "hashes"),
        (GOOD * 4 + "oh... well " * 14, "ellipses"),
        ("- the end of the road\n" * 30, "bullet-lines"),
        (GOOD * 4 + "\nwell…\n", "ellipsis-lines"),
        (GOOD * 4 + "12 34 " * 15, "few-alphabetic-words"),
        ("corn river mill water hills stone flour bread " * 8, "few-stop-words"),
    ],
)
def test_each_rule_fails_alone(text: str, rule: str) -> None:
    assert failing(STAGE, text) == [rule]


def test_measures_counted_by_hand() -> None:
    _, (row,) = measured(STAGE, ["# The cat's hat... is\n• here, and…\n\nto: 42"], ["en"])
    # Tokens: # The cat 's hat ... is • here , and … to : 42
    # More than punctuation: The cat 's hat is • here and to 42 (the bullet is not in datatrove's set)
    assert row == {
        "word_count": 10,
        "mean_word_length": (3 + 3 + 2 + 3 + 2 + 1 + 4 + 3 + 2 + 2) / 10,
        "hash_word_ratio": 1 / 15,
        "ellipsis_word_ratio": 2 / 15,
        "bullet_line_ratio": 1 / 4,
        "ellipsis_line_ratio": 1 / 4,
        "alphabetic_word_ratio": 8 / 15,
        "stop_word_count": 2,
    }


def test_text_without_words_has_no_ratios_and_too_few_words() -> None:
    for text in ("", " \n", None):
        result = STAGE.measure(_batch(text))
        row = {name: column[0].as_py() for name, column in result.columns.items()}
        assert row["word_count"] == 0 and row["mean_word_length"] is None and row["hash_word_ratio"] is None
    assert failing(STAGE, "") == ["few-words", "few-stop-words"]


def _batch(text: str | None):  # type: ignore[no-untyped-def]
    import pyarrow as pa

    from curation.batch import Batch

    return Batch(pa.table({"text": pa.array([text], pa.large_string())}))


def test_stop_words_follow_the_language() -> None:
    _, rows = measured(
        STAGE, ["的 是 我", "the of", "the of", "的 the of 我们", "the of"], ["zh", "en", "und", "und", "fr"]
    )
    assert [row["stop_word_count"] for row in rows] == [2, 2, 2, None, None]
    assert rows[0]["mean_word_length"] is None and rows[1]["mean_word_length"] == 2.5


def test_thresholds_of_other_languages() -> None:
    text = CHINESE * 2  # 33 characters, twice: enough words for English, too few for Chinese
    assert failing(STAGE, text, "zh") == ["few-words"]
    assert failing(GopherQuality(GopherQualityParameters(min_words={"default": 50, "zh": None})), text, "zh") == []
    assert failing(GopherQuality(GopherQualityParameters(min_words=60)), text, "yue") == []


def test_stop_words_are_checked() -> None:
    with pytest.raises(ValidationError, match="not one word"):
        GopherQualityParameters(stop_words={"zh": ("我们",)})
    with pytest.raises(ValidationError, match="at most 64"):
        GopherQualityParameters(stop_words={"xx": tuple(f"w{i}" for i in range(65))})
    none = GopherQuality(GopherQualityParameters(stop_words={"en": (), "de": ("der", "die")}))
    _, rows = measured(none, ["the", "der die der"], ["en", "de"])
    assert [row["stop_word_count"] for row in rows] == [0, 2]


@given(st.lists(st.tuples(texts(), st.sampled_from(LANGUAGES)), min_size=1, max_size=4))
@settings(max_examples=120, deadline=None)
def test_measures_equal_those_of_the_twin(pairs: list[tuple[str, str]]) -> None:
    stop_words = STAGE.parameters.stop_words
    _, rows = measured(STAGE, [text for text, _ in pairs], [code for _, code in pairs])
    assert rows == [naive.gopher_quality(text, code, stop_words) for text, code in pairs]
