# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs
# (kernels have no annotations: numba infers their types)
"""From band fingerprints to the pairs that must be compared.

Documents are numbered in order of priority, 0 first.  One band at a time: equal fingerprints make a bucket.

* A bucket of at most ``limit`` documents gives all its pairs.
* A larger one (a boilerplate page, a template, a text copied thousands of times with small changes) would give
  a number of pairs that grows with its square.  Its documents are compared, in order of priority, only with
  *leaders*: documents before them that are kept.

Which documents are kept is known only at the end, so leaders are found in rounds.  In the first, a document
leads if no leader before it in its large buckets is above the threshold.  All verified pairs together give the
documents that the greedy pass keeps.  If these are the documents that led, it is finished; else the
kept ones lead in the next round.

Why the result is that of comparing all pairs of all buckets.  Let E be the pairs above the threshold that
share a bucket.  The greedy pass over E keeps a document just if no kept document before it is its neighbour in
E, which determines the kept set by induction over the order.  When the rounds end, every pair of E between a
kept document and a later one has been found, so the kept set has this property, and so every removed document
has been compared with every kept document before it in its buckets: witnesses are the same as well.  The rounds
end: let d be the first document about which a round errs.  Those before it are right, so the next round finds
all pairs of E between them and d and is right about d and still about those before it.

The cost of a round is that of :func:`curation.duplicates.jaccard.leader_edges`: no two documents meet unless
they share one of their rarest shingles.  Near-copies of one text meet its leader and no one else.  Pages
of one template meet only where the template alone nearly carries them over the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numba import njit

from curation.duplicates.arrays import read_only, run_starts
from curation.duplicates.jaccard import LEADER, PINNED, REMOVED, UNDECIDED, Edges, leader_edges
from curation.duplicates.shingles import ShingleSets

LARGE_BUCKET = 64


class Buckets(NamedTuple):
    """What the buckets of one band, or of one part of it, give.

    Attributes:
        pairs: ``uint64[k]``, ``left << 32 | right`` with ``left < right``; all pairs of the small buckets.
        large: ``int64[m]``, documents of the large buckets, bucket after bucket, each in order of priority.
        large_offsets: ``int64[b + 1]``, where each large bucket begins.
    """

    pairs: np.ndarray
    large: np.ndarray
    large_offsets: np.ndarray


def bucket_pairs(
    fingerprints: np.ndarray, documents: np.ndarray, limit: int = LARGE_BUCKET, pinned: int = 0
) -> Buckets:
    """Sort the fingerprints of one band and pair what shares one.

    A part of a band (by a prefix of the fingerprint, say) may be given by itself: buckets do not cross parts.

    Args:
        fingerprints: ``uint64[n]`` of one band.
        documents: ``int64[n]``, numbers in order of priority, each once, below 2^32.
        limit: greatest size of a bucket all of whose pairs are given.
        pinned: documents below this number are never removed; what only they could form is not given.
    """
    if documents.size and not 0 <= documents.min() <= documents.max() < 1 << 32:
        raise ValueError("documents must be numbered from 0 and below 2^32")
    order = np.lexsort((documents, fingerprints))
    sorted_prints = fingerprints[order]
    members = documents[order].astype(np.int64)
    starts = run_starts(sorted_prints)
    sizes = np.diff(np.append(starts, members.size))
    before = np.concatenate([[0], np.cumsum(members < pinned)])
    fixed = before[starts + sizes] - before[starts]  # they stand at the start of their bucket
    small, large = sizes <= limit, (sizes > limit) & (fixed < sizes)
    counts = (sizes * (sizes - 1) - fixed * (fixed - 1)) // 2
    pairs = np.empty(int(counts[small].sum()), np.uint64)
    _fill_pairs(read_only(members, np.int64), starts[small], sizes[small], fixed[small], pairs)
    inside = np.repeat(large, sizes)
    return Buckets(pairs, members[inside], np.concatenate([[0], np.cumsum(sizes[large])]).astype(np.int64))


@njit(cache=True, nogil=True)
def _fill_pairs(members, starts, sizes, fixed, pairs):
    filled = 0
    for bucket in range(starts.size):
        start, end = starts[bucket], starts[bucket] + sizes[bucket]
        for first in range(start, end):
            for second in range(max(first + 1, start + fixed[bucket]), end):
                pairs[filled] = np.uint64(members[first]) << np.uint64(32) | np.uint64(members[second])
                filled += 1


def unique_pairs(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of several bands, each once, sorted: left and right documents, ``int64[k]`` each."""
    pairs = np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def first_states(documents: np.ndarray, pinned: np.ndarray) -> np.ndarray:
    """States for the first round: nothing is decided but what is pinned, ``int8[m]``."""
    return np.where(pinned[documents], PINNED, UNDECIDED).astype(np.int8)


def next_states(documents: np.ndarray, pinned: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """States for a further round: the kept documents lead, ``int8[m]``."""
    return np.where(pinned[documents], PINNED, np.where(kept[documents], LEADER, REMOVED)).astype(np.int8)


def leader_edges_in_blocks(
    load: Callable[[np.ndarray], tuple[ShingleSets, np.ndarray]],
    states: np.ndarray,
    blocks: Sequence[slice],
    threshold: Fraction,
) -> tuple[Edges, np.ndarray]:
    """:func:`leader_edges` for documents whose sets do not fit into memory together.

    Each block is compared with the leaders of every block before it, then with itself: the same leaders and the
    same pairs as in one go.  Two blocks of sets are in memory at a time.

    Args:
        load: sets and buckets of some documents, by rising place.
        states: ``int8[m]``, of all documents in order of priority.
        blocks: stretches of the documents, one after the other.
        threshold: strict.

    Returns:
        Pairs by place, the leader on the left; ``bool[m]``, which documents were leaders.
    """
    leaders = np.zeros(states.size, np.bool_)
    states, found = states.copy(), []
    for number, block in enumerate(blocks):
        own = np.arange(block.start, block.stop)
        sets, buckets = load(own)
        for earlier in blocks[:number]:
            leading = earlier.start + np.flatnonzero(leaders[earlier])
            if not leading.size:
                continue
            ahead, ahead_buckets = load(leading)
            both = ShingleSets.concatenate([ahead, sets])
            asked = np.where(states[own] == PINNED, PINNED, REMOVED)
            given = np.concatenate([np.full(leading.size, PINNED), asked]).astype(np.int8)
            places = np.concatenate([leading, own])
            result = leader_edges(
                both, np.arange(places.size), np.concatenate([ahead_buckets, buckets]), given, threshold
            ).edges
            # Pinned documents of this block led there too; what they lead to comes below.
            result = result.take(result.left < leading.size)
            found.append(result._replace(left=places[result.left], right=places[result.right]))
            behind = np.unique(found[-1].right)
            states[behind[states[behind] == UNDECIDED]] = REMOVED
        inner = leader_edges(sets, np.arange(own.size), buckets, states[own], threshold)
        leaders[own] = inner.leaders
        found.append(inner.edges._replace(left=own[inner.edges.left], right=own[inner.edges.right]))
    return Edges.concatenate(*found), leaders


def resolve_large(
    sets: ShingleSets,
    large: np.ndarray,
    buckets: np.ndarray,
    pinned: np.ndarray,
    threshold: Fraction,
    keep: Callable[[Edges], np.ndarray],
) -> Edges:
    """The rounds for documents in large buckets, in memory.

    Where the buckets are spread over files, each round is :func:`leader_edges` for each large bucket by itself,
    with one column of equal values, followed by one greedy pass; see the module's text for when to stop.

    Args:
        sets: by document.
        large: ``int64[m]``, documents that are in any large bucket, rising.
        buckets: ``uint64[m, k]``, their fingerprints.
        pinned: ``bool[n]``, documents that are never removed, by document.
        threshold: strict.
        keep: the greedy pass, given these edges besides all others: ``bool[n]``, which documents it keeps.

    Returns:
        Pairs of documents, the kept one on the left.
    """
    states = first_states(large, pinned)
    while True:
        found = leader_edges(sets, large, buckets, states, threshold)
        places = found.edges
        edges = Edges(large[places.left], large[places.right], places.intersection, places.union)
        kept = keep(edges)
        if np.array_equal(kept[large], found.leaders):
            return edges
        states = next_states(large, pinned, kept)
