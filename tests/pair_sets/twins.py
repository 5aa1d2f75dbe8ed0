"""Slow and obvious versions of the checks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

from tests.pair_sets.build import Row

Found = dict[int, tuple[str, float, int, bool]]
Side = Callable[[object], object]


def in_order(rows: Sequence[Row]) -> list[int]:
    return sorted(range(len(rows)), key=lambda place: (rows[place].priority, rows[place].id))


def sides(row: Row, cluster: Side) -> tuple[object, object]:
    chosen, rejected = cluster(row.chosen), cluster(row.rejected)
    return (chosen, rejected) if chosen != rejected else (("exactly", row.chosen), ("exactly", row.rejected))


def directions(rows: Sequence[Row], places: Sequence[int], cluster: Side) -> dict[tuple, list[int]]:
    found = defaultdict(list)
    for place in places:
        found[(rows[place].prompt, *sides(rows[place], cluster))].append(place)
    return found


def opposite(direction: tuple) -> tuple:
    prompt, chosen, rejected = direction
    return prompt, rejected, chosen


def strength(rows: Sequence[Row], members: list[int], policy: str, combine: str) -> float:
    if policy == "majority":
        return len(members)
    margins = [rows[place].margin for place in members]
    if any(math.isnan(margin) for margin in margins):
        return math.nan
    return sum(margins) if combine == "sum" else max(margins)


def conflicts(rows: Sequence[Row], policy: str, combine: str = "sum", cluster: Side = lambda text: text) -> Found:
    ways, found = directions(rows, in_order(rows), cluster), {}
    for way, members in ways.items():
        against = ways.get(opposite(way), []) if way[1] != way[2] else []
        stays = not against or policy == "keep"
        if against and policy in ("majority", "keep-margin"):
            stays = strength(rows, members, policy, combine) > strength(rows, against, policy, combine)
        for number, place in enumerate(members):
            if stays and number:
                first, texts = rows[members[0]], ("chosen", "rejected", "text")
                same = all(getattr(rows[place], name) == getattr(first, name) for name in texts)
                rule = "pair-duplicate" if same else "pair-near-duplicate"
                found[place] = (rule, len(members), members[0], True)
            elif against:
                found[place] = ("label-conflict", len(against) - len(members), against[0], not stays)
    return found


def edges(rows: Sequence[Row], alive: Sequence[bool], cluster: Side = lambda text: text) -> dict[int, tuple]:
    """Place, tail and head of each pair of the graph, in order of priority."""
    places = [place for place in in_order(rows) if alive[place]]
    ways = directions(rows, places, cluster)
    result = {}
    for place in places:
        prompt, chosen, rejected = rows[place].prompt, *sides(rows[place], cluster)
        if chosen != rejected and (prompt, rejected, chosen) not in ways:
            result[place] = ((prompt, chosen), (prompt, rejected))
    return result


def reachable(graph: Sequence[tuple], start: object) -> set[object]:
    seen, todo = {start}, [start]
    while todo:
        node = todo.pop()
        for tail, head in graph:
            if tail == node and head not in seen:
                seen.add(head)
                todo.append(head)
    return seen


def cyclic(graph: dict[int, tuple]) -> dict[int, frozenset]:
    """The component of each pair that lies inside one, as a set of nodes."""
    ends = {node: reachable(list(graph.values()), node) for edge in graph.values() for node in edge}
    return {
        place: frozenset(node for node in ends[head] if head in ends[node])
        for place, (tail, head) in graph.items()
        if tail in ends[head]
    }


def greedily_dropped(rows: Sequence[Row], graph: dict[int, tuple], inside: dict[int, frozenset]) -> set[int]:
    """Strongest first; what closes a cycle goes, and whole components with an unknown margin."""
    whole = {component for place, component in inside.items() if math.isnan(rows[place].margin)}
    dropped = {place for place, component in inside.items() if component in whole}
    added: list[tuple] = []
    for place in sorted(inside, key=lambda place: (-rows[place].margin, rows[place].priority, rows[place].id)):
        if inside[place] in whole:
            continue
        tail, head = graph[place]
        if tail in reachable(added, head):
            dropped.add(place)
        else:
            added.append(graph[place])
    return dropped


def distance(graph: Sequence[tuple], start: object, goal: object) -> int:
    level, seen, steps = {start}, {start}, 0
    while goal not in level:
        level = {head for tail, head in graph if tail in level} - seen
        seen |= level
        steps += 1
    return steps


def is_cycle(graph: dict[int, tuple], walk: Sequence[int]) -> bool:
    closed = [*walk, walk[0]]
    return all(graph[one][1] == graph[other][0] for one, other in pairwise(closed)) and len(
        {graph[place][0] for place in walk}
    ) == len(walk)
