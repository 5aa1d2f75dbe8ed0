"""Which entries belong together: the connected components of equal prompts and proven near-duplicates.

Held here are only documents with a proven pair or a copy, some 60 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from curation.duplicates.arrays import run_starts
from curation.duplicates.jaccard import LEADER, Edges, leader_edges
from curation.duplicates.keep import components
from curation.duplicates.shingles import ShingleSets
from pipelines.deduplication.choose import by_place, datasets_of, edge_steps, origins_of, sizes_of
from pipelines.deduplication.copies import COPY, copies_of
from pipelines.deduplication.records import records, split
from pipelines.deduplication.sets import Sketches
from pipelines.deduplication.verify import edges_of
from pipelines.deduplication.work import Work
from pipelines.hygiene.parameters import hygiene_of

LARGE_FAMILY = 1 << 10  # prompts of large buckets, up to which each is compared with each

# An entry that is not alone, or an earlier document with entries of this run beside it.  ``cluster`` is the number of
# the first document of the component and ``name`` its id, ``entries`` counts those of this run.  ``overlap`` is the
# earlier document that its prompt is most like, of the corpus ``origin`` (from 1; 0 for none).  ``leaks``: held-out
# entries of the cluster, for an entry that is not held out itself; ``leak`` is the first of them.
CLUSTER = np.dtype(
    [
        ("row", "<u4"), ("number", "<u4"), ("cluster", "<u4"), ("name", "u1", (16,)), ("entries", "<u4"),
        ("overlap", "u1", (16,)), ("origin", "<u2"), ("shared", "<u4"), ("union", "<u4"),
        ("leaks", "<u4"), ("leak", "u1", (16,)),
    ]
)  # fmt: skip


def run_clusters(work: Work, round_: int) -> None:
    """Join all proven pairs and copies; write what each holder has of them."""
    edges = edges_of(edge_steps(work, round_))
    beside = np.concatenate([np.empty((2, 0), np.int64), *_within_families(work, edges)], axis=1)
    copies = np.concatenate([np.empty(0, COPY), *(copies_of(work, shard) for shard in range(work.shards + 1))])
    numbers = np.unique(np.concatenate([copies["number"].astype(np.int64), edges.left, edges.right, beside.ravel()]))
    edges, beside = by_place(edges, numbers), np.searchsorted(numbers, beside)
    head = np.arange(len(numbers))
    head[np.searchsorted(numbers, copies["number"])] = np.searchsorted(numbers, copies["representative"])
    one, other = (edges.left, head, beside[0]), (edges.right, np.arange(len(head)), beside[1])
    none = np.empty(0, np.int32)
    joined = Edges(np.concatenate(one), np.concatenate(other), none, none)
    component = components(joined, len(numbers))
    own = numbers >= work.sizes.earlier
    entries = np.bincount(component[own], minlength=len(numbers))[component]
    places, origins = work.places(numbers), origins_of(work, datasets_of(work))
    overlap = _overlaps(work, edges, head, own, numbers)
    there = overlap.earlier >= 0
    leaks, leak = _leaks(work, component, places["shard"], own)
    found = records(
        CLUSTER,
        row=places["row"], number=numbers, cluster=numbers[component], name=places["id"][component], entries=entries,
        overlap=np.where(there[:, None], places["id"][overlap.earlier], 0).astype(np.uint8),
        origin=np.where(there, origins[places["shard"][overlap.earlier]], 0),
        shared=overlap.shared, union=overlap.union,
        leaks=leaks, leak=np.where(leaks[:, None] > 0, places["id"][leak], 0).astype(np.uint8),
    )  # fmt: skip
    earlier_beside = np.zeros(len(numbers), bool)
    earlier_beside[component[~own]] = True
    chosen = np.where(own, (entries > 1) | earlier_beside[component], entries > 0)
    writer = work.writer("clusters", 0)
    writer.write("clusters", CLUSTER, split(found[chosen], places["shard"][chosen].astype(np.int64), work.holders))
    writer.commit(datasets=[list(dataset) for dataset in datasets_of(work)])


def _within_families(work: Work, edges: Edges) -> Iterator[np.ndarray]:
    """What else joins prompts of large buckets, ``int64[2, k]``: the search compares them with those it keeps only.

    In a family of more than ``LARGE_FAMILY`` prompts it stays at that, and two parts of a cluster may stay apart.
    """
    known = np.unique(np.concatenate([edges.left, edges.right]))
    component = components(by_place(edges, known), len(known))
    families = work.step("families", 0)
    for batch in range(families.facts["batches"]):
        members = families.read("families", batch)
        numbers = np.unique(members["number"]).astype(np.int64)
        sketches, starts = Sketches(work, numbers, families), run_starts(members["family"])
        for start, end in zip(starts, np.append(starts[1:], len(members)), strict=True):
            own = members["number"][start:end].astype(np.int64)
            if len(own) <= LARGE_FAMILY and not _is_joined(own, known, component):
                first = _components(sketches.sets(np.searchsorted(numbers, own)), work)
                rest = np.flatnonzero(first != np.arange(len(own)))
                yield own[np.stack([first[rest], rest])]


def _is_joined(own: np.ndarray, known: np.ndarray, component: np.ndarray) -> bool:
    """Whether some prompts are of one component already."""
    inside = np.isin(own, known)
    return bool(inside.all()) and len(np.unique(component[np.searchsorted(known, own)])) == 1


def _components(sets: ShingleSets, work: Work) -> np.ndarray:
    """The component of each set, all being compared with one another."""
    count = len(sets)
    together, leading = np.zeros((count, 1), np.uint64), np.full(count, LEADER, np.int8)
    return components(leader_edges(sets, np.arange(count), together, leading, work.threshold).edges, count)


@dataclass(frozen=True)
class _Overlaps:
    """Of each document the place of an earlier one with the same prompt or a near-duplicate of it; -1 for none."""

    earlier: np.ndarray
    shared: np.ndarray
    union: np.ndarray


def _overlaps(work: Work, edges: Edges, head: np.ndarray, own: np.ndarray, numbers: np.ndarray) -> _Overlaps:
    count = len(numbers)
    found = _Overlaps(np.full(count, -1, np.int64), np.zeros(count, np.int64), np.zeros(count, np.int64))
    left, right = np.minimum(edges.left, edges.right), np.maximum(edges.left, edges.right)
    between = np.flatnonzero(~own[left] & own[right])
    # Of several the most similar one, then the first; it is written last.
    similarity = edges.intersection[between] / edges.union[between]
    order = between[np.lexsort((-left[between], similarity, right[between]))]
    found.earlier[right[order]] = left[order]
    found.shared[right[order]], found.union[right[order]] = edges.intersection[order], edges.union[order]
    repeated = np.flatnonzero(own & ~own[head])
    sizes = sizes_of(work, numbers[np.unique(head[repeated])], numbers)[head[repeated]]
    found.earlier[repeated], found.shared[repeated], found.union[repeated] = head[repeated], sizes, sizes
    copies = np.flatnonzero(own & own[head] & (head != np.arange(count)))
    for column in (found.earlier, found.shared, found.union):
        column[copies] = column[head[copies]]
    return found


def _leaks(work: Work, component: np.ndarray, holder: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each entry the held-out ones of its cluster, and the place of the first; none for those held out."""
    held_out = held_out_shards(work)[holder.astype(np.int64)] & own
    first = np.full(len(component), -1, np.int64)
    rows = np.flatnonzero(held_out)[::-1]
    first[component[rows]] = rows
    counts = np.bincount(component[held_out], minlength=len(component))[component]
    return np.where(own & ~held_out, counts, 0), first[component]


def held_out_shards(work: Work) -> np.ndarray:
    """Which holders are held out by their names, ``bool[holders]``."""
    held_out = hygiene_of(work).held_out
    found = np.zeros(work.holders, bool)
    for number, shard in enumerate(work.plan.shards):
        found[number] = held_out is not None and any(fnmatchcase(shard.name, name) for name in held_out.shards)
    return found
