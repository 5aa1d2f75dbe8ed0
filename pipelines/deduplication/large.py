"""Large buckets: boilerplate and templates, compared with kept documents only, in rounds.

How this keeps the guarantee is told in :mod:`curation.duplicates.candidates`.  Here the documents of large buckets
are put together into *families* that share no large bucket, so that each family can be worked on by itself; after
every round the greedy pass over all pairs says who is kept, until these are the documents that led.
"""

from __future__ import annotations

import numpy as np

from curation.duplicates.arrays import run_starts
from curation.duplicates.bands import fingerprints
from curation.duplicates.candidates import first_states, leader_edges_in_blocks, next_states
from curation.duplicates.jaccard import Edges
from curation.duplicates.keep import components
from curation.duplicates.shingles import ShingleSets
from pipelines.deduplication.records import records, split
from pipelines.deduplication.sets import Sketches, blocks_of
from pipelines.deduplication.verify import EDGE, edge_records
from pipelines.deduplication.work import NEEDED, Work

NUMBER = np.dtype("<u4")
FAMILY = np.dtype([("family", "<u4"), ("number", "<u4")])
BATCH_DOCUMENTS = 1 << 14  # of small families worked on in one task


def run_families(work: Work, _: int) -> None:
    """Join the large buckets of all partitions to families; write them in batches."""
    parts = [work.step("pairs", part).read("large", 0) for part in range(work.sizes.partitions)]
    members = np.concatenate(parts)
    numbers = np.unique(members["number"])
    place = np.searchsorted(numbers, members["number"])
    bucket = np.concatenate([np.empty((0, 2), np.int64), *(_named(part, at) for at, part in enumerate(parts))])
    starts = run_starts(bucket)
    head = np.repeat(place[starts], np.diff(np.append(starts, len(bucket))))
    none = np.empty(0, np.int32)
    family = components(Edges(head, place, none, none), len(numbers))
    order = np.lexsort((numbers, family))
    whole = records(FAMILY, family=family[order], number=numbers[order])
    batches = _batches(whole["family"])
    writer = work.writer("families", 0)
    writer.write("families", FAMILY, split(whole, batches, int(batches.max(initial=-1)) + 1))
    writer.write("needed", NEEDED, work.needed(numbers.astype(np.int64)))
    writer.commit(batches=int(batches.max(initial=-1)) + 1)


def _named(members: np.ndarray, partition: int) -> np.ndarray:
    """Bucket of each member, told from those of other partitions."""
    return np.stack([np.full(len(members), partition), members["bucket"].astype(np.int64)], axis=1)


def _batches(family: np.ndarray) -> np.ndarray:
    """Batch of each document; a family is never cut."""
    first = np.searchsorted(family, family)
    _, batch = np.unique(first // BATCH_DOCUMENTS, return_inverse=True)
    return batch.astype(np.int64)


def run_leaders(work: Work, round_: int, batch: int) -> None:
    """One round for one batch of families."""
    families = work.step("families", 0)
    members = families.read("families", batch)
    starts = run_starts(members["family"])
    numbers = np.unique(members["number"]).astype(np.int64)
    sketches = Sketches(work, numbers, families)
    buckets = fingerprints(sketches.minima(), work.bands)
    states = _states(work, numbers, round_)
    found, leaders = [np.empty(0, EDGE)], [np.empty(0, NUMBER)]
    for start, end in zip(starts, np.append(starts[1:], len(members)), strict=True):
        places = np.searchsorted(numbers, members["number"][start:end])
        edges, leading = _family(work, sketches, buckets, states, places)
        found.append(edges)
        leaders.append(leading)
    writer = work.writer(f"leaders-{round_}", batch)
    writer.write("edges", EDGE, [np.concatenate(found)])
    writer.write("leaders", NUMBER, [np.concatenate(leaders)])
    writer.commit()


def _states(work: Work, numbers: np.ndarray, round_: int) -> np.ndarray:
    """What is known of documents when a round begins."""
    pinned, every = numbers < work.sizes.earlier, np.arange(len(numbers))
    if round_ == 0:
        return first_states(every, pinned)
    removed = work.step(f"choose-{round_ - 1}", 0).read("removed", 0)
    return next_states(every, pinned, ~np.isin(numbers, removed))


def _family(
    work: Work, sketches: Sketches, buckets: np.ndarray, states: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One family, by the places of its documents in the batch: edges, and numbers of those that led."""

    def load(rows: np.ndarray) -> tuple[ShingleSets, np.ndarray]:
        return sketches.sets(places[rows]), buckets[places[rows]]

    # Two blocks of sets of 8 bytes a shingle, copied on their way, and an index of their rarest shingles.
    blocks = list(blocks_of(sketches.sizes[places], work.memory // 128))
    edges, leaders = leader_edges_in_blocks(load, states[places], blocks, work.threshold)
    numbers = sketches.numbers[places]
    return edge_records(edges, numbers), numbers[leaders].astype(NUMBER)


def leaders_of(work: Work, round_: int) -> np.ndarray:
    """Documents that led in a round, ``uint32[n]``."""
    batches = work.step("families", 0).facts["batches"]
    parts = [work.step(f"leaders-{round_}", batch).read("leaders", 0) for batch in range(batches)]
    return np.concatenate([np.empty(0, NUMBER), *parts])
