"""The steps around :mod:`pipelines.hygiene.judge`: how many tasks there are, and what each of them writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.deduplication.records import records, split
from pipelines.deduplication.work import Work
from pipelines.hygiene.gather import ENTRY, VALUE, Gathered, buckets, gathered
from pipelines.hygiene.judge import CONFLICT, CYCLE, NONE, Judged, judge
from pipelines.hygiene.parameters import hygiene_of

# An entry about which there is something to say; see ``Judged``.  Origins count earlier corpora from 1.
JUDGED = np.dtype(
    [
        ("row", "<u4"), ("code", "u1"), ("value", "<f8"), ("witness", "u1", (16,)), ("origin", "<u2"),
        ("shared", "<u4"), ("union", "<u4"), ("contradiction", "u1"), ("contradicts", "u1", (16,)), ("copies", "<u4"),
    ]
)  # fmt: skip
EXAMPLES = 10  # of each kind, that a card may show
_TASK_BYTES = 64 << 20


def run_weigh(work: Work, _: int) -> None:
    """Cut the buckets into tasks by the size of what lies in them."""
    sizes = np.zeros(buckets(work), np.int64)
    for holder in range(work.holders):
        step = work.step("gather", holder)
        sizes += ENTRY.itemsize * np.array(step.sizes("entries")) + VALUE.itemsize * np.array(step.sizes("values"))
    task = (np.cumsum(sizes) - sizes) // _TASK_BYTES
    _, task = np.unique(task, return_inverse=True)
    work.writer("weigh", 0).commit(tasks=np.searchsorted(task, np.arange(task[-1] + 2)).tolist())


def tasks_of(work: Work) -> list[int]:
    """The first bucket of each task, and behind the last."""
    return [int(first) for first in work.step("weigh", 0).facts["tasks"]]


def run_judge(work: Work, task: int) -> None:
    """Decide about the clusters of some buckets, one bucket after the other."""
    bounds = tasks_of(work)
    parts, summaries, examples = [np.empty(0, JUDGED)], [], []
    holders = [np.empty(0, np.int64)]
    for bucket in range(bounds[task], bounds[task + 1]):
        found = gathered(work, bucket)
        result = judge(found, hygiene_of(work))
        own = np.flatnonzero(_told(found, result))
        parts.append(_records(found, result)[own])
        holders.append(found.holder[own])
        summaries.append(result.summary)
        examples += _examples(found, result)
    writer = work.writer("judge", task)
    writer.write("judged", JUDGED, split(np.concatenate(parts), np.concatenate(holders), work.shards))
    writer.commit(summary=summed(summaries), examples=first_examples(examples))


def _told(found: Gathered, result: Judged) -> np.ndarray:
    something = (result.code != NONE) | (result.contradiction != NONE) | (result.copies > 1)
    told: np.ndarray = something & (found.entries["origin"] == 0)
    return told


def _records(found: Gathered, result: Judged) -> np.ndarray:
    entries = found.entries
    there, said = result.witness >= 0, result.contradicts >= 0
    return records(
        JUDGED,
        row=entries["row"], code=result.code, value=result.value,
        witness=np.where(there[:, None], entries["id"][result.witness], 0),
        origin=np.where(there, entries["origin"][result.witness], 0),
        shared=result.shared, union=result.union, contradiction=result.contradiction,
        contradicts=np.where(said[:, None], entries["id"][result.contradicts], 0), copies=result.copies,
    )  # fmt: skip


def _examples(found: Gathered, result: Judged) -> list[list[Any]]:
    ids, numbers = found.entries["id"], found.entries["number"]
    names = {CONFLICT: "label-conflict", CYCLE: "preference-cycle"}
    return [[int(numbers[row]), names[kind], _hex(ids[row]), _hex(ids[other])] for row, other, kind in result.examples]


def first_examples(examples: list[list[Any]]) -> list[list[Any]]:
    """The first examples of each kind in the order of staying."""
    ordered = sorted(examples)
    kinds = sorted({kind for _, kind, _, _ in ordered})
    return [example for kind in kinds for example in [e for e in ordered if e[1] == kind][:EXAMPLES]]


def _hex(id_: np.ndarray) -> str:
    return id_.tobytes().hex()


def summed(summaries: list[dict[str, int]]) -> dict[str, int]:
    """Counts of several parts together; the largest of those that are called so."""
    total: dict[str, int] = {}
    for summary in summaries:
        for name, count in summary.items():
            before = total.get(name, 0)
            total[name] = max(before, int(count)) if name.startswith("largest") else before + int(count)
    return total
