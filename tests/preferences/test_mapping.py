"""Any other record, by the names of its fields."""

from __future__ import annotations

from typing import Any

import pytest

from curation.errors import DocumentError, InputError
from curation.preferences import ColumnMapping, Instruction, Pair, Ranking, read_mapped
from curation.preferences.paths import Missing, value_at
from tests.preferences.examples import BAD, CHOSEN, GOOD, PROMPT, REJECTED, USER

QUESTION, BEST, WORST = USER["content"], GOOD["content"], BAD["content"]


def test_paths() -> None:
    record = {"a": {"b": [{"c": 1}, {"c": 2}]}, "a.b": "whole", "n": None, "0": {"1": "x"}}
    assert value_at(record, "a.b") == "whole"
    assert value_at(record, "a.b.0.c") == 1
    assert value_at(record, "a.b.-1.c") == 2
    assert value_at(record, "a.b.*.c") == [1, 2]
    assert value_at(record, "0.1") == "x"
    assert value_at(record, "n") is None
    for path in ("b", "a.c", "a.b.2.c", "a.b.-3.c", "a.b.x", "a.b.*.d", "n.x", "a.*", "", "a..b", "a.b.٣"):
        with pytest.raises(Missing):
            value_at(record, path)


def test_pairs() -> None:
    mapping = ColumnMapping(
        prompt="question", chosen="answers.best", rejected="answers.worst.0", margin="delta", id="meta.key",
        language="meta.lang", license="meta.licence", source="meta.from", system="persona",
    )  # fmt: skip
    record = {
        "question": QUESTION,
        "answers": {"best": BEST, "worst": [WORST]},
        "delta": 3,
        "meta": {"key": 9, "lang": "en", "licence": "MIT", "from": "web"},
        "id": ["not looked at"],
    }
    assert mapping.kind == "pair"
    assert read_mapped(record, mapping) == Pair(
        PROMPT, CHOSEN, REJECTED, 3.0, source_id="9", language="en", license="MIT", source="web"
    )


def test_pairs_of_whole_conversations() -> None:
    mapping = ColumnMapping(chosen="a", rejected="b")
    for record in (
        {"a": [USER, GOOD], "b": [USER, BAD]},
        {"a": f"\n\nHuman: {QUESTION}\n\nAssistant: {BEST}", "b": f"\n\nHuman: {QUESTION}\n\nAssistant: {WORST}"},
    ):
        assert read_mapped(record, mapping) == Pair(PROMPT, CHOSEN, REJECTED)
    mapping = ColumnMapping(prompt="p", chosen="a", rejected="b")
    assert read_mapped({"p": QUESTION, "a": [USER, GOOD], "b": [USER, BAD]}, mapping) == Pair(PROMPT, CHOSEN, REJECTED)


def test_rankings() -> None:
    mapping = ColumnMapping(prompt="q", responses="c.*.text", scores="c.*.stars")
    record = {"q": QUESTION, "c": [{"text": BEST, "stars": 5}, {"text": WORST, "stars": 1}]}
    assert read_mapped(record, mapping) == Ranking(PROMPT, (CHOSEN, REJECTED), (5.0, 1.0))
    assert read_mapped(record, ColumnMapping(prompt="q", responses="c.*.text")) == Ranking(PROMPT, (CHOSEN, REJECTED))


def test_instructions() -> None:
    expected = Instruction(PROMPT + CHOSEN)
    assert read_mapped({"q": QUESTION, "a": BEST}, ColumnMapping(prompt="q", response="a")) == expected
    assert read_mapped({"x": {"y": [USER, GOOD]}}, ColumnMapping(messages="x.y")) == expected
    seed = {"instruction": "Sort.", "instances": [{"input": "b a", "output": "a b"}]}
    mapping = ColumnMapping(prompt="instruction", input="instances.0.input", response="instances.0.output")
    entry = read_mapped(seed, mapping)
    assert isinstance(entry, Instruction)
    assert [message.content for message in entry.messages] == ["Sort.\nb a", "a b"]


@pytest.mark.parametrize(
    ("record", "error_class"),
    [
        ({"q": "a", "c": "b"}, "missing-side"),
        ({"q": "a", "c": "b", "r": None}, "missing-side"),
        ({"c": "b", "r": "d"}, "missing-column"),
        ({"q": None, "c": "b", "r": "d"}, "missing-column"),
        ({"q": 1, "c": "b", "r": "d"}, "not-a-string"),
        ({"q": "a", "c": "b", "r": False}, "not-a-string"),
        ({"q": "a", "c": "b", "r": "d", "m": "x"}, "not-a-number"),
        ({"q": " ", "c": "b", "r": "d"}, "empty-prompt"),
        ("text", "malformed-json-record"),
    ],
)
def test_errors(record: object, error_class: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_mapped(record, ColumnMapping(prompt="q", chosen="c", rejected="r", margin="m"))
    assert caught.value.error_class == error_class


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"prompt": "p"},
        {"prompt": "p", "chosen": "c"},
        {"prompt": "p", "chosen": "c", "rejected": "r", "response": "x"},
        {"response": "x"},
        {"responses": "x"},
        {"messages": "x", "prompt": "p"},
        {"chosen": "c", "rejected": "r", "scores": "s"},
        {"chosen": "c", "rejected": "r", "history": "h"},
        {"prompt": "p", "response": "x", "margin": "m"},
        {"prompt": "", "response": "x"},
    ],
)
def test_mappings_that_make_no_sense(names: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        ColumnMapping(**names)
