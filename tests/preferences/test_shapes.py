"""Every shape by hand: what is recognised, and what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curation.errors import DocumentError
from curation.preferences import (
    BY_NAME,
    SHAPES,
    Comparison,
    Instruction,
    Message,
    Pair,
    Ranking,
    Votes,
    pairs_of,
    read_entry,
    read_record,
    read_unpaired,
    recognise,
    require_shape,
)
from tests.preferences.examples import BAD, CHOSEN, EXAMPLES, GOOD, PROMPT, REJECTED, USER


def pair(record: dict[str, Any]) -> Pair:
    entry = read_record(record)
    assert isinstance(entry, Pair)
    return entry


def instruction(record: dict[str, Any]) -> list[tuple[str, str]]:
    entry = read_record(record)
    assert isinstance(entry, Instruction)
    return [(message.role, message.content) for message in entry.messages]


def refused(record: object, **options: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        read_record(record, **options)
    return caught.value.error_class


def test_every_shape_has_an_example() -> None:
    assert list(EXAMPLES) == [shape.name for shape in SHAPES]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_recognised(name: str) -> None:
    shape = recognise(EXAMPLES[name])
    assert shape is not None and shape.name == name
    assert recognise({**EXAMPLES[name], "id": 7, "score": 1.5, "tags": ["x"]}) is shape


@pytest.mark.parametrize("name", [shape.name for shape in SHAPES if shape.kind in ("pair", "comparison", "ranking")])
def test_examples_of_preferences_say_the_same(name: str) -> None:
    entry = read_record(EXAMPLES[name])
    assert isinstance(entry, Pair | Ranking | Comparison)
    (found,) = pairs_of(entry)
    assert (found.prompt, found.chosen, found.rejected) == (PROMPT, CHOSEN, REJECTED)


@pytest.mark.parametrize("name", [shape.name for shape in SHAPES if shape.kind == "instruction"])
def test_examples_of_instructions_say_the_same(name: str) -> None:
    entry = read_record(EXAMPLES[name])
    assert isinstance(entry, Instruction)
    assert entry.messages == PROMPT + CHOSEN


@pytest.mark.parametrize("name", EXAMPLES)
def test_another_shape_than_expected(name: str) -> None:
    for shape in SHAPES:
        if shape.name != name:
            assert refused(EXAMPLES[name], expected=shape) == "mixed-schema"
    if name != "kto":
        read_record(EXAMPLES[name], expected=BY_NAME[name])


def test_what_a_record_says_of_itself() -> None:
    entry = pair(
        {
            **EXAMPLES["trl-plain"],
            "id": 12,
            "source": "forum",
            "language": "en",
            "license": "CC0-1.0",
            "margin": 2,
            "ranking_id": "r",
            "tools": [{"name": "search"}],
        }
    )
    assert (entry.source_id, entry.source, entry.language, entry.license) == ("12", "forum", "en", "CC0-1.0")
    assert (entry.margin, entry.ranking_id, entry.tools) == (2.0, "r", '[{"name":"search"}]')


@pytest.mark.parametrize(
    ("field", "value", "error_class"),
    [
        ("id", {"$oid": "1"}, "not-a-string"),
        ("id", True, "not-a-string"),
        ("id", "x" * 2000, "too-long"),
        ("id", 10**500, "too-long"),
        ("license", ["mit"], "not-a-string"),
        ("language", 1, "not-a-string"),
        ("source", {}, "not-a-string"),
        ("margin", "0.5", "not-a-number"),
        ("margin", float("nan"), "not-a-number"),
        ("margin", 10**500, "not-a-number"),
        ("tools", {"name": "search"}, "not-a-list"),
        ("tools", [float("inf")], "malformed-json-record"),
        ("system", 1, "not-a-string"),
    ],
)
def test_wrong_types_beside_the_turns(field: str, value: object, error_class: str) -> None:
    assert refused({**EXAMPLES["trl-plain"], field: value}) == error_class


def test_margin_from_two_scores() -> None:
    assert pair({**EXAMPLES["trl-plain"], "score_chosen": 8.5, "score_rejected": 6}).margin == 2.5
    assert pair({**EXAMPLES["trl-plain"], "score_chosen": 8.5}).margin is None
    assert refused({**EXAMPLES["trl-plain"], "score_chosen": "8", "score_rejected": 6}) == "not-a-number"


def test_answers_that_repeat_the_prompt() -> None:
    system = {"role": "system", "content": "Be brief."}
    chosen, rejected = [system, USER, GOOD], [system, USER, BAD]
    expected = (Message("system", "Be brief."), *PROMPT)
    for record in (
        {"chosen": chosen, "rejected": rejected},
        {"prompt": [system, USER], "chosen": chosen, "rejected": rejected},
        {"prompt": USER["content"], "chosen": chosen, "rejected": rejected},  # as in ultrafeedback_binarized
        {"prompt": USER["content"], "messages": chosen, "chosen": chosen, "rejected": rejected},
    ):
        found = pair(record)
        assert (found.prompt, found.chosen, found.rejected) == (expected, CHOSEN, REJECTED)
    for prompt in ("Another question", [USER]):
        assert refused({"prompt": prompt, "chosen": chosen, "rejected": rejected}) == "different-prompts"


def test_answers_of_several_turns() -> None:
    more = [GOOD, {"role": "user", "content": "And at dusk?"}, {"role": "assistant", "content": "Red."}]
    found = pair({"prompt": [USER], "chosen": more, "rejected": [BAD]})
    assert [message.role for message in found.chosen] == ["assistant", "user", "assistant"]


def test_implicit_prompt_that_ends_with_a_tool() -> None:
    head = [USER, {"role": "assistant", "content": "call"}, {"role": "tool", "content": "result"}]
    found = pair({"chosen": [*head, GOOD], "rejected": [*head, BAD]})
    assert [message.role for message in found.prompt] == ["user", "assistant", "tool"]
    assert (found.chosen, found.rejected) == (CHOSEN, REJECTED)


def test_system_beside_the_conversation() -> None:
    for name in EXAMPLES:
        if BY_NAME[name].kind == "pair":
            assert pair({**EXAMPLES[name], "system": "Be brief."}).prompt == (Message("system", "Be brief."), *PROMPT)
            assert pair({**EXAMPLES[name], "system": ""}).prompt == PROMPT
    twice = {"messages": [{"role": "system", "content": "a"}, USER, GOOD], "system": "b"}
    assert refused(twice) == "wrong-role"


def test_openai_tools() -> None:
    record = json.loads(json.dumps(EXAMPLES["openai-dpo"]))
    record["input"]["tools"] = [{"type": "function"}]
    assert pair(record).tools == '[{"type":"function"}]'


def test_alpaca_parts() -> None:
    record = {
        "system": "s",
        "history": [["a", "b"], ["c", ""]],
        "instruction": "d",
        "input": "e",
        "output": "f",
    }
    assert instruction(record) == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
        ("assistant", ""),
        ("user", "d\ne"),
        ("assistant", "f"),
    ]


@pytest.mark.parametrize(
    ("asked", "given", "prompt"),
    [("a", "b", "a\nb"), ("a", "", "a"), ("a", " \n", "a"), ("", "b", "b"), (" a", None, " a")],
)
def test_instruction_and_input(asked: str, given: str | None, prompt: str) -> None:
    assert instruction({"instruction": asked, "input": given, "output": "x"})[0] == ("user", prompt)


@pytest.mark.parametrize(
    ("change", "error_class"),
    [
        ({"instruction": " ", "input": ""}, "empty-prompt"),
        ({"instruction": 1}, "not-a-string"),
        ({"input": 1}, "not-a-string"),
        ({"output": 1}, "not-a-string"),
        ({"output": None}, "missing-response"),
        ({"history": "earlier"}, "malformed-history"),
        ({"history": [["a"]]}, "malformed-history"),
        ({"history": [["a", "b", "c"]]}, "malformed-history"),
        ({"history": ["ab"]}, "malformed-history"),
        ({"history": [["a", None]]}, "not-a-string"),
        ({"history": [["a", "b"]] * 2000}, "too-many-turns"),
    ],
)
def test_wrong_alpaca(change: dict[str, Any], error_class: str) -> None:
    assert refused({**EXAMPLES["alpaca"], **change}) == error_class


def test_sharegpt_tools() -> None:
    record = {
        "conversations": [
            {"from": "human", "value": "What time is it?"},
            {"from": "function_call", "value": '{"name": "time", "arguments": {}}'},
            {"from": "observation", "value": '{"time": "12:00"}'},
            {"from": "gpt", "value": "Noon."},
        ],
        "tools": '[{"name": "time"}]',
    }
    assert [role for role, _ in instruction(record)] == ["user", "assistant", "tool", "assistant"]
    assert instruction(record)[1][1] == '{"name": "time", "arguments": {}}'
    entry = read_record(record)
    assert entry.tools == '[{"name": "time"}]'
    assert read_record({**record, "tools": "[]"}).tools is None


def test_conversations_without_an_answer() -> None:
    assert refused({"messages": [USER, GOOD, USER]}) == "missing-response"
    assert refused({"messages": []}) == "empty-prompt"
    assert refused({"messages": "hello"}) == "not-a-list"
    assert refused({"messages": [GOOD]}) == "wrong-role"


@pytest.mark.parametrize(
    ("labels", "votes", "winner", "margin"),
    [
        ((1, 1, 1), Votes(3, 0, 0), 1, 1.0),
        ((2, 1, 2), Votes(1, 2, 0), 2, 2 / 3),
        ((0, 1, 1), Votes(2, 0, 1), 1, 2 / 3),
        ((0, 0, 1), Votes(1, 0, 2), 0, None),
        ((0, 1, 2), Votes(1, 1, 1), 0, None),
        ((0, 0, 0), Votes(0, 0, 3), 0, None),
        ((1, 2), Votes(1, 1, 0), 0, None),
        ((1, 0), Votes(1, 0, 1), 0, None),
        ((2,), Votes(0, 1, 0), 2, None),
    ],
)
def test_votes(labels: tuple[int, ...], votes: Votes, winner: int, margin: float | None) -> None:
    record = {key: value for key, value in EXAMPLES["pandalm"].items() if not key.startswith("annotator")}
    record |= {f"annotator{index}": label for index, label in enumerate(labels, 1)}
    entry = read_record(record)
    assert isinstance(entry, Comparison)
    assert entry.votes == votes and entry.votes.winner == winner
    pairs = pairs_of(entry)
    assert len(pairs) == (winner > 0)
    if pairs:
        assert pairs[0].margin == margin
        assert pairs[0].chosen == (entry.first if winner == 1 else entry.second)


@pytest.mark.parametrize(
    ("name", "field", "winners"),
    [
        ("alpaca-eval", "preference", {0: 0, 1: 1, 2.0: 2, 1.5: 0}),
        ("auto-j", "label", {0: 1, 1: 2, 2: 0}),
    ],
)
def test_labels(name: str, field: str, winners: dict[float, int]) -> None:
    for label, winner in winners.items():
        entry = read_record({**EXAMPLES[name], field: label})
        assert isinstance(entry, Comparison) and entry.votes.winner == winner
        assert [found.margin for found in pairs_of(entry)] == [None] * (winner > 0)
    for label in (3, -1, 1.2, None, "1", True, [], 10**400, float("nan")):
        assert refused({**EXAMPLES[name], field: label}) == "unknown-label"


def test_answers_that_are_no_texts() -> None:
    for name, field in (("pandalm", "response1"), ("alpaca-eval", "output_2"), ("auto-j", "response 1")):
        assert refused({**EXAMPLES[name], field: True}) == "not-a-string"


def test_scores_of_completions() -> None:
    def record(*completions: Any) -> dict[str, Any]:
        return {"prompt": "a", "completions": list(completions)}

    entry = read_record(record({"response": "x", "rating": 1}, {"response": "y", "rating": 4}))
    assert isinstance(entry, Ranking) and entry.scores == (1.0, 4.0)
    one = {"response": "x", "score": 1}
    assert refused(record(one, {"response": "y", "rating": 4})) == "not-a-number"
    assert refused(record(one, {"response": "y", "score": "N/A"})) == "not-a-number"
    assert refused(record(one, {"response": "y"})) == "not-a-number"
    assert refused(record(one, {"score": 4})) == "missing-response"
    assert refused(record(one, "y")) == "malformed-completion"
    assert refused(record(one)) == "too-few-responses"
    assert refused(record()) == "too-few-responses"
    assert refused(record(*[one] * 129)) == "too-many-responses"


def test_scores_beside_responses() -> None:
    record = EXAMPLES["scored"]
    assert refused({**record, "scores": [1]}) == "scores-mismatch"
    assert refused({**record, "scores": [1, None]}) == "not-a-number"
    assert refused({**record, "scores": 1}) == "not-a-list"
    assert refused({**record, "responses": ["x", 1]}) == "not-a-string"
    assert refused({**record, "responses": "xy"}) == "not-a-list"


def test_rated_answers() -> None:
    for record in (
        {"messages": [USER, GOOD], "label": False},
        {"prompt": USER["content"], "completion": GOOD["content"], "label": False},
        {"prompt": [USER], "completion": [GOOD], "label": False},
        {"instruction": USER["content"], "output": GOOD["content"], "kto_tag": False},
        {**EXAMPLES["sharegpt"], "kto_tag": False},
    ):
        assert require_shape(record).name == "kto"
        assert refused(record) == "unpaired"
        entry = read_unpaired(record)
        assert (entry.prompt, entry.response, entry.good) == (PROMPT, CHOSEN, False)
        assert read_entry(record) == entry
    with pytest.raises(DocumentError, match="unknown-label"):
        read_unpaired({"messages": [USER, GOOD], "label": 1})
    with pytest.raises(DocumentError, match="mixed-schema"):
        read_unpaired(EXAMPLES["openai"])


def test_what_says_which_is_better_goes_before_instructions() -> None:
    both = {**EXAMPLES["trl-plain"], "response": "x"}
    assert require_shape(both).name == "trl-plain"
    assert require_shape({**EXAMPLES["pandalm"], "output": "reference"}).name == "pandalm"
