"""What hygiene decided about the entries of one shard, as stored and as the ledger takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.hygiene.judge import CYCLE, EXACT, NEAR, NONE
from pipelines.ledger import DROPPED, DUPLICATE, KEPT, Resolution, ids_at, miscounted

BALANCE, LEAK, OVERLAP = range(CYCLE + 1, CYCLE + 4)
RULES: tuple[Any, ...] = (
    None,
    "exact",
    "near",
    "label-conflict",
    "preference-cycle",
    "length-balance",
    "held-out-leak",
    "prompt-overlap",
)
STAGE = "hygiene"
DROPPING = RULES[3:]  # the others are repetitions

# An entry that is not simply kept and alone.  Origins count earlier corpora from 1; 0 is this run.
OUTCOME = np.dtype(
    [
        ("row", "<u4"), ("code", "u1"), ("value", "<f8"), ("threshold", "<f8"), ("witness", "u1", (16,)),
        ("origin", "<u2"), ("shared", "<u4"), ("union", "<u4"),
        ("contradiction", "u1"), ("contradicts", "u1", (16,)),
        ("overlap", "u1", (16,)), ("overlap_origin", "<u2"), ("overlap_shared", "<u4"), ("overlap_union", "<u4"),
        ("cluster", "u1", (16,)), ("cluster_size", "<u4"), ("copies", "<u4"),
    ]
)  # fmt: skip
SPLIT = np.dtype("u1")
SIDES = (None, "train", "held-out")
NO_SPLIT, TRAIN, HELD_OUT = range(3)

# Columns of the ledger that runs with hygiene have besides.
COLUMNS = (
    ("split", pa.string(), "train or held-out; null where the set is not split"),
    ("contradiction", pa.string(), "label-conflict or preference-cycle: what the pair is part of, kept or not"),
    ("contradicts", pa.string(), "id of a pair that says the opposite, or of the next one on a cycle"),
    ("overlap", pa.string(), "id of a text of an earlier corpus that the prompt is most like"),
    ("overlap_dataset", pa.string(), "the corpus of that text, name@version"),
    ("overlap_similarity", pa.float64(), "exact Jaccard similarity with it"),
)


def repeats(outcome: np.ndarray) -> np.ndarray:
    """Which entries repeat another, ``bool[n]``."""
    found: np.ndarray = (outcome["code"] == EXACT) | (outcome["code"] == NEAR)
    return found


def whole(outcome: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """A record for each of ``count`` entries from row ``first`` on, from those that are stored."""
    result = np.zeros(count, OUTCOME)
    result["row"] = np.arange(first, first + count)
    result["value"] = result["threshold"] = np.nan
    result["cluster_size"] = result["copies"] = 1
    result[outcome["row"].astype(np.int64) - first] = outcome
    return result


@dataclass
class HygieneDecisions:
    """Decisions about the entries that are left of a shard, in their order.

    Attributes:
        outcome: ``OUTCOME[m]``, rows rising, of those about which there is something to say.
        split: ``SPLIT[n]``.
        datasets: names of the earlier corpora that origins count.
    """

    outcome: np.ndarray
    split: np.ndarray
    datasets: list[str]
    _first: int = 0

    def take(self, count: int) -> Resolution:
        """The decisions about the next entries."""
        first, self._first = self._first, self._first + count
        bounds = np.searchsorted(self.outcome["row"], [first, first + count])
        some = whole(self.outcome[bounds[0] : bounds[1]], count, first)
        return resolution(some, self.split[first : first + count], self.datasets)

    def check(self) -> None:
        """After the last batch: were these the entries that were decided about?"""
        if len(self.split) != self._first:
            raise miscounted(len(self.split), self._first)


def resolution(some: np.ndarray, split: np.ndarray, datasets: list[str]) -> Resolution:
    """A record for each entry as the ledger takes it."""
    code, names = some["code"], pa.array([None, *datasets], pa.string())
    overlap = some["overlap_origin"]
    with np.errstate(invalid="ignore"):
        similarity = some["overlap_shared"] / some["overlap_union"]
    return Resolution(
        stage=STAGE,
        verdict=np.where(code == NONE, KEPT, np.where(repeats(some), DUPLICATE, DROPPED)).astype(object),
        rule=np.array(RULES, object)[code],
        value=some["value"],
        threshold=some["threshold"],
        witness=ids_at(some["witness"], np.any(some["witness"], axis=1)),
        dataset=names.take(pa.array(some["origin"].astype(np.int32))),
        shared=some["shared"].astype(np.int32),
        union=some["union"].astype(np.int32),
        cluster=ids_at(some["cluster"], some["cluster_size"] > 1),
        cluster_size=some["cluster_size"].astype(np.int32),
        copies=some["copies"].astype(np.int32),
        more={
            "split": pa.array(np.array(SIDES, object)[split], pa.string()),
            "contradiction": pa.array(np.array(RULES, object)[some["contradiction"]], pa.string()),
            "contradicts": ids_at(some["contradicts"], some["contradiction"] > 0),
            "overlap": ids_at(some["overlap"], overlap > 0),
            "overlap_dataset": names.take(pa.array(overlap.astype(np.int32))),
            "overlap_similarity": pa.array(similarity, pa.float64(), mask=overlap == 0),
        },
    )
