"""What a run publishes of the entries that it keeps, by the kind of its recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from curation.batch import Batch
from curation.pair_stages.canonical import PAIR, parse
from curation.preferences.messages import as_dicts
from curation.preferences.schema import INSTRUCTIONS, PREFERENCES
from pipelines.ledger import Resolution
from pipelines.tables import CORPUS


@dataclass(frozen=True)
class Corpus:
    """A kind of corpus.

    Attributes:
        schema: of its files.
        table: rows of a batch that are kept, given also what deduplication decided and the shard's name.
        id_name: column with the ids.
        text_columns: what ``text`` needs of a row.
        text: of a row, as the stages saw it.
    """

    schema: pa.Schema
    table: Callable[[Batch, Resolution, str], pa.Table]
    id_name: str
    text_columns: tuple[str, ...]
    text: Callable[[Mapping[str, Any]], str]


def _documents(batch: Batch, resolution: Resolution, shard: str) -> pa.Table:
    count = len(batch)
    columns: dict[str, Any] = {name: batch.table.column(name) for name in batch.table.column_names}
    columns["source"] = pa.array([shard] * count, pa.string())
    columns["cluster_size"] = pa.array(resolution.cluster_size, pa.int32())
    columns["copies"] = pa.array(resolution.copies, pa.int32())
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in CORPUS]
    return pa.Table.from_arrays(arrays, schema=CORPUS).filter(pa.array(resolution.kept))


def _preferences(batch: Batch, resolution: Resolution, shard: str) -> pa.Table:
    entries = [parse(text) for text in batch.text.to_pylist()]
    columns = _origin(batch, resolution, shard) | {
        "pair_id": batch.column("id"),
        "margin": batch.column("margin"),
        "ranking_id": batch.column("ranking_id"),
    }
    for side in ("prompt", "chosen", "rejected"):
        turns = [as_dicts(entry[side]) for entry in entries]  # type: ignore[index]
        columns[side] = pa.array(turns, PREFERENCES.field(side).type)
    return _table(columns, PREFERENCES).filter(pa.array(resolution.kept))


def _instructions(batch: Batch, resolution: Resolution, shard: str) -> pa.Table:
    entries = [parse(text) for text in batch.text.to_pylist()]
    turns = [as_dicts([*entry["prompt"], *entry["response"]]) for entry in entries]
    columns = _origin(batch, resolution, shard) | {
        "id": batch.column("id"),
        "messages": pa.array(turns, INSTRUCTIONS.field("messages").type),
    }
    return _table(columns, INSTRUCTIONS).filter(pa.array(resolution.kept))


def _origin(batch: Batch, resolution: Resolution, shard: str) -> dict[str, Any]:
    """Where entries are from (the name of the file, where nothing says it), and what they are for."""
    stated = batch.column("stated_source").fill_null(shard)
    split = resolution.more.get("split", pa.nulls(len(batch), pa.string()))
    return {
        "source": stated, "split": split, **{name: batch.column(name) for name in ("language", "license", "tools")}
    }  # fmt: skip


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([columns[field.name].cast(field.type) for field in schema], schema=schema)


_MESSAGES = ("messages",)


def _entry_text(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The canonical JSON of an entry (see :mod:`curation.pair_stages.canonical`)."""
    entry = {name: row[name] for name in columns}
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


CORPORA = {
    "corpus": Corpus(CORPUS, _documents, "id", ("text",), lambda row: cast(str, row["text"])),
    "preferences": Corpus(PREFERENCES, _preferences, "pair_id", PAIR, lambda row: _entry_text(row, PAIR)),
    "instructions": Corpus(INSTRUCTIONS, _instructions, "id", _MESSAGES, lambda row: _entry_text(row, _MESSAGES)),
}
