"""The first stage of instruction data."""

from __future__ import annotations

import pyarrow as pa

from curation.pair_stages import Instruction
from tests.pair_stages.build import batch_of, canonical, failing, instruction, pair, rows, says

STAGE = Instruction(Instruction.Parameters())


def test_measures_by_hand() -> None:
    turns = [
        says("system", "Sei kurz."),
        says("user", "继续"),
        says("assistant", "好的。"),
        says("user", "继续"),
        says("tool", "{}"),
        says("assistant", " 好的。\n"),
    ]
    assert rows(STAGE, batch_of([canonical({"messages": turns})])) == [
        {
            "conversation_turns": 6,
            "conversation_words": 10,
            "prompt_words": 8,
            "prompt_characters": 17,
            "response_words": 2,
            "response_characters": 3,
            "repeated_turns": 1,
        }
    ]


def test_rules() -> None:
    texts = [instruction("q", "a"), instruction("\n", "a"), instruction("q", "\u200b"), instruction("q", "👍")]
    assert failing(STAGE, batch_of(texts)) == [[], ["empty-instruction"], ["empty-response"], []]
    strict = Instruction(Instruction.Parameters(min_response_words=2, max_words=3, max_repeated_turns=0))
    repeated = canonical({"messages": [says("assistant", "Go on"), says("user", "x"), says("assistant", "go  on")]})
    found = failing(strict, batch_of([*texts, repeated, instruction("问题", "答案")], language=pa.array(["en"] * 6)))
    assert found[0] == ["short-response"]
    assert found[4] == ["too-long", "repeated-turns"]
    assert found[5] == ["too-long"]


def test_empty_turns_are_no_repetition() -> None:
    turns = [says("assistant", ""), says("user", ""), says("assistant", " ")]
    assert rows(STAGE, batch_of([canonical({"messages": turns})]))[0]["repeated_turns"] == 0


def test_no_prompt_at_all() -> None:
    assert failing(STAGE, batch_of([canonical({"messages": [says("assistant", "a")]})])) == [["empty-instruction"]]


def test_errors() -> None:
    result = STAGE.measure(batch_of([pair("p", "a", "b"), "", instruction("q", "a")]))
    assert {row: error.error_class for row, error in result.errors.items()} == {
        0: "missing-side",
        1: "malformed-json-record",
    }
    assert result.text is not None and result.text.to_pylist() == [pair("p", "a", "b"), "", instruction("q", "a")]
    assert result.columns["response_words"].to_pylist() == [None, None, 1]
    assert rows(STAGE, batch_of([])) == []
