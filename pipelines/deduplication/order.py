"""The order of staying: every document that is left gets its number.

``keys`` sorts the documents of one shard by what the recipe's priority says; ``order`` merges one range of all
shards and numbers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.deduplication.earlier import PLACE
from pipelines.deduplication.records import Step, records, split
from pipelines.deduplication.work import CHUNK, Work

SAMPLES = 256  # keys of each shard by which the ranges are cut

ROW_NUMBER = np.dtype([("row", "<u4"), ("number", "<u4")])
HASH = np.dtype([("hash", "<u8", (2,)), ("number", "<u4"), ("shard", "<u4"), ("row", "<u4")])


def run_keys(work: Work, shard: int) -> None:
    """Sort the documents of a shard; in chunks, whose first keys the next step needs to find its range."""
    priority = [(p.column, p.order) for p in work.parameters.priority]
    columns = ["id", "text_hash", *(name for name, _ in priority)]
    tables = list(work.documents(shard, columns))
    width = 8 * len(priority) + 16
    dtype = np.dtype([("key", f"S{width}"), ("hash", "<u8", (2,)), ("row", "<u4")])
    parts = [np.empty(0, dtype)]
    count = 0
    for table in tables:
        row = np.arange(count, count + len(table))
        parts.append(records(dtype, key=_keys(table, priority), hash=_hashes(table.column("text_hash")), row=row))
        count += len(table)
    whole = np.concatenate(parts)
    whole = whole[np.argsort(whole["key"], kind="stable")]
    chunks = [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)]
    writer = work.writer("keys", shard)
    writer.write("keys", dtype, chunks)
    firsts = [_text(chunk["key"][:1], width) for chunk in chunks]
    # Evenly spaced, however large the shard is: the ranges of all shards together are cut by them.
    samples = whole["key"][np.unique(np.linspace(0, max(count - 1, 0), min(count, SAMPLES), dtype=np.int64))]
    writer.commit(documents=count, firsts=firsts, samples=[_text(key, width) for key in samples.reshape(-1, 1)])


def run_order(work: Work, part: int) -> None:
    """Merge one range of all shards' keys; say which number each document has, and where number ``n`` lies."""
    steps = [work.step("keys", shard) for shard in range(work.shards)]
    splitters = _splitters(steps, work.sizes.ranges)
    low, high = splitters[part], splitters[part + 1]
    found, shards, before = [], [], 0
    for shard, step in enumerate(steps):
        inside, smaller = _range(step, low, high)
        found.append(inside)
        shards.append(np.full(len(inside), shard, np.uint32))
        before += smaller
    whole, shard_of = np.concatenate(found), np.concatenate(shards)
    order = np.argsort(whole["key"], kind="stable")
    whole, shard_of = whole[order], shard_of[order]
    number = np.arange(len(whole), dtype=np.int64) + before + work.sizes.earlier
    ids = np.ascontiguousarray(whole["key"]).view(np.uint8).reshape(len(whole), whole["key"].dtype.itemsize)[:, -16:]
    writer = work.writer("order", part)
    rows = records(ROW_NUMBER, row=whole["row"], number=number)
    writer.write("rows", ROW_NUMBER, split(rows, shard_of, work.shards))
    hashes = records(HASH, hash=whole["hash"], number=number, shard=shard_of, row=whole["row"])
    writer.write("hashes", HASH, split(hashes, work.sizes.partition_of(whole["hash"][:, 0]), work.sizes.partitions))
    places = records(PLACE, shard=shard_of, row=whole["row"], id=ids)
    writer.write("places", PLACE, (places[start : start + CHUNK] for start in range(0, len(places), CHUNK)))
    writer.commit(documents=len(whole))


def numbers_of(work: Work, shard: int) -> np.ndarray:
    """Number of each document that is left in a shard, ``uint32[n]``."""
    numbers = np.empty(work.sizes.documents[shard], np.uint32)
    for part in range(work.sizes.ranges):
        rows = work.step("order", part).read("rows", shard)
        numbers[rows["row"]] = rows["number"]
    return numbers


def _keys(table: pa.Table, priority: Sequence[tuple[str, str]]) -> np.ndarray:
    """One string of bytes for each document; their order as bytes is the order of staying."""
    words = [_ordered(table.column(name), order) for name, order in priority]
    ids = np.frombuffer(bytes.fromhex("".join(table.column("id").to_pylist())), np.uint8).reshape(-1, 16)
    key = np.concatenate([*(word.astype(">u8").view(np.uint8).reshape(-1, 8) for word in words), ids], axis=1)
    return np.ascontiguousarray(key).view(f"S{key.shape[1]}").reshape(-1)


def _ordered(column: pa.ChunkedArray, order: str) -> np.ndarray:
    """Unsigned integers in the order of a numeric column; NaN comes behind all numbers, and null last."""
    values = column.cast(pa.float64(), safe=False)
    there = np.asarray(pc.is_valid(values))
    number = np.asarray(pc.fill_null(values, 0.0)) + 0.0  # -0.0 and 0.0 are one
    bits = number.view(np.uint64)
    negative = bits >> np.uint64(63) == 1
    rising = np.where(negative, ~bits, bits | np.uint64(1 << 63))
    ordered: np.ndarray = ~rising if order == "descending" else rising
    last = np.iinfo(np.uint64).max
    return np.where(~there, last, np.where(np.isnan(number), last - np.uint64(1), ordered))


def _hashes(column: pa.ChunkedArray) -> np.ndarray:
    return np.frombuffer(b"".join(column.to_pylist()), "<u8").reshape(-1, 2)


def _text(key: np.ndarray, width: int) -> str:
    return bytes(key.tobytes()).ljust(width, b"\0").hex()


def _stored_keys(step: Step, name: str) -> np.ndarray:
    return np.array([bytes.fromhex(key) for key in step.facts[name]], step.dtype("keys")["key"])


def _splitters(steps: list[Step], ranges: int) -> list[Any]:
    """Bounds of the ranges, from samples of all shards' keys; None is before and behind all."""
    samples = [_stored_keys(step, "samples") for step in steps]
    weights = [np.full(len(keys), step.facts["documents"] / max(len(keys), 1)) for step, keys in
               zip(steps, samples, strict=True)]  # fmt: skip
    keys, weight = np.concatenate(samples), np.concatenate(weights)
    if not len(keys):
        return [None] * (ranges + 1)
    order = np.argsort(keys, kind="stable")
    before = np.cumsum(weight[order])
    places = np.searchsorted(before, before[-1] * np.arange(1, ranges) / ranges)
    return [None, *keys[order][np.minimum(places, len(keys) - 1)], None]


def _range(step: Step, low: Any, high: Any) -> tuple[np.ndarray, int]:
    """A shard's documents of one range, and the number of those before it."""
    firsts, sizes = _stored_keys(step, "firsts"), step.sizes("keys")
    key = step.dtype("keys")["key"]
    bounds = []
    for bound, otherwise in ((low, 0), (high, sum(sizes))):
        if bound is None:
            bounds.append(otherwise)
            continue
        chunk = max(int(np.searchsorted(firsts, np.array(bound, key), "right")) - 1, 0)
        inside = np.searchsorted(step.read("keys", chunk)["key"], np.array(bound, key)) if sizes else 0
        bounds.append(sum(sizes[:chunk]) + int(inside))
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    parts = [np.empty(0, step.dtype("keys"))]
    for chunk, (start, end) in enumerate(pairwise(starts.tolist())):
        if start < bounds[1] and end > bounds[0]:
            parts.append(step.read("keys", chunk)[max(bounds[0] - start, 0) : bounds[1] - start])
    return np.concatenate(parts), bounds[0]
