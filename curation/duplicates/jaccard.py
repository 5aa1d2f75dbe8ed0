# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs
# (kernels have no annotations: numba infers their types)
"""Exact Jaccard similarity of sets of shingles, in integers.

A threshold is a fraction ``p / q``.  ``|A and B| / |A or B| > p / q`` is decided as ``q * common > p * union``,
or, since ``union = |A| + |B| - common``, as ``common >= needed`` with
``needed = floor(p (|A| + |B|) / (p + q)) + 1``.  No rounding happens anywhere.

:func:`leader_edges` compares many documents with few, without looking at most of the pairs: the prefix filter
of set similarity joins (Chaudhuri, Ganti, Kaushik, ICDE 2006; with positions: Xiao and others, PPJoin, WWW
2008).  It leaves out only pairs that are proven not to be above the threshold.

All kernels that call one another are in this file, because numba's cache notices a changed file only where
the cached function itself is written.  Arrays are copied by loops, because a slice takes seconds to compile.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numba import njit

from curation.duplicates.arrays import read_only
from curation.duplicates.shingles import ShingleSets
from curation.errors import InputError

REMOVED, LEADER, UNDECIDED, PINNED = 0, 1, 2, 3
_FINEST = 10**6  # greatest denominator of a threshold: the products stay far inside 64 bits
_MOST_COUNTERS = 1 << 22


def as_threshold(value: str | float | Fraction) -> Fraction:
    """A threshold as an exact fraction; ``0.8`` and ``"0.8"`` are 4/5.

    Raises:
        InputError: not a number between 0 and 1 (both excluded), or finer than a millionth.
    """
    try:
        fraction = value if isinstance(value, Fraction) else Fraction(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        raise InputError(f"the similarity threshold {value!r} is not a decimal number") from None
    if not 0 < fraction < 1:
        raise InputError(f"the similarity threshold must lie between 0 and 1, both excluded, not {value}")
    if fraction.denominator > _FINEST:
        raise InputError(f"the similarity threshold {value} is finer than a millionth")
    return fraction


class Edges(NamedTuple):
    """Pairs of documents with their exact similarity ``intersection / union``.

    Attributes:
        left, right: ``int64[k]``.
        intersection, union: ``int32[k]``, numbers of shingles.
    """

    left: np.ndarray
    right: np.ndarray
    intersection: np.ndarray
    union: np.ndarray

    def take(self, places: np.ndarray) -> Edges:
        """Some of the pairs, by a mask or by index."""
        return Edges(*(column[places] for column in self))

    @staticmethod
    def concatenate(*parts: Edges) -> Edges:
        """All pairs of several."""
        return Edges(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@njit(cache=True, nogil=True)
def _common(values, first, first_end, second, second_end, needed):
    """Number of values in both of two sorted ranges; may stop, with less than ``needed``, once that is sure."""
    common = 0
    while first < first_end and second < second_end:
        if common + min(first_end - first, second_end - second) < needed:
            break
        for _ in range(min(32, min(first_end - first, second_end - second))):
            left, right = values[first], values[second]  # no branch: which is less is a coin toss
            common += left == right
            first += left <= right
            second += right <= left
    return common


@njit(cache=True, nogil=True)
def _needed(size, other, p, q):
    """The least intersection of sets of these sizes whose similarity is above ``p / q``."""
    return p * (size + other) // (p + q) + 1


@njit(cache=True, nogil=True)
def _count_pairs(offsets, values, left, right, p, q, intersection, union):
    for pair in range(left.size):
        a, a_end = offsets[left[pair]], offsets[left[pair] + 1]
        b, b_end = offsets[right[pair]], offsets[right[pair] + 1]
        needed = _needed(a_end - a, b_end - b, p, q) if p else 0
        common = 0
        if needed <= min(a_end - a, b_end - b):
            common = _common(values, a, a_end, b, b_end, needed)
        if common >= needed:
            intersection[pair] = common
            union[pair] = a_end - a + b_end - b - common


def count_pairs(
    sets: ShingleSets, left: np.ndarray, right: np.ndarray, threshold: Fraction | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of pairs of sets, ``int32[k]`` each.

    Args:
        sets: of the documents that ``left`` and ``right`` number.
        threshold: where given, a pair that is not above it may be left at 0 and 0, without being counted out:
            the length bound and a bound on what is left of the sets end the comparison early.
    """
    intersection, union = np.zeros(left.size, np.int32), np.zeros(left.size, np.int32)
    p, q = (threshold.numerator, threshold.denominator) if threshold else (0, 1)
    sides = (read_only(side, np.int64) for side in (left, right))
    _count_pairs(*_arrays(sets), *sides, p, q, intersection, union)
    return intersection, union


def above(intersection: np.ndarray, union: np.ndarray, threshold: Fraction) -> np.ndarray:
    """``bool[k]``: ``intersection / union > threshold``, strictly and exactly."""
    result: np.ndarray = threshold.denominator * intersection.astype(np.int64) > threshold.numerator * union.astype(
        np.int64
    )
    return result


def verified(sets: ShingleSets, left: np.ndarray, right: np.ndarray, threshold: Fraction) -> Edges:
    """Of candidate pairs, those above the threshold."""
    intersection, union = count_pairs(sets, left, right, threshold)
    return Edges(left, right, intersection, union).take(above(intersection, union, threshold))


def _arrays(sets: ShingleSets) -> tuple[np.ndarray, np.ndarray]:
    return read_only(sets.offsets, np.int64), read_only(sets.values, np.uint64)


class LeaderPass(NamedTuple):
    """Outcome of :func:`leader_edges`.

    Attributes:
        edges: every pair above the threshold of a leader and a document behind it that shares a bucket with
            it; numbered by place in ``documents``, the leader on the left.
        leaders: ``bool[m]``, which documents were leaders.
        compared: number of pairs whose sets were read.
    """

    edges: Edges
    leaders: np.ndarray
    compared: int


def leader_edges(
    sets: ShingleSets, documents: np.ndarray, buckets: np.ndarray, states: np.ndarray, threshold: Fraction
) -> LeaderPass:
    """Compare documents, the first first, with the leaders before them.

    Args:
        sets: shingle sets, by document.
        documents: ``int64[m]``, in order of priority.
        buckets: ``uint64[m, k]``; two documents are compared only if they agree in some column.
        states: ``int8[m]``; ``LEADER`` and ``REMOVED`` are given; an ``UNDECIDED`` document becomes a leader
            if nothing before it is above the threshold; ``PINNED`` is a leader that need not be compared itself.
        threshold: strict.

    Memory: the sets, and about 60 bytes for each of the rarest ``1 - threshold`` of the shingles of each set.
    """
    leaders = np.zeros(documents.size, np.bool_)
    found, compared = _leader_edges(
        *_arrays(sets),
        read_only(documents, np.int64),
        read_only(buckets, np.uint64),
        read_only(states, np.int8),
        threshold.numerator,
        threshold.denominator,
        leaders,
    )
    counts = found[2:].astype(np.int32)
    return LeaderPass(Edges(found[0].copy(), found[1].copy(), counts[0], counts[1]), leaders, int(compared))


@njit(cache=True, nogil=True)
def _leader_edges(offsets, values, documents, buckets, states, p, q, leaders):
    """Process documents in order; an index holds the rarest shingles of the leaders so far.

    Shingles are put in one order for all sets, rarest first.  If A and B are above the threshold, their first
    common shingle stands at most ``|A| - needed`` places from the start of A, and likewise in B: what follows
    it must suffice.  ``needed`` depends on both sizes.  For the smallest possible partner it gives a long
    prefix (a share ``1 - t`` of the set), for a partner at least as large a short one (``(1 - t) / (1 + t)``).
    Shingles of a leader's short prefix are looked up by everyone; those of the rest of its long prefix only by
    the short prefix of a smaller document.  So texts made of one template and of words of their own never
    meet, however many they are, as long as the template does not carry them over the threshold by itself.
    """
    prefix_starts, prefixes, shorts = _prefixes(offsets, values, documents, p, q)
    begins, slots = _posting_places(prefix_starts, prefixes, shorts)
    ends = begins.copy()
    posting_value = np.empty(prefixes.size, np.uint64)
    posting_leader, posting_place = np.empty(prefixes.size, np.int32), np.empty(prefixes.size, np.int32)
    seen = np.full(documents.size, -1, np.int32)
    edges, found, compared = np.empty((4, 1024), np.int64), 0, 0
    for row in range(documents.size):
        start, end = offsets[documents[row]], offsets[documents[row] + 1]
        size, before = end - start, found
        prefix = prefixes[prefix_starts[row] : prefix_starts[row + 1]]
        for place in range(prefix.size if states[row] != PINNED else 0):
            slot = 2 * np.int64(prefix[place] & np.uint64(slots - 1))
            for list_ in range(slot, slot + 2 if place < shorts[row] else slot + 1):
                for posting in range(begins[list_], ends[list_]):
                    other = posting_leader[posting]
                    if posting_value[posting] != prefix[place] or seen[other] == row:
                        continue
                    seen[other] = row
                    other_start, other_end = offsets[documents[other]], offsets[documents[other] + 1]
                    other_size = other_end - other_start
                    needed = _needed(size, other_size, p, q)
                    if min(size - place, other_size - posting_place[posting]) < needed:
                        continue
                    if not _share_bucket(buckets, row, other):
                        continue
                    compared += 1
                    common = _common(values, start, end, other_start, other_end, needed)
                    if common >= needed:
                        if found == edges.shape[1]:
                            edges = _widened(edges)
                        edges[0, found], edges[1, found] = other, row
                        edges[2, found], edges[3, found] = common, size + other_size - common
                        found += 1
        leaders[row] = states[row] in (LEADER, PINNED) or (states[row] == UNDECIDED and found == before)
        for place in range(prefix.size if leaders[row] else 0):
            list_ = 2 * np.int64(prefix[place] & np.uint64(slots - 1)) + np.int64(place >= shorts[row])
            posting = ends[list_]
            posting_value[posting], posting_leader[posting], posting_place[posting] = prefix[place], row, place
            ends[list_] += 1
    return edges[:, :found], compared


@njit(cache=True, nogil=True)
def _prefixes(offsets, values, documents, p, q):
    """The long prefix of each set, one after the other, and how much of it is the short one."""
    rarity = _rarity(offsets, values, documents)
    starts, shorts = np.zeros(documents.size + 1, np.int64), np.zeros(documents.size, np.int64)
    for row in range(documents.size):
        size = offsets[documents[row] + 1] - offsets[documents[row]]
        starts[row + 1] = starts[row] + size - p * size // q
        shorts[row] = size - _needed(size, size, p, q) + 1
    prefixes = np.empty(starts[-1], np.uint64)
    for row in range(documents.size):
        chosen = values[offsets[documents[row]] : offsets[documents[row] + 1]]
        _rarest_first(chosen, rarity, prefixes[starts[row] : starts[row + 1]])
    return starts, prefixes, shorts


@njit(cache=True, nogil=True)
def _posting_places(prefix_starts, prefixes, shorts):
    """Room for every posting, list after list: list ``2 s`` holds short prefixes of slot ``s``, ``2 s + 1`` rests."""
    slots = 1 << 10
    while slots < prefixes.size:
        slots <<= 1
    begins = np.zeros(2 * slots + 1, np.int64)
    for row in range(shorts.size):
        for place in range(prefix_starts[row], prefix_starts[row + 1]):
            rest = np.int64(place - prefix_starts[row] >= shorts[row])
            begins[2 * np.int64(prefixes[place] & np.uint64(slots - 1)) + rest + 1] += 1
    for list_ in range(2 * slots):
        begins[list_ + 1] += begins[list_]
    return begins, slots


@njit(cache=True, nogil=True)
def _rarity(offsets, values, documents):
    """In how many documents a shingle occurs, counted by its low bits: any order is right, a true one is fast."""
    counters = 1 << 12
    total = 0
    for document in documents:
        total += offsets[document + 1] - offsets[document]
    while counters < 2 * total and counters < _MOST_COUNTERS:
        counters <<= 1
    rarity = np.zeros(counters, np.uint32)
    for document in documents:
        for place in range(offsets[document], offsets[document + 1]):
            rarity[values[place] & np.uint64(counters - 1)] += 1
    return rarity


@njit(cache=True, nogil=True)
def _rarest_first(values, rarity, prefix):
    """Fill ``prefix`` with the rarest values.

    Counts are graded like floating-point numbers with two bits of mantissa.  Within a grade the order is that of
    the values, as a set is sorted and a counting sort is stable; so it is the same order for all sets.
    """
    grades = np.empty(values.size, np.uint8)
    ends = np.zeros(130, np.int64)
    for place in range(values.size):
        count = rarity[values[place] & np.uint64(rarity.size - 1)]
        exponent = 0
        while count >> exponent > 7:
            exponent += 1
        grades[place] = 4 * exponent + (count >> exponent)
        ends[grades[place] + 1] += 1
    for grade in range(129):
        ends[grade + 1] += ends[grade]
    for place in range(values.size):
        target = ends[grades[place]]
        ends[grades[place]] += 1
        if target < prefix.size:
            prefix[target] = values[place]


@njit(cache=True, nogil=True)
def _share_bucket(buckets, row, other):
    for column in range(buckets.shape[1]):  # noqa: SIM110 (numba compiles no generator)
        if buckets[row, column] == buckets[other, column]:
            return True
    return False


@njit(cache=True, nogil=True)
def _widened(edges):
    wider = np.empty((4, 2 * edges.shape[1]), np.int64)
    for row in range(4):
        for place in range(edges.shape[1]):
            wider[row, place] = edges[row, place]
    return wider
