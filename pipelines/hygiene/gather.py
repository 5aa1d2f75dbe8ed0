"""What is compared of the entries that do not stand alone, computed where their texts lie and cut by cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.batch import Batch
from curation.duplicates.shingles import ShingleSets, shingle_sets
from curation.pair_sets.numbering import from_binary
from curation.pair_stages.canonical import INSTRUCTION, PAIR, Side
from curation.pair_stages.sides import sides_of, words_of
from pipelines.corpora import CORPORA
from pipelines.deduplication.records import records, split
from pipelines.deduplication.work import Work
from pipelines.hygiene.parameters import hygiene_of
from pipelines.hygiene.sketch import digests_of
from pipelines.storage import Storage

# An entry.  Arrays have a value for each side, or for each answer; an instruction's last ones are empty.  ``origin``:
# 0 for this run, else the earlier corpus.  ``sizes``: shingles of each side, which lie in the file ``values``.
ENTRY = np.dtype(
    [
        ("row", "<u4"), ("number", "<u4"), ("cluster", "<u4"), ("id", "u1", (16,)), ("origin", "<u2"),
        ("digest", "<u8", (3, 2)), ("words", "<u4", (2,)), ("margin", "<f8"), ("sizes", "<u4", (3,)),
    ]
)  # fmt: skip
VALUE = np.dtype("<u8")
_BUCKET_ENTRIES = 1 << 12


def buckets(work: Work) -> int:
    """Into how many parts clusters are cut."""
    return 1 + work.sizes.own // _BUCKET_ENTRIES


def sides_compared(work: Work) -> tuple[Side, ...]:
    """Sides of an entry, the prompt first."""
    return PAIR if work.plan.recipe.recipe.kind == "preferences" else INSTRUCTION


@dataclass(frozen=True)
class _Found:
    """Some entries and the shingles of their sides, entry after entry and side after side."""

    entries: np.ndarray
    values: np.ndarray


def run_gather(work: Work, holder: int) -> None:
    """Fetch the entries of one holder."""
    wanted = _wanted(work, holder)
    batches = _own(work, holder, wanted) if holder < work.shards else _earlier(work, holder, wanted)
    count = buckets(work)
    entries: list[list[np.ndarray]] = [[np.empty(0, ENTRY)] for _ in range(count)]
    values: list[list[np.ndarray]] = [[np.empty(0, VALUE)] for _ in range(count)]
    for found in batches:
        bucket = (found.entries["cluster"] % count).astype(np.int64)
        sizes = found.entries["sizes"].sum(axis=1, dtype=np.int64)
        for number, (some, shingles) in enumerate(
            zip(split(found.entries, bucket, count), split(found.values, np.repeat(bucket, sizes), count), strict=True)
        ):
            entries[number].append(some)
            values[number].append(shingles)
    writer = work.writer("gather", holder)
    writer.write("entries", ENTRY, (np.concatenate(parts) for parts in entries))
    writer.write("values", VALUE, (np.concatenate(parts) for parts in values))
    writer.commit()


def _wanted(work: Work, holder: int) -> np.ndarray:
    """Entries that take part, ``CLUSTER``, rows rising; not those that go for what their prompt is like."""
    found = work.step("clusters", 0).read("clusters", holder)
    gone = found["leaks"] > 0
    if hygiene_of(work).overlap == "drop":
        gone |= found["origin"] > 0
    return np.sort(found[~gone], order="row")


def _own(work: Work, shard: int, wanted: np.ndarray) -> Iterator[_Found]:
    sides = sides_compared(work)
    columns = ["id", "text", *(f"{side}_digest" for side in sides)]
    if "chosen" in sides:
        columns.append("preference_margin")
    first = 0
    for table in work.documents(shard, columns) if len(wanted) else ():
        inside = _between(wanted, first, len(table))
        if len(inside):
            taken = table.take(pa.array(inside["row"].astype(np.int64) - first))
            digests = [from_binary(taken.column(f"{side}_digest").combine_chunks()) for side in sides]
            margin = taken.column("preference_margin") if "chosen" in sides else None
            yield _found(work, Batch(taken), inside, sides, digests, margin, origin=0)
        first += len(table)


def _earlier(work: Work, holder: int, wanted: np.ndarray) -> Iterator[_Found]:
    """Earlier entries of the same kind; a document has no sides and takes no part."""
    part = work.earlier.parts[holder - work.shards]
    kind, sides = CORPORA[work.plan.recipe.recipe.kind], sides_compared(work)
    datasets = [tuple(dataset) for dataset in work.step("clusters", 0).facts["datasets"]]
    origin = 1 + datasets.index((part.dataset, part.version))
    with Storage(part.uri).open(part.file) as stream:
        file, first = pq.ParquetFile(stream), 0
        if file.schema_arrow.metadata.get(b"gristmill.schema") != kind.schema.metadata[b"gristmill.schema"]:
            return
        for group in range(file.num_row_groups if len(wanted) else 0):
            count = file.metadata.row_group(group).num_rows
            inside = _between(wanted, first, count)
            if len(inside):
                columns = [kind.id_name, *kind.text_columns, "tools"]
                rows = file.read_row_group(group, columns=columns).take(
                    pa.array(inside["row"].astype(np.int64) - first)
                )
                batch = _batch(rows.to_pylist(), kind.id_name, kind.text)
                digests = [from_binary(digests_of(batch, side)) for side in sides]
                yield _found(work, batch, inside, sides, digests, None, origin)
            first += count


def _batch(rows: list[dict[str, Any]], id_name: str, text: Any) -> Batch:
    columns = {
        "id": pa.array([row[id_name] for row in rows], pa.string()),
        "text": pa.array([text(row) for row in rows], pa.large_string()),
        "tools": pa.array([row["tools"] for row in rows], pa.string()),
    }
    return Batch(pa.table(columns))


def _between(wanted: np.ndarray, first: int, count: int) -> np.ndarray:
    return wanted[np.searchsorted(wanted["row"], first) : np.searchsorted(wanted["row"], first + count)]


def _found(
    work: Work, batch: Batch, wanted: np.ndarray, sides: tuple[Side, ...], digests: list[np.ndarray],
    margin: pa.ChunkedArray | None, origin: int,
) -> _Found:  # fmt: skip
    found = batch.feature(sides_of)
    sets = [shingle_sets(found.text(side), work.parameters.definition) for side in sides]
    ids = bytes.fromhex("".join(batch.column("id").to_pylist()))
    entries = records(
        ENTRY,
        row=wanted["row"], number=wanted["number"], cluster=wanted["cluster"], origin=origin,
        digest=0, words=0, sizes=0,
        id=np.frombuffer(ids, np.uint8).reshape(-1, 16),
        margin=np.full(len(batch), np.nan) if margin is None else margin.to_numpy(),
    )  # fmt: skip
    for place, (side, digest, own) in enumerate(zip(sides, digests, sets, strict=True)):
        entries["digest"][:, place], entries["sizes"][:, place] = digest, own.sizes
        if place:
            entries["words"][:, place - 1] = words_of(found, side)
    return _Found(entries, _interleaved(sets))


def _interleaved(sets: list[ShingleSets]) -> np.ndarray:
    """All sets, entry after entry."""
    count = len(sets[0])
    order = np.arange(count * len(sets)).reshape(len(sets), count).T.reshape(-1)
    return ShingleSets.concatenate(sets).take(order).values


@dataclass(frozen=True)
class Gathered:
    """Entries of some clusters, all of each.

    Attributes:
        entries: ``ENTRY[n]``, in the order of staying.
        holder: ``int64[n]``.
        sets: of each side, by entry.
    """

    entries: np.ndarray
    holder: np.ndarray
    sets: list[ShingleSets]


def gathered(work: Work, bucket: int) -> Gathered:
    """Everything that lies in one bucket."""
    parts, values = [np.empty(0, ENTRY)], [np.empty(0, VALUE)]
    for holder in range(work.holders):
        step = work.step("gather", holder)
        parts.append(step.read("entries", bucket))
        values.append(step.read("values", bucket))
    holders = np.repeat(np.arange(work.holders), [len(part) for part in parts[1:]])
    entries = np.concatenate(parts)
    order = np.argsort(entries["number"], kind="stable")
    sizes, sides = entries["sizes"].astype(np.int64), len(sides_compared(work))
    flat = sizes[:, :sides].reshape(-1)
    whole = ShingleSets(np.concatenate([[0], np.cumsum(flat)]).astype(np.int64), np.concatenate(values))
    return Gathered(entries[order], holders[order], [whole.take(order * sides + side) for side in range(sides)])
