"""The first stage of pairs: measures by hand and by naive twins."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.pair_stages import Pair
from curation.pair_stages.visible import visible_characters
from tests.pair_stages.build import PAIRS, batch_of, canonical, failing, pair, rows, says
from tests.pair_stages.twins import jaccard, seen

PAIR = Pair(Pair.Parameters())


def one(text: str, **columns: Any) -> dict[str, Any]:
    return rows(PAIR, batch_of([text], **columns))[0]


def test_measures_by_hand() -> None:
    prompt = [says("system", "Be brief."), says("user", "Why is the sky blue?")]
    chosen, rejected = [says("assistant", "Air scatters blue light most.")], [says("assistant", "海洋。")]
    row = one(canonical({"prompt": prompt, "chosen": chosen, "rejected": rejected}), margin=pa.array([0.5]))
    assert row == {
        "prompt_turns": 2,
        "prompt_words": 7,
        "prompt_characters": 24,
        "chosen_turns": 1,
        "chosen_words": 5,
        "chosen_characters": 25,
        "rejected_turns": 1,
        "rejected_words": 2,
        "rejected_characters": 3,
        "pair_words": 12,
        "length_difference": 3,
        "length_ratio": 2.5,
        "responses_equal": False,
        "responses_near_equal": False,
        "responses_jaccard": 0.0,
        "preference_margin": 0.5,
    }


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_naive_twin(values: list[dict[str, Any]]) -> None:
    found = rows(PAIR, batch_of([canonical(value) for value in values]))
    for value, row in zip(values, found, strict=True):
        chosen, rejected = ("\n\n".join(turn["content"] for turn in value[side]) for side in ("chosen", "rejected"))
        assert row["responses_equal"] == (seen(chosen) == seen(rejected))
        assert row["responses_near_equal"] >= row["responses_equal"]
        assert row["responses_jaccard"] == float(jaccard(chosen, rejected))
        a, b = row["chosen_words"], row["rejected_words"]
        assert row["length_difference"] == a - b
        assert row["length_ratio"] == (max(a, b) / min(a, b) if min(a, b) else None)
        assert row["pair_words"] == row["prompt_words"] + max(a, b)


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "rules"),
    [
        ("p", "yes", "no", []),
        (" \n", "yes", "no", ["empty-prompt"]),
        ("p", "", "no", ["empty-chosen"]),
        ("p", "yes", "\u200b\ufeff\u3000", ["empty-rejected"]),
        ("p", "👍", "。", []),
        ("p", "Yes, \n I can.", "\nYes,\n I can. \n", ["equal-responses"]),
        ("p", "a\u0301 la", "\u00e1 la", ["equal-responses"]),
        ("Write it in capitals: paris", "PARIS", "paris", []),
        ("Loop over ten numbers.", "for i in x:\n    f(i)", "for i in x:\n  f(i)", []),
        ("Write 1 in full width.", "１", "1", []),
        ("What is 3 - 6?", "-3", "3", []),
        ("Which is larger?", "a > b", "a, b", []),
        ("p", "You’re welcome.", "You’re welcome!", []),
        ("p", "2 + 2 = 4", "2 + 2 = 5", []),
        ("", "", "", ["empty-prompt", "empty-chosen", "empty-rejected", "equal-responses"]),
    ],
)
def test_rules(prompt: str, chosen: str, rejected: str, rules: list[str]) -> None:
    assert failing(PAIR, batch_of([pair(prompt, chosen, rejected)])) == [rules]


@pytest.mark.parametrize(
    ("chosen", "rejected", "near"),
    [
        ("You’re welcome.", "You’re welcome!", True),
        ("不客气。", "不客气", True),
        ("My name is John.", "My name is John?", False),
        ("Google, Sony", "Google > Sony", False),
        ("-3", "3", False),
        ("paris", "Paris", False),
        ("puts 1", "puts(1)", False),
    ],
)
def test_near_equal_answers_differ_in_a_full_stop(chosen: str, rejected: str, near: bool) -> None:
    strict = Pair(Pair.Parameters(max_near_equal_responses=0))
    assert failing(strict, batch_of([pair("p", chosen, rejected)])) == [["near-equal-responses"] * near]


def test_similar_answers_are_told_by_their_words() -> None:
    strict = Pair(Pair.Parameters(max_jaccard=0.95))
    assert failing(strict, batch_of([pair("p", "a > b", "a, b"), pair("p", "a", "b")])) == [["similar-responses"], []]


def test_a_side_without_turns_is_empty() -> None:
    text = canonical({"prompt": [says("user", "p")], "chosen": [], "rejected": [says("assistant", "r")]})
    assert failing(PAIR, batch_of([text])) == [["empty-chosen"]]


def test_margins() -> None:
    texts = [pair("p", "yes", "no")] * 6
    margins = pa.array([None, 0.0, -0.5, 3.0, math.nan, math.inf])
    assert [row["preference_margin"] for row in rows(PAIR, batch_of(texts, margin=margins))] == [
        None,
        0.0,
        -0.5,
        3.0,
        None,
        None,
    ]
    assert failing(PAIR, batch_of(texts, margin=margins)) == [[], [], ["small-margin"], [], [], []]
    wide = Pair(Pair.Parameters(min_margin=1))
    assert failing(wide, batch_of(texts, margin=margins)) == [[], ["small-margin"], ["small-margin"], [], [], []]
    assert failing(wide, batch_of(texts, margin=pa.nulls(6))) == [[]] * 6


def test_thresholds_by_language_and_off() -> None:
    stage = Pair(Pair.Parameters(max_words={"default": 3, "zh": 10}, max_jaccard=None, max_length_ratio=2))
    texts = [pair("a b", "c d", "e"), pair("a b", "c d", "e"), pair("a", "b c d", "b"), pair("a", "c.", "c!")]
    found = failing(stage, batch_of(texts, language=pa.array(["en", "zh", None, "en"])))
    assert found == [["too-long"], [], ["too-long", "length-ratio"], []]


def test_the_text_becomes_canonical_and_errors_stay() -> None:
    loose = '{ "rejected": [], "chosen": [{"role": "assistant", "content": "\\u597d"}], "prompt": [] }'
    batch = batch_of([loose, "broken", canonical({"messages": [says("assistant", "x")]}), pair("p", "a", "b")])
    result = PAIR.measure(batch)
    assert result.text is not None
    assert result.text.to_pylist() == [
        '{"chosen":[{"content":"好","role":"assistant"}],"prompt":[],"rejected":[]}',
        "broken",
        canonical({"messages": [says("assistant", "x")]}),
        pair("p", "a", "b"),
    ]
    assert {row: error.error_class for row, error in result.errors.items()} == {
        1: "malformed-json-record",
        2: "missing-side",
    }
    for side in ("prompt", "chosen", "rejected"):
        assert result.columns[f"{side}_words"].is_valid().to_pylist() == [True, False, False, True]


def test_rows_do_not_depend_on_their_neighbours() -> None:
    texts = [pair("p", "yes", "no"), "broken", pair("问", "是的", "不是")]
    assert rows(PAIR, batch_of(texts)) == [one(text) for text in texts]
    assert rows(PAIR, batch_of([])) == []


def test_a_share_is_at_most_one() -> None:
    with pytest.raises(ValidationError):
        Pair.Parameters(max_jaccard=1.5)


def test_every_threshold_decides_and_every_rule_has_one() -> None:
    assert Pair.deciding == frozenset(Pair.Parameters.model_fields)
    assert {rule.measure for rule in PAIR.rules()} <= set(PAIR.schema.names)
    assert len(PAIR.rules()) == len(Pair.Parameters.model_fields)


@given(st.text(max_size=60))
def test_visible_characters(text: str) -> None:
    found = visible_characters(pa.array([text.encode("utf-8", "replace").decode()], pa.large_string()))[0]
    assert 0 <= found <= len("".join(text.split()))
    assert visible_characters(pa.array(["a b\u200d\n好", None, "\u0000\u00ad"])).tolist() == [3, 0, 0]


def test_hostile_marks_take_little_time() -> None:
    marks = "a" + "\u0301\u0316" * 200_000
    assert one(pair("p", marks, marks + "b"))["responses_equal"] is False
