"""Candidates, exact similarity, the leader pass and the greedy pass against naive twins."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates.candidates import bucket_pairs, resolve_large, unique_pairs
from curation.duplicates.jaccard import (
    LEADER,
    PINNED,
    REMOVED,
    UNDECIDED,
    Edges,
    above,
    as_threshold,
    count_pairs,
    leader_edges,
    verified,
)
from curation.duplicates.keep import components, decide, greedy, rank_by_length, representatives
from curation.duplicates.shingles import ShingleSets
from curation.errors import InputError


def sets_of(members: list[set[int]]) -> ShingleSets:
    """Sets of any numbers as sets of hashes."""
    # Spread like hashes, and in another order than the numbers.
    rows = [sorted((value * 0x9E3779B97F4A7C15) % 2**64 for value in one) for one in members]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return ShingleSets(offsets, np.array([value for row in rows for value in row], np.uint64))


def edges_of(pairs: list[tuple[int, int, int, int]]) -> Edges:
    columns = np.array(pairs, np.int64).reshape(-1, 4).T
    return Edges(columns[0], columns[1], columns[2].astype(np.int32), columns[3].astype(np.int32))


def test_thresholds() -> None:
    assert as_threshold("0.8") == as_threshold(0.8) == as_threshold(Fraction(4, 5)) == Fraction(4, 5)
    assert as_threshold("0.123456") == Fraction(123456, 10**6)
    for wrong in ("much", "0", 1, -0.5, "nan", "inf", "0.12345678", ""):
        with pytest.raises(InputError, match="threshold"):
            as_threshold(wrong)  # type: ignore[arg-type]


def test_exactly_the_threshold_is_not_above_it() -> None:
    sets = sets_of([{1, 2, 3, 4, 5}, {1, 2, 3, 4}, {1, 2, 3, 4, 5, 6}, set()])
    left, right = np.array([0, 0, 0, 3]), np.array([1, 2, 0, 3])
    common, union = count_pairs(sets, left, right)
    assert common.tolist() == [4, 5, 5, 0] and union.tolist() == [5, 6, 5, 0]
    assert above(common, union, Fraction(4, 5)).tolist() == [False, True, True, False]
    assert verified(sets, left, right, Fraction(79, 100)).right.tolist() == [1, 2, 0]


_NEAR_SETS = st.integers(1, 60).flatmap(
    lambda size: st.lists(
        st.sets(st.integers(0, size + size // 4), min_size=max(1, size - size // 5), max_size=size), max_size=14
    )
)
_THRESHOLDS = st.sampled_from([Fraction(4, 5), Fraction(1, 2), Fraction(9, 10), Fraction(2, 3), Fraction(1, 10)])


@settings(max_examples=80, deadline=None)
@given(_NEAR_SETS, _THRESHOLDS)
def test_verified_pairs_are_those_of_python_sets(members: list[set[int]], threshold: Fraction) -> None:
    pairs = np.array(list(combinations(range(len(members)), 2)), np.int64).reshape(-1, 2)
    edges = verified(sets_of(members), pairs[:, 0], pairs[:, 1], threshold)
    expected = [
        (a, b, len(members[a] & members[b]), len(members[a] | members[b]))
        for a, b in pairs.tolist()
        if Fraction(len(members[a] & members[b]), len(members[a] | members[b])) > threshold
    ]
    assert [tuple(edge) for edge in np.array(edges).T.tolist()] == expected


@settings(max_examples=150, deadline=None)
@given(_NEAR_SETS, _THRESHOLDS, st.data())
def test_leader_pass_equals_a_naive_one(members: list[set[int]], threshold: Fraction, data: st.DataObject) -> None:
    count = len(members)
    order = data.draw(st.permutations(range(count)))
    states = data.draw(
        st.lists(st.sampled_from([REMOVED, LEADER, UNDECIDED, UNDECIDED, PINNED]), min_size=count, max_size=count)
    )
    bucket = st.lists(st.integers(0, 2), min_size=2, max_size=2)
    buckets = data.draw(st.lists(bucket, min_size=count, max_size=count))
    columns = np.array(buckets, np.uint64).reshape(count, 2) + np.arange(2, dtype=np.uint64) * np.uint64(10)
    leaders: list[int] = []
    expected = []
    for row, document in enumerate(order):
        met = []
        for other in leaders if states[row] != PINNED else []:
            a, b = members[order[other]], members[document]
            together = any(x == y for x, y in zip(buckets[other], buckets[row], strict=True))
            if together and Fraction(len(a & b), len(a | b)) > threshold:
                met.append((other, row, len(a & b), len(a | b)))
        expected += met
        if states[row] in (LEADER, PINNED) or (states[row] == UNDECIDED and not met):
            leaders.append(row)
    found = leader_edges(sets_of(members), np.array(order, np.int64), columns, np.array(states), threshold)
    assert sorted(map(tuple, np.array(found.edges).T.tolist())) == sorted(expected)
    assert np.flatnonzero(found.leaders).tolist() == leaders


def test_a_leader_that_goes_elsewhere_makes_another_round() -> None:
    """1 leads its bucket in the first round, and goes because of 0, which is not there; so 2 stays and 3 goes.

    2 and 3 are compared in the second round only: in the first, 2 went because of 1.
    """
    sets = sets_of([set(), *(set(range(start, start + 100)) for start in (0, 6, 12))])
    elsewhere = edges_of([(0, 1, 95, 100)])
    nobody = np.zeros(4, bool)
    seen = []

    def keep(found: Edges) -> np.ndarray:
        seen.append(greedy(Edges.concatenate(elsewhere, found), nobody).kept)
        return seen[-1]

    found = resolve_large(sets, np.array([1, 2, 3]), np.ones((3, 1)), nobody, Fraction(4, 5), keep)
    assert [tuple(edge) for edge in np.array(found).T.tolist()] == [(2, 3, 94, 106)]
    assert seen[0].tolist() == [True, False, True, True] and seen[-1].tolist() == [True, False, True, False]


def test_pages_of_a_template_never_meet() -> None:
    """1 000 pages that share three quarters of their shingles, and 1 000 copies of one text with a small change."""
    template = set(range(300))
    pages = [template | set(range(1000 * page, 1000 * page + 90 + page % 20)) for page in range(1, 1001)]
    one_bucket = np.zeros((1000, 1))
    states = np.full(1000, UNDECIDED)
    alike = leader_edges(sets_of(pages), np.arange(1000), one_bucket, states, Fraction(4, 5))
    assert alike.leaders.all() and alike.compared == 0 and alike.edges.left.size == 0
    copies = [template | {1000 * page} for page in range(1, 1001)]
    alike = leader_edges(sets_of(copies), np.arange(1000), one_bucket, states, Fraction(4, 5))
    assert np.flatnonzero(alike.leaders).tolist() == [0] and alike.compared == 999


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 8), max_size=40),
    st.integers(1, 6),
    st.sampled_from([0, 0, 5, 20]),
    st.randoms(use_true_random=False),
)
def test_buckets_give_all_pairs_or_all_members(prints: list[int], limit: int, pinned: int, random: object) -> None:
    documents = list(range(len(prints)))
    random.shuffle(documents)  # type: ignore[attr-defined]
    result = bucket_pairs(np.array(prints, np.uint64), np.array(documents, np.int64), limit, pinned)
    together = {
        value: sorted(document for document, other in zip(documents, prints, strict=True) if other == value)
        for value in sorted(set(prints))
    }
    small = [bucket for bucket in together.values() if len(bucket) <= limit]
    pairs = sorted(pair for bucket in small for pair in combinations(bucket, 2) if pair[1] >= pinned)
    left, right = unique_pairs([result.pairs, result.pairs])
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == pairs
    assert result.pairs.size == len(pairs)
    large = [bucket for bucket in together.values() if len(bucket) > limit and bucket[-1] >= pinned]
    bounds = result.large_offsets.tolist()
    assert [result.large[a:b].tolist() for a, b in pairwise(bounds)] == large


def test_documents_that_do_not_fit_a_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="2\\^32"):
        bucket_pairs(np.zeros(1, np.uint64), np.array([1 << 32]))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.data())
def test_greedy_and_components_equal_naive_ones(count: int, data: st.DataObject) -> None:
    node = st.integers(0, count - 1)
    drawn = data.draw(st.lists(st.tuples(node, node, st.integers(1, 4), st.integers(4, 6)), max_size=30))
    pairs = [edge for edge in drawn if edge[0] != edge[1]]
    pinned = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    outcome = greedy(edges_of(pairs), pinned)
    kept: list[int] = []
    for document in range(count):
        before = [
            (Fraction(common, union), -min(a, b))
            for a, b, common, union in pairs
            if max(a, b) == document and min(a, b) in kept
        ]
        if pinned[document] or not before:
            kept.append(document)
            assert outcome.witness[document] == -1
        else:
            a, b, common, union = pairs[outcome.witness[document]]
            assert (Fraction(common, union), -min(a, b)) == max(before) and max(a, b) == document
    assert np.flatnonzero(outcome.kept).tolist() == kept

    reached = {document: {document} for document in range(count)}
    for _ in range(count):
        for a, b, _, _ in pairs:
            reached[a] = reached[b] = reached[a] | reached[b]
        for document in range(count):
            reached[document] = set().union(*(reached[other] for other in reached[document]))
    assert components(edges_of(pairs), count).tolist() == [min(reached[document]) for document in range(count)]


def test_the_witness_is_the_most_similar_then_the_first() -> None:
    """0, 1, 2 and 3 are kept; 4 has 4/6, 3/4, 6/8 and 7/10 in common with them."""
    edges = edges_of([(3, 4, 7, 10), (4, 0, 4, 6), (2, 4, 6, 8), (1, 4, 3, 4)])
    assert greedy(edges, np.zeros(5, bool)).witness.tolist() == [-1, -1, -1, -1, 3]


def test_representatives_are_the_first_by_rank() -> None:
    hashes = np.array([[1, 1], [1, 2], [1, 1], [2, 1], [1, 1]], np.uint64)
    assert representatives(hashes, np.array([4, 3, 2, 1, 9])).tolist() == [2, 1, 2, 3, 2]
    assert representatives(np.zeros((0, 2), np.uint64), np.zeros(0, np.int64)).tolist() == []


def test_longer_texts_come_first_then_ids() -> None:
    text, ids = pa.array(["aa", "bbb", None, "éé", "ccc"]), pa.array(["z", "y", "x", "w", "b"])
    assert rank_by_length(text, ids).tolist() == [3, 1, 4, 2, 0]


def test_a_copy_follows_its_representative() -> None:
    """0 kept; 1 goes because of 0; 2 copies 1; 3 copies 0; 4 is alone."""
    decisions = decide(
        representative=np.array([0, 1, 1, 0, 4]),
        rank=np.arange(5),
        edges=edges_of([(1, 0, 9, 10)]),
        sizes=np.array([9, 10, 0, 0, 0]),
        pinned=np.zeros(5, bool),
    )
    assert decisions.kept.tolist() == [True, False, False, False, True]
    assert decisions.kind.tolist() == [0, 2, 2, 1, 0]
    assert decisions.witness.tolist() == [-1, 0, 0, 0, -1]
    assert decisions.intersection.tolist() == [0, 9, 9, 9, 0]
    assert decisions.union.tolist() == [0, 10, 10, 9, 0]
    assert decisions.component.tolist() == [0, 0, 0, 0, 4]
    assert decisions.component_size.tolist() == [4, 4, 4, 4, 1]
    assert decisions.multiplicity.tolist() == [2, 2, 2, 2, 1]
    assert decisions.represents.tolist() == [4, 0, 0, 0, 1]


def test_contradictory_orders_are_refused() -> None:
    nothing, two = edges_of([]), np.arange(2)
    with pytest.raises(ValueError, match="differ"):
        decide(two, np.zeros(2, np.int64), nothing, two, np.zeros(2, bool))
    with pytest.raises(ValueError, match="come first"):
        decide(two, two, nothing, two, np.array([False, True]))
