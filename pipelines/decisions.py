"""What deduplication decided, stored batch by batch in step with the measurements of every shard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.errors import RunError
from pipelines.inputs import Shard
from pipelines.ledger import Resolution
from pipelines.plan import Plan
from pipelines.storage import Storage

FILE = "decisions.arrow"
SCHEMA = pa.schema(
    [
        ("witness", pa.string()),
        ("exact", pa.bool_()),
        ("shared", pa.int32()),
        ("union", pa.int32()),
        ("cluster", pa.string()),
        ("cluster_size", pa.int32()),
        ("copies", pa.int32()),
    ]
)


def folder_of(plan: Plan) -> str:
    """Where the decisions of a plan lie."""
    return f"deduplication/{plan.deduplication_key()}"


def store(plan: Plan, storage: Storage, layout: Sequence[tuple[str, Sequence[int]]], table: pa.Table) -> None:
    """Commit decisions.

    Args:
        layout: identity of each shard in the plan's order, with the number of documents in each of its batches.
        table: all documents in that order, with the columns of ``SCHEMA``.
    """
    folder = folder_of(plan)
    table = table.cast(SCHEMA).combine_chunks()
    first = 0
    with storage.writer(f"{folder}/{FILE}") as stream:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(stream, SCHEMA, options=options) as writer:
            for _, sizes in layout:
                for size in sizes:
                    part = table.slice(first, size).combine_chunks()
                    writer.write_batch(_one_batch(part))
                    first += size
    content = {"key": plan.deduplication_key(), "shards": [[name, len(sizes)] for name, sizes in layout]}
    storage.commit(folder, content, [f"{folder}/{FILE}"])


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=SCHEMA)


class Decisions:
    """Reads the decisions of a plan.

    Attributes:
        threshold: of the similarity, None where the recipe does not deduplicate.
    """

    def __init__(self, threshold: float | None, reader: Any, first: dict[str, int]) -> None:
        self.threshold = threshold
        self._reader = reader
        self._first = first

    @staticmethod
    def load(plan: Plan, storage: Storage) -> Decisions:
        """Open what was committed for a plan."""
        deduplication = plan.recipe.recipe.deduplication
        if deduplication is None:
            return Decisions(None, None, {})
        return _load(storage.uri, folder_of(plan), float(deduplication.threshold))

    def of_batch(self, shard: Shard, index: int, batch: Batch) -> Resolution:
        """What became of the documents that one batch of a shard has left."""
        count = len(batch)
        if self._reader is None:
            return _all_kept(count)
        columns = self._reader.get_batch(self._first[shard.identity] + index)
        if columns.num_rows != count:
            raise RunError(f"decisions speak of {columns.num_rows} documents, {count} are left; run again")
        return Resolution(
            witness=columns.column("witness"),
            exact=np.asarray(columns.column("exact").to_numpy(zero_copy_only=False), bool),
            shared=columns.column("shared").to_numpy(),
            union=columns.column("union").to_numpy(),
            cluster=columns.column("cluster"),
            cluster_size=columns.column("cluster_size").to_numpy(),
            copies=columns.column("copies").to_numpy(),
        )


@lru_cache(maxsize=2)
def _load(uri: str, folder: str, threshold: float) -> Decisions:
    storage = Storage(uri)
    manifest = storage.manifest(folder)
    if manifest is None:
        raise RunError(f"{folder} holds no decisions; run again")
    first, total = {}, 0
    for identity, batches in manifest["shards"]:
        first[identity] = total
        total += batches
    name = f"{folder}/{FILE}"
    source = pa.memory_map(storage.path(name)) if storage.local else storage.open(name)
    return Decisions(threshold, pa.ipc.open_file(source), first)


def _all_kept(count: int) -> Resolution:
    zeros, ones = np.zeros(count, np.int32), np.ones(count, np.int32)
    nulls = pa.nulls(count, pa.string())
    return Resolution(nulls, np.zeros(count, bool), zeros, zeros, nulls, ones, ones)
