"""Pairs of rankings, against a twin that looks at all answers two by two."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.preferences import Expand, Message, Pair, Ranking, pairs_of, ranking_digest
from tests.preferences.examples import CHOSEN, PROMPT, REJECTED

scores_ = st.lists(st.sampled_from([-1.5, 0.0, 0.5, 2.0, 3.0]), min_size=2, max_size=7)


def ranking(scores: list[float] | None, count: int | None = None) -> Ranking:
    count = len(scores) if scores is not None else count or 0
    responses = tuple((Message("assistant", str(place)),) for place in range(count))
    return Ranking(PROMPT, responses, None if scores is None else tuple(scores), language="en")


def places(entry: Ranking, expand: Expand) -> list[tuple[int, int]]:
    pairs = pairs_of(entry, expand)
    return [(int(pair.chosen[0].content), int(pair.rejected[0].content)) for pair in pairs]


@given(scores_)
def test_all_pairs(scores: list[float]) -> None:
    pairs = pairs_of(ranking(scores))
    ties = sum(a == b for a, b in combinations(scores, 2))
    assert len(pairs) == len(scores) * (len(scores) - 1) // 2 - ties
    assert len(set(places(ranking(scores), "all"))) == len(pairs)
    for pair in pairs:
        better, worse = (scores[int(side[0].content)] for side in (pair.chosen, pair.rejected))
        assert pair.margin == better - worse > 0


@given(scores_)
def test_adjacent_pairs(scores: list[float]) -> None:
    expected = {
        (a, b)
        for a in range(len(scores))
        for b in range(len(scores))
        if scores[a] > scores[b] and not any(scores[b] < other < scores[a] for other in scores)
    }
    found = places(ranking(scores), "adjacent")
    assert set(found) == expected and len(found) == len(expected)


@given(scores_)
def test_best_and_worst(scores: list[float]) -> None:
    found = places(ranking(scores), "best-worst")
    if min(scores) == max(scores):
        assert found == []
    else:
        last = len(scores) - 1 - scores[::-1].index(min(scores))
        assert found == [(scores.index(max(scores)), last)]


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_ranked_lists(count: int) -> None:
    entry = ranking(None, count)
    assert places(entry, "all") == list(combinations(range(count), 2))
    assert places(entry, "adjacent") == [(place, place + 1) for place in range(count - 1)]
    assert places(entry, "best-worst") == [(0, count - 1)]
    assert [pair.margin for pair in pairs_of(entry)] == [b - a for a, b in combinations(range(count), 2)]


def test_marks_of_the_ranking() -> None:
    entry = ranking([1.0, 2.0, 3.0])
    assert {pair.ranking_id for pair in pairs_of(entry)} == {ranking_digest(entry)}
    assert {pair.ranking_id for pair in pairs_of(entry, ranking_id="r7")} == {"r7"}
    assert {pair.language for pair in pairs_of(entry)} == {"en"}
    assert ranking_digest(entry) != ranking_digest(ranking([1.0, 2.0, 2.5])) != ranking_digest(ranking(None, 3))


def test_a_pair_is_itself() -> None:
    pair = Pair(PROMPT, CHOSEN, REJECTED, margin=1.0)
    assert pairs_of(pair, "best-worst") == [pair]
