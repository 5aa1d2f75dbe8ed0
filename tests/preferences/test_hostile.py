"""Whatever a record is: an entry or a DocumentError, never anything else, and soon."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import DocumentError
from curation.preferences import (
    ColumnMapping,
    Comparison,
    Pair,
    Ranking,
    instruction_digest,
    instruction_table,
    pair_digest,
    pairs_of,
    preference_table,
    prompt_digest,
    read_mapped,
    read_record,
    read_unpaired,
    recognise,
)
from tests.preferences.examples import EXAMPLES

WORDS = [
    "user",
    "human",
    "assistant",
    "gpt",
    "tool",
    "system",
    "text",
    "\n\nHuman: a\n\nAssistant: b",
    "",
    " ",
    "\ud800",
]
KEYS = sorted(
    {key for example in EXAMPLES.values() for key in example}
    | {"system", "tools", "margin", "score_chosen", "score_rejected", "id", "license", "kto_tag", "role", "content"}
    | {"from", "value", "tool_calls", "function_call", "type", "response", "score", "completion", "ranking_id"}
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 2, 1.5, 10**400, -(10**3000)])
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
_keys = st.sampled_from(KEYS) | st.text(max_size=3)
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=5),
    max_leaves=20,
)
MAPPINGS = [
    ColumnMapping(prompt="prompt", chosen="chosen", rejected="rejected", margin="margin", tools="tools", id="id"),
    ColumnMapping(chosen="chosen", rejected="rejected", system="system"),
    ColumnMapping(prompt="instruction", input="input", history="history", responses="output", scores="scores"),
    ColumnMapping(prompt="prompt", responses="completions.*.response", scores="completions.*.score"),
    ColumnMapping(prompt="conversations.0.value", response="conversations.-1.value", license="license"),
    ColumnMapping(messages="messages", system="system"),
]


def read_all_ways(record: Any) -> None:
    """Read a record every way there is, and take what comes out as far as a table."""
    recognise(record)
    for read in (read_record, read_unpaired, *(_mapped(mapping) for mapping in MAPPINGS)):
        try:
            entry = read(record)
        except DocumentError as error:
            assert error.error_class and "\n" not in error.detail and len(error.detail) < 300
            error.detail.encode()
            continue
        if isinstance(entry, Pair | Ranking | Comparison):
            pairs = pairs_of(entry)
            preference_table(pairs, [pair_digest(pair) for pair in pairs])
            prompt_digest(entry.prompt)
        elif hasattr(entry, "messages"):
            instruction_table([entry], [instruction_digest(entry)])


def _mapped(mapping: ColumnMapping) -> Any:
    return lambda record: read_mapped(record, mapping)


@given(values)
def test_any_value(record: Any) -> None:
    read_all_ways(record)


@settings(max_examples=400)
@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_examples_with_something_wrong(name: str, data: st.DataObject) -> None:
    record = json.loads(json.dumps(EXAMPLES[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        spot = record
        while True:
            keys = list(spot) if isinstance(spot, dict) else list(range(len(spot)))
            key = data.draw(st.sampled_from(keys)) if keys else None
            if key is None or not isinstance(spot[key], dict | list) or data.draw(st.booleans()):
                break
            spot = spot[key]
        if isinstance(spot, dict) and (key is None or data.draw(st.booleans())):
            key = data.draw(st.sampled_from(KEYS))
        if key is not None:
            spot[key] = data.draw(values)
    read_all_ways(record)


def deep(levels: int, wrap: str) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value] if wrap == "list" else {"messages": value}
    return value


@pytest.mark.parametrize("wrap", ["list", "object"])
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_deep_values(name: str, wrap: str) -> None:
    value = deep(100_000, wrap)
    read_all_ways(value)
    for field in [*EXAMPLES[name], "tools", "system", "id", "history", "margin"]:
        read_all_ways({**EXAMPLES[name], field: value})
    call = {"role": "assistant", "content": "", "tool_calls": [value]}
    read_all_ways({"messages": [{"role": "user", "content": "a"}, call]})


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_ten_megabytes(name: str) -> None:
    for unit in ("x", "\n\nHuman: ", "\n", "\ud800", "，"):
        long = unit * (10_000_000 // len(unit))
        for field in [*EXAMPLES[name], "id", "tools"]:
            read_all_ways({**EXAMPLES[name], field: long})
        read_all_ways({long: 1, **EXAMPLES[name]})
        read_all_ways({"messages": [{"role": long, "content": long}]})


def test_long_lists() -> None:
    many = list(range(1_000_000))
    for name, example in EXAMPLES.items():
        for field in example:
            read_all_ways({**EXAMPLES[name], field: many})
