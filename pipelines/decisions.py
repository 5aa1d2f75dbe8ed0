"""What deduplication decided about the documents of one shard, in step with its batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.duplicates.keep import EXACT, KEPT
from curation.errors import RunError
from pipelines.deduplication.choose import OUTCOME
from pipelines.deduplication.records import Step
from pipelines.deduplication.steps import decisions_folder
from pipelines.ledger import Resolution
from pipelines.plan import Plan
from pipelines.storage import Storage


@dataclass
class ShardDecisions:
    """Decisions about the documents that are left of a shard, in their order.

    Attributes:
        threshold: of the similarity, None where the recipe does not deduplicate.
        documents: how many there are; None where nobody counted.
        outcome: ``OUTCOME[m]``, rows rising, of those that are not simply kept.
        datasets: names of the earlier corpora that ``origin`` counts.
    """

    threshold: float | None
    documents: int | None
    outcome: np.ndarray
    datasets: list[str]
    _first: int = 0

    def take(self, count: int) -> Resolution:
        """The decisions about the next documents."""
        first, self._first = self._first, self._first + count
        bounds = np.searchsorted(self.outcome["row"], [first, first + count])
        return _resolution(self.outcome[bounds[0] : bounds[1]], first, count, self.datasets)

    def check(self) -> None:
        """After the last batch: were these the documents that were decided about?"""
        if self.documents is not None and self._first != self.documents:
            raise RunError(f"decisions speak of {self.documents} documents, {self._first} are left; run again")


def shard_decisions(plan: Plan, storage: Storage, number: int) -> ShardDecisions:
    """Open what was decided about the shard at a place in the plan."""
    deduplication = plan.recipe.recipe.deduplication
    if deduplication is None:
        return ShardDecisions(None, None, np.empty(0, OUTCOME), [])
    step = Step(storage, decisions_folder(plan))
    datasets = [f"{name}@{version}" for name, version in step.facts["datasets"]]
    documents = step.facts["documents"][number]
    return ShardDecisions(float(deduplication.threshold), documents, step.read("outcome", number), datasets)


def _resolution(outcome: np.ndarray, first: int, count: int, datasets: list[str]) -> Resolution:
    rows = outcome["row"].astype(np.int64) - first
    gone = outcome["kind"] != KEPT

    def spread(column: str, default: int) -> np.ndarray:
        values = np.full(count, default, np.int32)
        values[rows] = outcome[column]
        return values

    exact = np.zeros(count, bool)
    exact[rows] = outcome["kind"] == EXACT
    names = pa.array([None, *datasets], pa.string())
    return Resolution(
        witness=_ids(outcome["witness"][gone], rows[gone], count),
        dataset=names.take(pa.array(spread("origin", 0))),
        exact=exact,
        shared=spread("shared", 0),
        union=spread("union", 0),
        cluster=_ids(outcome["cluster"][outcome["cluster_size"] > 1], rows[outcome["cluster_size"] > 1], count),
        cluster_size=spread("cluster_size", 1),
        copies=spread("copies", 1),
    )


_HEX = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), np.uint8).reshape(256, 2)


def _ids(ids: np.ndarray, rows: np.ndarray, count: int) -> pa.Array:
    """Ids as text at some rows, null elsewhere."""
    text = _HEX[ids].reshape(len(ids), 32)
    offsets = pa.py_buffer((32 * np.arange(len(ids) + 1)).astype(np.int32))
    found = pa.StringArray.from_buffers(len(ids), offsets, pa.py_buffer(np.ascontiguousarray(text)))
    place = np.full(count, -1, np.int64)
    place[rows] = np.arange(len(ids))
    return found.take(pa.array(place, mask=place < 0))
