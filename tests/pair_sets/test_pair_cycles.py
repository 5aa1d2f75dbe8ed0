"""Cycles of preferences, by hand and against a twin."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.pair_sets.conflicts import find_conflicts
from curation.pair_sets.cycles import find_cycles
from curation.pair_sets.graph import closing_edges, strong_components
from curation.pair_sets.pairs import Responses
from tests.pair_sets import twins
from tests.pair_sets.build import Row, by_row, pair_set, rows


def ring(length: int, prompt: int = 0, start: int = 0) -> list[Row]:
    return [Row(start + n, prompt, n, (n + 1) % length, 1 + n / 4) for n in range(length)]


@pytest.mark.parametrize("length", [3, 4, 7, 50])
def test_the_weakest_pair_of_a_ring_goes(length: int) -> None:
    tail = Row(1000, 0, 0, "worst", 0.25)
    result = find_cycles(pair_set([*ring(length), tail]))
    found = by_row(result.findings)
    assert sorted(found) == list(range(length))
    assert found[0] == ("preference-cycle", length, 1, True)
    assert [row for row, (_, _, _, gone) in found.items() if gone] == [0]
    assert [walk.tolist() for walk in result.examples] == [list(range(length))]
    assert result.summary.components == 1 and result.summary.shortest == result.summary.longest == length
    assert find_cycles(pair_set([*ring(length), tail]), "drop-component").summary.dropped == length
    assert find_cycles(pair_set([*ring(length), tail]), "keep").summary.dropped == 0


def test_swapped_labels_are_no_cycle() -> None:
    pairs = pair_set([Row(1, 0, "a", "b"), Row(2, 0, "b", "a"), Row(3, 0, "b", "c"), Row(4, 0, "c", "a")])
    assert not len(find_cycles(pairs).findings)  # a and b are opposed, and nothing else closes a cycle
    alive = np.array([True, False, True, True])
    assert find_cycles(pairs, alive=alive).findings.row.tolist() == [0, 2, 3]


def test_an_unknown_margin_or_too_many_pairs_drop_all() -> None:
    unknown = [Row(1, 0, 0, 1, 1.0), Row(2, 0, 1, 2, math.nan), Row(3, 0, 2, 0, 1.0), *ring(3, 1, 10)]
    result = find_cycles(pair_set(unknown))
    assert result.findings.kept(6).tolist() == [False, False, False, False, True, True]
    assert result.summary.whole == 1
    assert find_cycles(pair_set(ring(5)), large_component=4).summary.dropped == 5


def test_prompts_are_apart_and_clusters_together() -> None:
    apart = pair_set([Row(1, 0, "a", "b"), Row(2, 1, "b", "c"), Row(3, 0, "c", "a")])
    assert not len(find_cycles(apart).findings)
    near = pair_set([Row(1, 0, "a", "b"), Row(2, 0, "b2", "c"), Row(3, 0, "c2", "a2")])
    assert not len(find_cycles(near).findings)
    clusters = Responses(np.array([0, 1, 2]), np.array([1, 2, 0]))
    assert len(find_cycles(near, clusters=clusters).findings) == 3
    with pytest.raises(ValueError, match="policy"):
        find_cycles(near, "shrug")  # type: ignore[arg-type]
    assert find_cycles(pair_set([])).summary.components == 0


def test_a_ring_of_a_hundred_thousand() -> None:
    count = 100_000
    tail = np.arange(count)
    head = np.roll(tail, -1)
    assert not strong_components(tail, head, count).any()
    assert np.flatnonzero(closing_edges(tail, head, count) >= 0).tolist() == [count - 1]


@pytest.mark.parametrize("seed", range(30))
def test_edges_that_close_a_cycle_are_those_of_the_twin(seed: int) -> None:
    dice, nodes = random.Random(seed), 5 + seed
    edges = [tuple(dice.sample(range(nodes), 2)) for _ in range(4 * nodes)]
    tail, head = np.array(edges, np.int64).T
    added: list[tuple] = []
    for (source, target), after in zip(edges, closing_edges(tail, head, nodes).tolist(), strict=True):
        closes = source in twins.reachable(added, target)
        assert (after >= 0) == closes
        if closes:
            assert edges[after] in added and edges[after][0] == target
            assert source in twins.reachable(added, edges[after][1])
        else:
            added.append((source, target))


@settings(max_examples=300)
@given(rows(answers=6, most=30), st.sampled_from([1, 2]), st.data())
def test_cycles_are_those_of_the_twin(drawn: list[Row], size: int, data: st.DataObject) -> None:
    alive = np.array(data.draw(st.lists(st.booleans(), min_size=len(drawn), max_size=len(drawn))), np.bool_)
    alive |= data.draw(st.booleans())
    sides = ([row.chosen // size for row in drawn], [row.rejected // size for row in drawn])  # type: ignore[operator]
    clusters = Responses(*(np.array(side, np.int64) for side in sides)) if size > 1 else None
    result = find_cycles(pair_set(drawn), alive=alive, clusters=clusters)
    graph = twins.edges(drawn, alive, lambda text: text // size)  # type: ignore[arg-type, operator]
    inside = twins.cyclic(graph)
    found = by_row(result.findings)
    assert set(found) == set(inside)
    dropped = twins.greedily_dropped(drawn, graph, inside)
    assert {row for row, (_, _, _, gone) in found.items() if gone} == dropped
    for row, (_, value, witness, _) in found.items():
        assert value == len(inside[row]) and inside[witness] == inside[row]
        assert graph[witness][0] == graph[row][1]
    components = {}
    for row in inside:
        components.setdefault(inside[row], []).append(row)
    assert [set(group.tolist()) for group in result.groups] == [set(group) for group in _by_first(components, graph)]
    for walk, group in zip(result.examples, result.groups, strict=True):
        edges = [graph[row] for row in group.tolist()]
        assert walk[0] == group[0] and twins.is_cycle(graph, walk.tolist())
        assert walk.size == 1 + twins.distance(edges, edges[0][1], edges[0][0]) >= 3


def _by_first(components: dict, graph: dict) -> list[list[int]]:
    place = {row: number for number, row in enumerate(graph)}
    return sorted(components.values(), key=lambda group: min(place[row] for row in group))


@pytest.mark.parametrize("seed", range(10))
def test_what_goes_is_contradicted_by_what_stays_and_cannot_come_back(seed: int) -> None:
    dice = random.Random(seed)
    sides = [dice.sample(both, 2) for both in combinations(range(12), 2)]
    drawn = [Row(number, 0, *both, dice.randrange(8) / 4, dice.randrange(3)) for number, both in enumerate(sides)]
    result = find_cycles(pair_set(drawn))
    graph = twins.edges(drawn, [True] * len(drawn))
    kept = result.findings.kept(len(drawn))
    left = {row: edge for row, edge in graph.items() if kept[row]}
    assert not twins.cyclic(left) and not kept.all()
    for row, (_, _, witness, gone) in by_row(result.findings).items():
        if gone:
            stronger = [edge for other, edge in left.items() if drawn[other].margin >= drawn[row].margin]
            tail, head = graph[row]
            assert tail in twins.reachable(stronger, head)
            assert kept[witness] and tail in twins.reachable(stronger, graph[witness][1])


@given(rows(answers=5), st.sampled_from(["drop-component", "keep-margin", "keep"]), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_numbers_of_clusters_do_not_matter(drawn: list[Row], policy: str, dice) -> None:
    number = dice.sample(range(5), 5)
    results = []
    for some, names in ((drawn, range(5)), (dice.sample(drawn, len(drawn)), number)):
        sides = ([names[row.chosen] for row in some], [names[row.rejected] for row in some])  # type: ignore[index]
        clusters = Responses(*(np.array(side, np.int64) for side in sides))
        result = find_cycles(pair_set(some), policy, clusters=clusters)  # type: ignore[arg-type]
        named = {
            some[row].id: (value, some[witness].id, gone)
            for row, (_, value, witness, gone) in by_row(result.findings).items()
        }
        walks = [[some[row].id for row in walk] for walk in result.examples]
        results.append((named, walks, [[some[row].id for row in group] for group in result.groups], result.summary))
    assert results[0] == results[1]


@given(
    rows(answers=5),
    st.sampled_from(["drop-both", "majority", "keep-margin", "keep"]),
    st.sampled_from(["drop-component", "keep-margin", "keep"]),
)
def test_no_pair_is_found_by_both(drawn: list[Row], policy: str, then: str) -> None:
    pairs = pair_set(drawn)
    conflicts = find_conflicts(pairs, policy)  # type: ignore[arg-type]
    alive = conflicts.findings.kept(len(drawn))
    cycles = find_cycles(pairs, then, alive=alive)  # type: ignore[arg-type]
    dropped = conflicts.findings.row[conflicts.findings.dropped]
    assert not set(cycles.findings.row) & set(dropped)
    if policy in ("drop-both", "keep"):
        assert not set(cycles.findings.row) & set(conflicts.findings.row)
    left = alive & cycles.findings.kept(len(drawn))
    again = find_conflicts(pairs.take(left), "keep")
    if policy != "keep":
        assert not len(again.findings)
        if then != "keep":
            assert not len(find_cycles(pairs.take(left)).findings)
