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
    if "prompt" in table.schema.names:
        prompts = table.column("prompt").to_pylist()
    else:
        prompts = [messages[:-1] for messages in table.column("messages").to_pylist()]
    return pa.array([_joined(turns) for turns in prompts], pa.large_string())


def _joined(turns: list[dict[str, Any]]) -> str:
    return JOIN.join(turn["content"] for turn in turns)
