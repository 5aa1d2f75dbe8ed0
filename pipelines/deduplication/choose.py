"""Who stays: the greedy pass over all proven pairs, and what follows from it for every document concerned.

Only documents that have a proven pair or a copy are held here, and those of large families with pairs that nobody
knows, some 60 to 100 bytes each, and the pairs, 40 bytes each; all others stay.

Beside the decisions lies what they were made of, so that they can be made again without any text when documents
leave (:mod:`pipelines.what_if.duplicates`): the documents concerned in the order of staying, and their pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from curation.duplicates.arrays import run_starts
from curation.duplicates.jaccard import Edges
from curation.duplicates.keep import KEPT, Decisions, components, decide, greedy
from pipelines.deduplication.copies import COPY, copies_of
from pipelines.deduplication.earlier import ID
from pipelines.deduplication.large import FAMILY, NUMBER, leaders_of
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

# A document of the evidence; its place among them tells documents apart there.  ``shard`` and ``row`` as above, 0 for
# one of an earlier corpus, whose ``origin`` is not 0.  ``head``: the first with the same text, itself or another.
# ``family``: from 1, of a large family in which some of its pairs are not known; else 0.  ``component``: the first
# document of all that pairs, copies and families join.  The file ``ids`` has their ids, in the same order.
DOCUMENT = np.dtype(
    [("shard", "<u4"), ("row", "<u4"), ("origin", "<u2"), ("head", "<u4"), ("family", "<u4"), ("component", "<u4")]
)
# A proven pair, each once, by the places of its documents; sorted by the later one, which is on the right.  Documents
# of this run have pairs only as heads.
PAIR = np.dtype([("left", "<u4"), ("right", "<u4"), ("shared", "<u4"), ("union", "<u4")])
PART_RECORDS = 1 << 20


def run_choose(work: Work, round_: int) -> None:
    """The greedy pass after a round: who is removed, and whether all that are kept had led."""
    edges = edges_of(edge_steps(work, round_))
    numbers = np.unique(np.concatenate([edges.left, edges.right]))
    kept = greedy(by_place(edges, numbers), numbers < work.sizes.earlier).kept
    removed = numbers[~kept].astype(NUMBER)
    large = np.concatenate([np.empty(0, FAMILY), *_families(work)])["number"]
    settled = bool(np.isin(large[~np.isin(large, removed)], leaders_of(work, round_)).all())
    writer = work.writer(f"choose-{round_}", 0)
    writer.write("removed", NUMBER, [removed])
    writer.commit(settled=settled)


def by_place(edges: Edges, numbers: np.ndarray) -> Edges:
    """Edges by the place of their documents in ``numbers``, which are rising."""
    return edges._replace(left=np.searchsorted(numbers, edges.left), right=np.searchsorted(numbers, edges.right))


def _families(work: Work) -> list[np.ndarray]:
    """All documents of large families, ``FAMILY``, family after family."""
    families = work.step("families", 0)
    return [families.read("families", batch) for batch in range(families.facts["batches"])]


def edge_steps(work: Work, round_: int) -> list[Step]:
    """The steps that hold the proven pairs after a round."""
    batches = work.step("families", 0).facts["batches"]
    steps = [work.step("verify", block) for block in range(work.sizes.blocks)]
    return steps + [work.step(f"leaders-{round_}", batch) for batch in range(batches)]


def run_decide(work: Work, round_: int, writer: StepWriter) -> None:
    """Write what becomes of the documents of each shard that are not simply kept, and the evidence.

    Args:
        writer: to write the decisions to.
    """
    edges = edges_of(edge_steps(work, round_))
    copies = np.concatenate([np.empty(0, COPY), *(copies_of(work, shard) for shard in range(work.shards + 1))])
    numbers = np.unique(np.concatenate([copies["number"].astype(np.int64), edges.left, edges.right]))
    representative = np.arange(len(numbers))
    own = np.searchsorted(numbers, copies["number"])
    representative[own] = np.searchsorted(numbers, copies["representative"])
    found = decide(
        representative,
        np.arange(len(numbers)),
        by_place(edges, numbers),
        sizes_of(work, numbers[np.unique(representative[own])], numbers),
        numbers < work.sizes.earlier,
    )
    families = _unknown_pairs(work, numbers[~found.kept])
    every = np.union1d(numbers, families["number"].astype(np.int64))
    places, datasets = work.places(every), datasets_of(work)
    origins = origins_of(work, datasets)[places["shard"]]
    concerned = np.searchsorted(every, numbers)
    _write_outcome(work, places[concerned], origins[concerned], found, writer)
    heads = np.arange(len(every))
    heads[concerned] = concerned[representative]
    family = np.zeros(len(every), np.uint32)
    family[np.searchsorted(every, families["number"])] = families["family"]
    _write_evidence(places, origins, heads, family, by_place(edges, every), writer)
    writer.commit(
        documents=list(work.sizes.documents),
        datasets=[list(dataset) for dataset in datasets],
        key=work.plan.deduplication_key(),
    )


def datasets_of(work: Work) -> list[tuple[str, str]]:
    """Name and version of each earlier corpus, in order; origins count them from 1."""
    return sorted({(part.dataset, part.version) for part in work.earlier.parts})


def origins_of(work: Work, datasets: list[tuple[str, str]]) -> np.ndarray:
    """Origin of the documents of each holder."""
    parts = [1 + datasets.index((part.dataset, part.version)) for part in work.earlier.parts]
    return np.array([0] * work.shards + parts, np.uint16)


def _unknown_pairs(work: Work, removed: np.ndarray) -> np.ndarray:
    """Documents of large families that may have a pair nobody knows, ``FAMILY[m]``, families numbered from 1.

    Of two documents of a family the first was compared with the other if it is kept.  So none is unknown among those
    before the first that is not, that one left out.

    Args:
        removed: numbers, rising.
    """
    whole = np.concatenate([np.empty(0, FAMILY), *_families(work)])
    gone = np.cumsum(np.isin(whole["number"], removed.astype(NUMBER)))
    starts = run_starts(whole["family"])
    before = np.concatenate([[0], gone])[starts]  # of all families before
    found = whole[gone > np.repeat(before, np.diff(np.append(starts, len(whole))))]
    _, family = np.unique(found["family"], return_inverse=True)
    return records(FAMILY, family=family + 1, number=found["number"])


def sizes_of(work: Work, wanted: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Number of shingles of the documents that are wanted, by place in ``numbers``; 0 for the others."""
    sizes = np.zeros(len(numbers), np.int64)
    for holder in range(work.holders):
        documents = work.step("sets", holder).read("documents", 0)
        chosen = documents[np.isin(documents["number"], wanted)]
        sizes[np.searchsorted(numbers, chosen["number"])] = chosen["size"]
    return sizes


def _write_outcome(work: Work, places: np.ndarray, origins: np.ndarray, found: Decisions, writer: StepWriter) -> None:
    ids, shards = places["id"], places["shard"].astype(np.int64)
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


def _write_evidence(
    places: np.ndarray, origins: np.ndarray, heads: np.ndarray, family: np.ndarray, edges: Edges, writer: StepWriter
) -> None:
    """Write documents, ids and pairs; all by the place of documents in the order of staying."""
    left, right = np.minimum(edges.left, edges.right), np.maximum(edges.left, edges.right)
    _, once = np.unique(right << 32 | left, return_index=True)
    copies, members = np.flatnonzero(heads != np.arange(len(heads))), np.flatnonzero(family)
    first = np.full(int(family.max(initial=0)) + 1, len(heads))
    np.minimum.at(first, family[members], members)
    none = np.empty(0, np.int32)
    joined = Edges(
        np.concatenate([left[once], heads[copies], first[family[members]]]),
        np.concatenate([right[once], copies, members]), none, none,
    )  # fmt: skip
    own = origins == 0
    documents = records(
        DOCUMENT,
        shard=np.where(own, places["shard"], 0),
        row=np.where(own, places["row"], 0),
        origin=origins,
        head=heads,
        family=family,
        component=components(joined, len(heads)),
    )
    writer.write("documents", DOCUMENT, _parts(documents))
    writer.write("ids", ID, _parts(records(ID, id=places["id"])))
    pairs = records(
        PAIR, left=left[once], right=right[once], shared=edges.intersection[once], union=edges.union[once]
    )  # fmt: skip
    writer.write("pairs", PAIR, _parts(pairs))


def _parts(whole: np.ndarray) -> Iterator[np.ndarray]:
    return (whole[start : start + PART_RECORDS] for start in range(0, len(whole), PART_RECORDS))
