"""Answers that decline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.pair_stages import Refusals
from curation.pair_stages.refusals import PHRASES, refusal
from curation.pair_stages.table import read_table
from curation.preferences.digests import normalised
from tests.pair_stages.build import batch_of, failing, instruction, pair, rows


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("I can't help with that.", 1),
        ("I can’t help with that.", 1),
        ("I’m sorry, but I can't help with that.", 1 - 15 / 200),
        ("As an AI language model, I have no opinion.", 0.5),
        ("对不起，我无法回答那个请求。", 1 - 4 / 200),
        ("很抱歉，这里没有文章。", 0.5),
        ("I'm not able to write it. However, here is an outline.", 0.5),
        ("As an AI model, I cannot provide advice, but I can help you see the law.", 0.5 * (1 - 16 / 200)),
        ("很抱歉，我无法生成图片，但我可以写一份说明。", 0.5 * (1 - 4 / 200)),
        ("However, here is an outline.", 0),
        ("I can't help without", 0),
        ("I can't help but laugh.", 0),
        ("Of course I can help with that.", 0),
        ("当然可以！", 0),
        ("", 0),
        ("x " * 150 + "I can't help with that.", 0),
        ("The words: I refuse to", 1 - 11 / 200),
    ],
)
def test_scores(text: str, score: float) -> None:
    assert refusal(text, 200) == pytest.approx(score)


def test_every_phrase_is_found_as_it_is_written() -> None:
    table = read_table(PHRASES)
    assert len({row["phrase"] for row in table}) == len(table) > 100
    for row in table:
        assert normalised(row["phrase"]) == row["phrase"]
        assert refusal(row["phrase"], 200) >= float(row["strength"])


@given(st.text(max_size=300))
def test_a_score_is_a_share(text: str) -> None:
    assert 0 <= refusal(text, 200) <= 1


@given(st.text(st.sampled_from("ab 好。"), max_size=60))
def test_later_is_less(text: str) -> None:
    assert refusal(text + " I refuse to go", 200) >= refusal(text + "aa I refuse to go", 200)


def test_rules() -> None:
    no, yes = "I'm unable to do that.", "Sure, here it is."
    texts = [pair("p", no, yes), pair("p", yes, no), pair("p", no, no), pair("p", yes, yes)]
    off = Refusals(Refusals.Parameters())
    assert failing(off, batch_of(texts)) == [[], [], [], []]
    both = Refusals(Refusals.Parameters(max_both_refuse=0.7, max_chosen_refusal=0.7))
    assert failing(both, batch_of(texts)) == [["chosen-refuses"], [], ["both-refuse", "chosen-refuses"], []]
    assert [row["both_refusal"] for row in rows(both, batch_of(texts))] == [0, 0, 1, 0]


def test_instructions() -> None:
    stage = Refusals(Refusals.Parameters(sides=("response",), max_response_refusal=0.7))
    texts = [instruction("q", "我不能告诉你"), instruction("q", "可以"), "broken"]
    assert failing(stage, batch_of(texts)) == [["response-refuses"], [], []]
    assert stage.schema.names == ["response_refusal"]
    assert [row["response_refusal"] for row in rows(stage, batch_of(texts))] == [1, 0, None]


def test_the_phrases_enter_the_facts() -> None:
    assert len(Refusals(Refusals.Parameters()).facts()["phrases"]) == 64
