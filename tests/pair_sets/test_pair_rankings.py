"""Rankings to pairs and back; what is missing; scores that contradict places."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.pair_sets.pairs import Responses
from curation.pair_sets.rankings import Rankings, against_scores, check_rankings, pairs_of
from tests.pair_sets.build import Row, pair_set, rows

ENTRY = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0, math.nan]))
ENTRIES = st.lists(ENTRY, max_size=16, unique_by=lambda entry: entry[:3])


def rankings_of(entries: list[tuple]) -> Rankings:
    columns = list(zip(*entries, strict=True)) or [(), (), (), ()]
    return Rankings(*(np.array(column, np.int64) for column in columns[:3]), np.array(columns[3], np.float64))


def ranked_pairs(rankings: Rankings) -> list[Row]:
    better, worse = (side.tolist() for side in pairs_of(rankings))
    response, ranking = rankings.response.tolist(), rankings.ranking.tolist()
    return [
        Row(number, 0, response[a], response[b], ranking=ranking[a])
        for number, (a, b) in enumerate(zip(better, worse, strict=True))
    ]


@given(ENTRIES)
def test_pairs_are_all_steps_down(entries: list[tuple]) -> None:
    better, worse = pairs_of(rankings_of(entries))
    expected = {
        (a, b)
        for a, one in enumerate(entries)
        for b, other in enumerate(entries)
        if one[0] == other[0] and one[1] < other[1] and one[2] != other[2]
    }
    assert set(zip(better.tolist(), worse.tolist(), strict=True)) == expected and better.size == len(expected)


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=6), max_size=4))
def test_there_and_back(places: list[list[int]]) -> None:
    entries = [
        (name, place, 10 * name + number, math.nan)
        for name, own in enumerate(places)
        for number, place in enumerate(own)
    ]
    drawn = ranked_pairs(rankings_of(entries))
    sides = Responses(
        *(np.array(side, np.int64) for side in ([row.chosen for row in drawn], [row.rejected for row in drawn]))
    )
    result = check_rankings(pair_set(drawn), clusters=sides)
    assert not len(result.findings) and result.summary.complete == sum(len(set(own)) > 1 for own in places)
    back = dict(zip(result.rankings.response.tolist(), result.rankings.place.tolist(), strict=True))
    assert back == {
        response: sorted(set(places[name])).index(place)
        for name, place, response, _ in entries
        if len(set(places[name])) > 1
    }


def test_what_is_missing_and_what_follows() -> None:
    chain = [Row(n, 0, n, n + 1, ranking=4) for n in range(4)]
    result = check_rankings(pair_set(chain))
    assert result.ranking.tolist() == [4] and result.missing.tolist() == [6] and result.summary.ordered == 1
    assert [found.rule for found in result.findings.listed()] == ["ranking-incomplete"] * 4
    loop = [*chain, Row(9, 0, 4, 0, -0.5, ranking=4), Row(10, 0, 5, 6, -0.25)]
    result = check_rankings(pair_set(loop))
    assert result.cyclic.tolist() == [True] and result.summary.missing == 0
    assert result.findings.counts() == {"ranking-cyclic": 5, "ranking-incomplete": 0, "label-against-margin": 2}
    assert result.findings.listed()[-1] == (5, "label-against-margin", -0.25, -1, False)
    assert check_rankings(pair_set([])).summary.rankings == 0


@settings(max_examples=200)
@given(rows(prompts=1, answers=5))
def test_rankings_are_those_of_the_twin(drawn: list[Row]) -> None:
    result = check_rankings(pair_set(drawn))
    by_ranking = defaultdict(set)
    for row in drawn:
        if row.ranking >= 0 and row.chosen != row.rejected:
            by_ranking[row.ranking].add((row.chosen, row.rejected))
    assert result.ranking.tolist() == sorted(by_ranking)
    for place, name in enumerate(sorted(by_ranking)):
        edges = by_ranking[name]
        nodes = {node for edge in edges for node in edge}
        level = _levels(nodes, edges)
        assert result.size[place] == len(nodes)
        assert result.compared[place] == len({frozenset(edge) for edge in edges})
        assert result.cyclic[place] == (level is None)
        if level is not None:
            ties = sum(level[a] == level[b] for a, b in combinations(nodes, 2))
            apart = sum(level[a] != level[b] and not {(a, b), (b, a)} & edges for a, b in combinations(nodes, 2))
            assert (result.tied[place], result.missing[place]) == (ties, apart)


def _levels(nodes: set, edges: set) -> dict | None:
    level = dict.fromkeys(nodes, 0)
    for _ in range(len(nodes)):
        for tail, head in edges:
            level[head] = max(level[head], level[tail] + 1)
    return (
        None if any(level[head] <= level[tail] for tail, head in edges) or max(level.values()) >= len(nodes) else level
    )


@given(ENTRIES)
def test_scores_against_places(entries: list[tuple]) -> None:
    rankings = rankings_of(entries)
    expected = {}
    for row, (ranking, place, _, score) in enumerate(entries):
        better = [
            (other[3], other[1], other[2], number)
            for number, other in enumerate(entries)
            if other[0] == ranking and other[1] < place and not math.isnan(other[3])
        ]
        if better and score > min(better)[0]:
            expected[row] = (score - min(better)[0], min(better)[3])
    found = against_scores(rankings).listed()
    assert {one.row: (one.value, one.witness) for one in found} == expected
