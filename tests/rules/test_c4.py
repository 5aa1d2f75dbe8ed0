"""C4's rules: every reason for which a line goes, and a twin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rules import C4
from curation.rules.c4 import C4Parameters
from tests.rules import naive
from tests.rules.helpers import LANGUAGES, failing, measured, texts

STAGE = C4(C4Parameters())
LINES = [
    ("  This line is fine.  ", "c4_kept_line_count"),
    ('She said "so be it"', "c4_kept_line_count"),
    ("No end here", "c4_unfinished_line_count"),
    ("It goes on...", "c4_unfinished_line_count"),
    ("Curly quotes end no “line”", "c4_unfinished_line_count"),
    ("Too few.", "c4_few_word_line_count"),
    ("A " + "w" * 1001 + " is long.", "c4_long_word_line_count"),
    ("A " + "é" * 1000 + " is not.", "c4_kept_line_count"),
    ("Please enable JavaScript now.", "c4_javascript_line_count"),
    ("This site Uses Cookies daily.", "c4_policy_line_count"),
    ("This site uses coo\u212aies daily.", "c4_policy_line_count"),
    ("Wars were fought.[12] It was so.[citation needed]", "c4_kept_line_count"),
]


@pytest.mark.parametrize(("line", "reason"), LINES)
def test_each_line_is_counted_under_its_reason(line: str, reason: str) -> None:
    result, (row,) = measured(STAGE, [line], ["en"])
    assert {name for name, value in row.items() if value} - {"c4_sentence_count"} == {"c4_line_count", reason}
    left = result.text[0].as_py()
    assert bool(left) == (reason == "c4_kept_line_count")


def test_text_that_is_left() -> None:
    text = "[1] First comes this one.\r\nNo end\u2028\n Then[edit] this one!\x0bIs it so?[] \n"
    result, (row, _, _) = measured(STAGE, [text, "", "nothing"], ["en"] * 3)
    assert result.text.to_pylist() == ["First comes this one.\nThen this one!\nIs it so?", "", ""]
    assert row["c4_line_count"] == 5 and row["c4_kept_line_count"] == 3 and row["c4_sentence_count"] == 3
    assert result.text.type == "large_string"


@pytest.mark.parametrize(
    ("text", "language", "rules"),
    [
        ("", "en", ["few-sentences"]),
        ("One is here. Two is here. Three is here. Four is here. Five is here.", "en", []),
        ("One is here. Two is here. Three is here. Four is here.", "en", ["few-sentences"]),
        ("Lorem ipsum dolor sit amet. " * 5, "en", ["lorem-ipsum"]),
        ("Then we write x = { y }. " * 5, "en", ["curly-bracket"]),
        ("Is it so? " * 5 + "\n{ not a sentence", "en", []),  # only finished lines are searched
        ("这是第一句话。这是第二句话！这是第三句话？", "zh", []),
        ("他说：“这是一句话。那也是一句话。再说一句话。”", "zh", []),
        ("这是第一句话。\n这是第二句话，\n请看隐私政策的说明。", "zh", ["few-sentences"]),
        ("ภาษาไทยไม่มีเครื่องหมายจบประโยค", "th", []),
    ],
)
def test_rules(text: str, language: str, rules: list[str]) -> None:
    assert failing(STAGE, text, language) == rules


def test_chinese_lines_keep_by_their_own_marks() -> None:
    text = "这是第一句话。\n没有句号\n好。\n他说“是这样的”\n还有很多很多……\n说明如下："
    result, (row,) = measured(STAGE, [text], ["zh"])
    assert result.text[0].as_py() == "这是第一句话。\n他说“是这样的”\n还有很多很多……"
    assert row["c4_unfinished_line_count"] == 2 and row["c4_few_word_line_count"] == 1


def test_parameters_change_the_lines() -> None:
    stage = C4(C4Parameters(min_words_per_line=1, max_word_length={"default": 5}))
    result, _ = measured(stage, ["Yes.\nOh no!\nLonger words."], ["en"])
    assert result.text[0].as_py() == "Yes.\nOh no!"


@given(st.lists(st.tuples(texts(), st.sampled_from(LANGUAGES)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_lines_and_text_equal_those_of_the_twin(pairs: list[tuple[str, str]]) -> None:
    result, rows = measured(STAGE, [text for text, _ in pairs], [code for _, code in pairs])
    fewest = STAGE.parameters.min_words_per_line
    for row, left, (text, code) in zip(rows, result.text.to_pylist(), pairs, strict=True):
        counts, kept = naive.c4(text, code, int(fewest.get(code, fewest["default"]) or 0), code != "th")
        assert left == kept
        assert row == {name: counts.get(name, 0) for name in row}
