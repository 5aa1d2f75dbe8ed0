"""The text of a row: round trips, and what must be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from curation.errors import DocumentError
from curation.pair_stages import dump, parse, sides_of
from tests.pair_stages.build import INSTRUCTIONS, PAIRS, batch_of, canonical, instruction, pair, says


def test_the_form() -> None:
    turns = '"chosen":[{"content":"好","role":"assistant"}],"prompt":[{"content":"a\\n\\"b\\"","role":"user"}]'
    text = f'{{{turns},"rejected":[]}}'
    assert dump(parse(text)) == text
    text = '{"messages":[{"content":"hi","role":"user"},{"content":"","role":"assistant"}]}'
    assert dump(parse(text)) == text


@given(PAIRS)
def test_pairs_come_back(value: dict[str, Any]) -> None:
    assert dump(parse(canonical(value))) == canonical(value)
    assert dump(parse(json.dumps(value, indent=1))) == canonical(value)


@given(INSTRUCTIONS)
def test_instructions_come_back(value: dict[str, Any]) -> None:
    entry = parse(canonical(value))
    assert [len(entry["prompt"]), len(entry["response"])] == [len(value["messages"]) - 1, 1]
    assert dump(entry) == canonical(value)


USER = says("user", "x")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "malformed-json-record"),
        ("", "malformed-json-record"),
        ("plain text", "malformed-json-record"),
        ("[]", "malformed-json-record"),
        ("null", "malformed-json-record"),
        ("[" * 100_000, "malformed-json-record"),
        ('{"messages":' + "9" * 5000 + "}", "malformed-json-record"),
        ("{}", "unknown-shape"),
        (canonical({"prompt": [], "chosen": []}), "unknown-shape"),
        (canonical({"prompt": [], "chosen": [], "rejected": [], "\x00more\u202e": 1}), "unknown-shape"),
        (canonical({"messages": [USER], "prompt": []}), "unknown-shape"),
        (canonical({"messages": []}), "missing-response"),
        (canonical({"messages": [says("assistant", "y"), USER]}), "missing-response"),
        (canonical({"messages": "x"}), "not-a-list"),
        ('{"messages":NaN}', "not-a-list"),
        (canonical({"messages": ["x"]}), "malformed-message"),
        (canonical({"messages": [{"role": "user"}]}), "malformed-message"),
        (canonical({"messages": [{**USER, "name": "Eve"}]}), "malformed-message"),
        (canonical({"messages": [says("oracle", "x")]}), "wrong-role"),
        (canonical({"messages": [{"role": ["user"], "content": "x"}]}), "wrong-role"),
        (canonical({"messages": [{"role": "user", "content": None}]}), "not-a-string"),
        (canonical({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "not-a-string"),
    ],
)
def test_what_is_refused(text: str | None, error: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    assert caught.value.error_class == error
    assert caught.value.detail.isprintable() and len(caught.value.detail) < 400


def test_lone_surrogates_become_replacement_characters() -> None:
    entry = parse('{"messages":[{"content":"a\\ud800b","role":"assistant"}]}')
    assert entry["response"][0].content.encode().decode() == entry["response"][0].content
    assert parse(dump(entry)) == entry


def test_sides_are_joined_by_a_blank_line() -> None:
    row = canonical(
        {"prompt": [says("system", "S"), says("user", "U")], "chosen": [], "rejected": [says("assistant", "R")]}
    )
    batch = batch_of([row, instruction("p", "r"), "broken"])
    found = batch.feature(sides_of)
    assert found.text("prompt").to_pylist() == ["S\n\nU", "p", ""]
    assert found.text("chosen").to_pylist() == ["", "", ""]
    assert found.text("response").to_pylist() == ["", "r", ""]
    assert list(found.errors) == [2]
    assert {row: error.error_class for row, error in found.without(["chosen"]).items()} == {
        1: "missing-side",
        2: "malformed-json-record",
    }
    assert batch.feature(sides_of) is found


def test_an_empty_batch() -> None:
    found = batch_of([]).feature(sides_of)
    assert found.text("prompt").to_pylist() == [] and not found.without(["prompt"])


def test_pair_helper_is_canonical() -> None:
    assert dump(parse(pair("a", "b", "c"))) == pair("a", "b", "c")
