"""Repetitions and swapped labels, by hand and against a twin."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.pair_sets.conflicts import find_conflicts
from curation.pair_sets.numbering import from_binary, numbered, to_binary
from curation.pair_sets.pairs import Responses
from tests.pair_sets import twins
from tests.pair_sets.build import Row, by_row, ids, pair_set, rows

POLICIES = st.sampled_from(["drop-both", "majority", "keep-margin", "keep"])


def test_ids_are_ordered_like_their_bytes() -> None:
    raw = [bytes([value]) * 16 for value in (0, 255, 1, 128)] + [b"\x00" * 15 + b"\x01"]
    column = pa.array([b"x" * 16, *raw], pa.binary(16))[1:]
    words = from_binary(column)
    assert to_binary(words).to_pylist() == raw
    assert [raw[row] for row in np.argsort(numbered(words), kind="stable")] == sorted(raw)
    assert len(from_binary(pa.array([], pa.binary(16)))) == 0
    with pytest.raises(ValueError, match="16 bytes"):
        from_binary(pa.array([b"1" * 16, None], pa.binary(16)))


def test_columns_must_fit() -> None:
    with pytest.raises(ValueError, match="ids must differ"):
        pair_set([Row(1, 0, "a", "b"), Row(1, 0, "c", "d")])
    good = vars(pair_set([Row(1, 0, "a", "b")]))
    with pytest.raises(ValueError, match="margin"):
        type(pair_set([]))(**{**good, "margin": np.zeros(2)})
    with pytest.raises(ValueError, match="policy"):
        find_conflicts(pair_set([]), "coin-toss")  # type: ignore[arg-type]


def test_nothing_is_found_in_nothing() -> None:
    result = find_conflicts(pair_set([]))
    assert not len(result.findings) and not len(result.groups) and result.summary.comparisons == 0


def test_two_votes_against_one() -> None:
    pairs = pair_set([Row(3, 0, "a", "b"), Row(1, 0, "b", "a"), Row(2, 0, "a", "b"), Row(4, 1, "b", "a")])
    result = find_conflicts(pairs, "majority")
    assert by_row(result.findings) == {
        0: ("pair-duplicate", 2, 2, True),
        1: ("label-conflict", 1, 2, True),
        2: ("label-conflict", -1, 1, False),
    }
    assert [group.tolist() for group in result.groups] == [[1, 2, 0]]
    assert result.opposed.tolist() == [True, True, True, False]
    assert result.summary.conflicts == result.summary.settled == 1 and result.summary.dropped == 2
    assert find_conflicts(pairs, "drop-both").findings.kept(4).tolist() == [False, False, False, True]
    assert find_conflicts(pairs, "keep").findings.kept(4).tolist() == [False, True, True, True]


def test_margins_are_added_or_the_largest_counts() -> None:
    pairs = pair_set([Row(1, 0, "a", "b", 0.5), Row(2, 0, "b", "a", 0.75), Row(3, 0, "a", "b", 0.5)])
    assert find_conflicts(pairs, "keep-margin").findings.kept(3).tolist() == [True, False, False]
    largest = find_conflicts(pairs, "keep-margin", combine="max")
    assert largest.findings.kept(3).tolist() == [False, True, False]
    unknown = pair_set([Row(1, 0, "a", "b", math.nan), Row(2, 0, "b", "a", 0.75)])
    assert not find_conflicts(unknown, "keep-margin").findings.kept(2).any()
    tie = pair_set([Row(1, 0, "a", "b", math.inf), Row(2, 0, "b", "a", math.inf)])
    assert not find_conflicts(tie, "keep-margin").findings.kept(2).any()


def test_a_pair_of_one_response_contradicts_nothing() -> None:
    pairs = pair_set([Row(1, 0, "a", "a"), Row(2, 0, "a", "a")])
    assert by_row(find_conflicts(pairs).findings) == {1: ("pair-duplicate", 2, 0, True)}


def test_near_responses_conflict_by_their_clusters_only() -> None:
    pairs = pair_set([Row(1, 0, "a", "b"), Row(2, 0, "b2", "a2"), Row(3, 0, "a", "a2"), Row(4, 0, "a2", "a")])
    assert find_conflicts(pairs).opposed.tolist() == [False, False, True, True]
    clusters = Responses(np.array([0, 1, 0, 0]), np.array([1, 0, 0, 0]))
    result = find_conflicts(pairs, clusters=clusters)
    assert [group.tolist() for group in result.groups] == [[0, 1], [2, 3]]  # not one of four


@settings(max_examples=300)
@given(rows(), POLICIES, st.sampled_from(["sum", "max"]), st.sampled_from([1, 2, 9]))
def test_conflicts_are_those_of_the_twin(drawn: list[Row], policy: str, combine: str, size: int) -> None:
    clusters = Responses(*(np.array([side // size for side in column], np.int64) for column in _sides(drawn)))
    chosen = {"clusters": clusters} if size > 1 else {}
    result = find_conflicts(pair_set(drawn), policy, combine=combine, **chosen)  # type: ignore[arg-type]
    expected = twins.conflicts(drawn, policy, combine, lambda text: text // size)  # type: ignore[operator]
    assert by_row(result.findings) == expected
    ways = twins.directions(drawn, twins.in_order(drawn), lambda text: text // size)  # type: ignore[operator]
    both = {way: members for way, members in ways.items() if way[1] != way[2] and twins.opposite(way) in ways}
    groups = {frozenset(members + ways[twins.opposite(way)]) for way, members in both.items()}
    assert {frozenset(group.tolist()) for group in result.groups} == groups
    assert result.summary.conflicts == len(groups)
    assert result.summary.comparisons == len({(way[0], frozenset(way[1:])) for way in ways})
    assert set(np.flatnonzero(result.opposed)) == set().union(*groups)


@given(rows(), POLICIES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_numbers_of_clusters_do_not_matter(drawn: list[Row], policy: str, dice) -> None:
    shuffled = dice.sample(drawn, len(drawn))
    shuffled = [row._replace(prompt=7 - row.prompt) for row in shuffled]
    results = []
    for some in (drawn, shuffled):
        result = find_conflicts(pair_set(some), policy)  # type: ignore[arg-type]
        named = {
            some[row].id: (rule, value, some[witness].id, gone)
            for row, (rule, value, witness, gone) in by_row(result.findings).items()
        }
        results.append((named, [[some[row].id for row in group] for group in result.groups], result.summary))
    assert results[0] == results[1]


def _sides(drawn: list[Row]) -> tuple[list, list]:
    return [row.chosen for row in drawn], [row.rejected for row in drawn]


def test_ids_of_the_helper() -> None:
    assert ids([1, 256]).tolist() == [[0, 1], [0, 256]]
