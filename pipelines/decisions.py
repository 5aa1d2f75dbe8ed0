"""What the comparison decided about the documents of one shard, in step with its batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

import pipelines.ledger as ledger
from curation.duplicates.keep import EXACT, KEPT
from pipelines.deduplication.choose import OUTCOME
from pipelines.deduplication.records import Step
from pipelines.deduplication.work import decisions_folder
from pipelines.hygiene.decisions import HygieneDecisions
from pipelines.ledger import DUPLICATE, Resolution, ids_at, miscounted
from pipelines.plan import Plan
from pipelines.recipe import Hygiene
from pipelines.storage import Storage


class Decisions(Protocol):
    """Decisions about the documents that are left of a shard, in their order."""

    def take(self, count: int) -> Resolution:
        """The decisions about the next documents."""

    def check(self) -> None:
        """After the last batch: were these the documents that were decided about?"""


@dataclass
class ShardDecisions:
    """Decisions of a deduplication.

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
        return _resolution(self.outcome[bounds[0] : bounds[1]], first, count, self)

    def check(self) -> None:
        """After the last batch: were these the documents that were decided about?"""
        if self.documents is not None and self._first != self.documents:
            raise miscounted(self.documents, self._first)


def shard_decisions(plan: Plan, storage: Storage, number: int) -> Decisions:
    """Open what was decided about the shard at a place in the plan."""
    comparison = plan.recipe.recipe.comparison
    if comparison is None:
        return ShardDecisions(None, None, np.empty(0, OUTCOME), [])
    step = Step(storage, decisions_folder(plan))
    datasets = [f"{name}@{version}" for name, version in step.facts["datasets"]]
    if isinstance(comparison, Hygiene):
        return HygieneDecisions(step.read("outcome", number), step.read("split", number), datasets)
    documents = step.facts["documents"][number]
    return ShardDecisions(float(comparison.threshold), documents, step.read("outcome", number), datasets)


def set_summary(plan: Plan, storage: Storage) -> dict[str, Any] | None:
    """What hygiene found about the set as a whole; None for runs without it."""
    if plan.recipe.recipe.hygiene is None:
        return None
    summary: dict[str, Any] = Step(storage, decisions_folder(plan)).facts["summary"]
    return summary


def _resolution(outcome: np.ndarray, first: int, count: int, given: ShardDecisions) -> Resolution:
    rows = outcome["row"].astype(np.int64) - first
    gone = outcome["kind"] != KEPT

    def spread(column: str, default: int) -> np.ndarray:
        values = np.full(count, default, np.int32)
        values[rows] = outcome[column]
        return values

    def ids(column: str, there: np.ndarray) -> pa.Array:
        whole = np.zeros((count, 16), np.uint8)
        whole[rows] = outcome[column]
        known = np.zeros(count, bool)
        known[rows] = there
        return ids_at(whole, known)

    rule: np.ndarray = np.full(count, None, object)
    rule[rows[gone]] = np.where(outcome["kind"][gone] == EXACT, "exact", "near")
    lost = np.array([name is not None for name in rule], bool)
    shared, union = spread("shared", 0), spread("union", 0)
    similarity = np.where(lost, shared / np.maximum(union, 1), np.nan)
    return Resolution(
        stage="deduplication",
        verdict=np.where(lost, DUPLICATE, ledger.KEPT).astype(object),
        rule=rule,
        value=similarity,
        threshold=np.where(lost, np.nan if given.threshold is None else given.threshold, np.nan),
        witness=ids("witness", gone),
        dataset=pa.array([None, *given.datasets], pa.string()).take(pa.array(spread("origin", 0))),
        shared=shared,
        union=union,
        cluster=ids("cluster", outcome["cluster_size"] > 1),
        cluster_size=spread("cluster_size", 1),
        copies=spread("copies", 1),
    )
