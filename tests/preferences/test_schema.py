"""The tables: what trainers and datasets make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.preferences import (
    INSTRUCTIONS,
    PREFERENCES,
    Instruction,
    Message,
    Pair,
    instruction_table,
    pair_digest,
    preference_table,
    read_record,
    require_shape,
)
from curation.preferences.schema import instruction_row, preference_row
from tests.preferences.examples import CHOSEN, PROMPT, REJECTED, answers, prompts

PAIR = Pair(PROMPT, CHOSEN, REJECTED, 0.5, "r", language="en", license="MIT", source="web", tools="[{}]")
ROLES = {"system", "user", "assistant", "tool"}


def is_messages(value: Any) -> bool:
    """What TRL calls conversational: a list of messages that have a role and a text."""
    return bool(value) and all(
        set(message) == {"role", "content"} and message["role"] in ROLES and isinstance(message["content"], str)
        for message in value
    )


@pytest.mark.parametrize(("schema", "name"), [(PREFERENCES, "preferences/1"), (INSTRUCTIONS, "instructions/1")])
def test_schemas(schema: pa.Schema, name: str) -> None:
    assert schema.metadata == {b"gristmill.schema": name.encode()}
    assert all(field.metadata[b"description"] for field in schema)


def test_columns() -> None:
    assert PREFERENCES.names == [
        "pair_id", "prompt", "chosen", "rejected", "margin", "ranking_id", "tools", "source", "language", "license",
        "split",
    ]  # fmt: skip
    assert INSTRUCTIONS.names == ["id", "messages", "tools", "source", "language", "license", "split"]


def test_datasets_reads_preferences(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    bare = Pair(PROMPT, CHOSEN, REJECTED)
    pq.write_table(preference_table([PAIR, bare], ["a", "b"]), tmp_path / "pairs.parquet")
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "pairs.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows.column_names == PREFERENCES.names
    assert rows[0] == preference_row(PAIR, "a") and rows[1] == preference_row(bare, "b")
    for row in rows:
        assert all(is_messages(row[name]) for name in ("prompt", "chosen", "rejected"))
        assert row["prompt"][-1]["role"] == "user"
        assert row["chosen"][0]["role"] == row["rejected"][0]["role"] == "assistant"


def test_datasets_reads_instructions(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    entry = Instruction(PROMPT + CHOSEN, tools='[{"name":"x"}]')
    pq.write_table(instruction_table([entry], ["a"]), tmp_path / "rows.parquet")
    (row,) = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "rows.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert row == instruction_row(entry, "a") and is_messages(row["messages"])
    assert json.loads(row["tools"]) == [{"name": "x"}]


def test_no_rows() -> None:
    assert preference_table([], []).schema == PREFERENCES
    assert instruction_table([], []).schema == INSTRUCTIONS


@given(prompts(), answers(), answers(), st.none() | st.floats(-10, 10), st.sampled_from([None, "r"]))
def test_rows_are_read_back(
    prompt: tuple[Message, ...],
    chosen: tuple[Message, ...],
    rejected: tuple[Message, ...],
    margin: float | None,
    ranking_id: str | None,
) -> None:
    pair = Pair(prompt, chosen, rejected, margin, ranking_id, source="web", license="MIT")
    table = preference_table([pair], [pair_digest(pair)])
    (row,) = table.to_pylist()
    assert require_shape(row).name == "trl-conversational"
    assert read_record(json.loads(json.dumps(row))) == pair


@given(prompts(), answers())
def test_instructions_are_read_back(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> None:
    entry = Instruction(prompt + answer, source_id="7", language="zh")
    (row,) = instruction_table([entry], ["7"]).to_pylist()
    assert require_shape(row).name == "openai"
    assert read_record(row) == entry
