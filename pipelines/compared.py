"""The text by which documents and entries are compared: of a document all of it, of an entry its prompt."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curation.batch import Batch
from curation.pair_stages.sides import JOIN, sides_of


def prompts_of(batch: Batch) -> pa.LargeStringArray:
    """The prompt of each entry, its turns joined by a blank line."""
    return batch.feature(sides_of).text("prompt")


def published_columns(schema: pa.Schema) -> tuple[str, list[str]]:
    """Of a published file: the column with the ids, and those that the text is made of."""
    if "text" in schema.names:
        return "id", ["text"]
    return ("pair_id", ["prompt"]) if "prompt" in schema.names else ("id", ["messages"])


def published_texts(table: pa.Table | pa.RecordBatch) -> pa.Array:
    """The compared texts of some published rows."""
    if "text" in table.schema.names:
        column = table.column("text")
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.array([_joined(entry_prompt(row)) for row in table.to_pylist()], pa.large_string())


def entry_prompt(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns of the prompt of a published entry."""
    turns: list[dict[str, Any]] = row["prompt"] if "prompt" in row else row["messages"][:-1]
    return turns


def _joined(turns: list[dict[str, Any]]) -> str:
    return JOIN.join(turn["content"] for turn in turns)
