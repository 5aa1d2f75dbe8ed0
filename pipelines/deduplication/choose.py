"""Who stays: the greedy pass over all proven pairs, and what follows from it for every document concerned.

Only documents that have a proven pair or a copy are held here, some 60 bytes each; all others stay.
"""

from __future__ import annotations

import numpy as np

from curation.duplicates.jaccard import Edges
from curation.duplicates.keep import KEPT, Decisions, decide, greedy
from pipelines.deduplication.copies import COPY, copies_of
from pipelines.deduplication.large import NUMBER, leaders_of
from pipelines.deduplication.records import Step, StepWriter, records, split
from pipelines.deduplication.verify import edges_of
from pipelines.deduplication.work import Work

# ``origin`` of the witness: 0 for this run, else the place of its corpus in the manifest's list, from 1.
OUTCOME = np.dtype(
    [
        ("row", "<u4"), ("kind", "u1"), ("witness", "u1", (16,)), ("origin", "<u2"), ("shared", "<u4"),
        ("union", "<u4"), ("cluster", "u1", (16,)), ("cluster_size", "<u4"), ("copies", "<u4"),
    ]
)  # fmt: skip


def run_choose(work: Work, round_: int) -> None:
    """The greedy pass after a round: who is removed, and whether all that are kept had led."""
    edges = edges_of(_edge_steps(work, round_))
    numbers = np.unique(np.concatenate([edges.left, edges.right]))
    kept = greedy(_by_place(edges, numbers), numbers < work.sizes.earlier).kept
    removed = numbers[~kept].astype(NUMBER)
    large = np.concatenate([np.empty(0, NUMBER), *_family_numbers(work)])
    settled = bool(np.isin(large[~np.isin(large, removed)], leaders_of(work, round_)).all())
    writer = work.writer(f"choose-{round_}", 0)
    writer.write("removed", NUMBER, [removed])
    writer.commit(settled=settled)


def _by_place(edges: Edges, numbers: np.ndarray) -> Edges:
    """Edges by the place of their documents in ``numbers``, which are rising."""
    return edges._replace(left=np.searchsorted(numbers, edges.left), right=np.searchsorted(numbers, edges.right))


def _family_numbers(work: Work) -> list[np.ndarray]:
    families = work.step("families", 0)
    return [families.read("families", batch)["number"] for batch in range(families.facts["batches"])]


def _edge_steps(work: Work, round_: int) -> list[Step]:
    batches = work.step("families", 0).facts["batches"]
    steps = [work.step("verify", block) for block in range(work.sizes.blocks)]
    return steps + [work.step(f"leaders-{round_}", batch) for batch in range(batches)]


def run_decide(work: Work, round_: int, writer: StepWriter) -> None:
    """Write what becomes of the documents of each shard that are not simply kept.

    Args:
        writer: to write the decisions to.
    """
    edges = edges_of(_edge_steps(work, round_))
    copies = np.concatenate([np.empty(0, COPY), *(copies_of(work, shard) for shard in range(work.shards + 1))])
    numbers = np.unique(np.concatenate([copies["number"].astype(np.int64), edges.left, edges.right]))
    representative = np.arange(len(numbers))
    own = np.searchsorted(numbers, copies["number"])
    representative[own] = np.searchsorted(numbers, copies["representative"])
    found = decide(
        representative,
        np.arange(len(numbers)),
        _by_place(edges, numbers),
        _sizes(work, numbers[np.unique(representative[own])], numbers),
        numbers < work.sizes.earlier,
    )
    _write(work, numbers, found, writer)


def _sizes(work: Work, wanted: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Number of shingles of the documents that are wanted, by place in ``numbers``; 0 for the others."""
    sizes = np.zeros(len(numbers), np.int64)
    for holder in range(work.holders):
        documents = work.step("sets", holder).read("documents", 0)
        chosen = documents[np.isin(documents["number"], wanted)]
        sizes[np.searchsorted(numbers, chosen["number"])] = chosen["size"]
    return sizes


def _write(work: Work, numbers: np.ndarray, found: Decisions, writer: StepWriter) -> None:
    places = work.places(numbers)
    ids, shards = places["id"], places["shard"].astype(np.int64)
    datasets = sorted({(part.dataset, part.version) for part in work.earlier.parts})
    origin_of = [0] * work.shards + [1 + datasets.index((part.dataset, part.version)) for part in work.earlier.parts]
    origins = np.array(origin_of, np.uint16)[shards]
    gone = found.kind != KEPT
    witness = np.where(gone, found.witness, 0)
    outcome = records(
        OUTCOME,
        row=places["row"],
        kind=found.kind,
        witness=np.where(gone[:, None], ids[witness], 0).astype(np.uint8),
        origin=np.where(gone, origins[witness], 0),
        shared=found.intersection,
        union=found.union,
        cluster=ids[found.component],
        cluster_size=found.component_size,
        copies=found.multiplicity,
    )
    own = shards < work.shards
    outcome, shards = outcome[own], shards[own]
    order = np.lexsort((outcome["row"], shards))
    writer.write("outcome", OUTCOME, split(outcome[order], shards[order], work.shards))
    writer.commit(
        documents=list(work.sizes.documents),
        datasets=[list(dataset) for dataset in datasets],
        key=work.plan.deduplication_key(),
    )
