"""What a run's deduplication decided from: documents with a pair or a copy, and their proven pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipelines.deduplication.records import Step
from pipelines.look import FinishedRun
from pipelines.what_if.codes import Codes
from pipelines.what_if.records import Records


@dataclass(frozen=True)
class Evidence:
    """As :mod:`pipelines.deduplication.choose` stored it; documents by their place in the order of staying.

    Attributes:
        rows: ``int64[n]``, of the ledger; -1 for documents of earlier corpora.  All others are ``uint32``.
        head: first document with the same text.
        family: large family in which some of its pairs are not known, 0 for none.
        component: first document of all that pairs, copies and families join.
        left, right: of each pair, ``right`` the later one.
    """

    rows: np.ndarray
    head: np.ndarray
    family: np.ndarray
    component: np.ndarray
    left: np.ndarray
    right: np.ndarray


def evidence_of(run: FinishedRun, records: Records) -> Evidence | None:
    """Read it; None where it is not there any more, is damaged, or is of another ledger."""
    folder = f"deduplication/{run.run['deduplication_key']}"
    if run.storage.manifest(folder) is None:
        return None
    step = Step(run.storage, folder)
    documents = _columns(step, "documents", ("shard", "row", "origin", "head", "family", "component"))
    pairs = _columns(step, "pairs", ("left", "right"))
    if documents is None or pairs is None:
        return None
    left = np.flatnonzero(Codes.of(records).are_left(records.before))
    counts = np.array(step.facts["documents"], np.int64)
    if not _same_counts(records, left, counts):
        return None
    shard, row, origin, head, family, component = documents
    rows = np.full(len(row), -1)
    own = origin == 0
    rows[own] = left[((np.cumsum(counts) - counts)[shard] + row)[own]]
    return Evidence(rows, head, family, component, *pairs)


def _columns(step: Step, name: str, columns: Sequence[str]) -> list[np.ndarray] | None:
    """Columns of a file of records; None where it is not there or not what was written."""
    if not step.has(name):
        return None
    sizes = step.sizes(name)
    ends = np.cumsum(sizes).tolist()
    found = [np.empty(sum(sizes), step.dtype(name)[column]) for column in columns]

    def read(part: int) -> bool:
        whole = step.intact(name, part)
        if whole is None:
            return False
        for column, target in zip(columns, found, strict=True):
            target[ends[part] - sizes[part] : ends[part]] = whole[column]
        return True

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return found if all(pool.map(read, range(len(sizes)))) else None


def _same_counts(records: Records, left: np.ndarray, counts: np.ndarray) -> bool:
    """Whether as many documents are left of each shard as the deduplication saw."""
    found = np.zeros(len(counts), np.int64)
    for part, span in records.part_spans().items():
        if part >= len(counts):
            return False
        found[part] = np.subtract(*np.searchsorted(left, [span.stop, span.start]))
    return np.array_equal(found, counts)
