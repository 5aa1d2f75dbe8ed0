"""Contradictions along three responses or more: a over b, b over c, c over a.

The responses of a prompt cluster are nodes; each pair is an edge from the preferred one to the other.  A pair is
contradicted by others if and only if both its ends lie in one strongly connected component, which is what is
listed.

Comparisons with pairs in both directions are no edges here: they are conflicts, found, counted and settled by
:mod:`~curation.pair_sets.conflicts`.  The check takes what that step left (``alive``); where its policy was ``keep``,
the pairs of conflicts stay in the set and out of the graph.  So no cycle is a swapped label, every cycle has three
responses or more, and no pair is dropped by both.

================== ===============================================================================================
``drop-component`` all pairs inside a component go
``keep-margin``    pairs are taken with the largest margin first, equal ones by priority; one that closes a cycle with
                   pairs taken before it goes.  In a component where one margin is unknown, or of more pairs
                   than ``LARGE_COMPONENT``, all go
``keep``           all stay
================== ===============================================================================================

``keep-margin`` is greedy.  No pair that it drops could be put back without a cycle, and each is contradicted by a
chain of kept pairs whose margins are at least as large; but a smaller set may exist that also leaves no cycle (the
minimum feedback arc set: Karp, Reducibility among combinatorial problems, 1972, shows that finding it is NP-hard).

Witnesses: the next pair on a cycle, one that prefers something to what this pair prefers least.  For a pair that
``keep-margin`` drops from a component that it does not drop whole it is a kept one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from curation.pair_sets.conflicts import opposed
from curation.pair_sets.findings import Findings, Groups, findings_of, grouped
from curation.pair_sets.graph import closing_edges, out_edges, shortest_cycle, strong_components
from curation.pair_sets.numbering import numbered
from curation.pair_sets.pairs import PairSet, Responses, responses_by_digest, told_apart
from curation.pair_sets.policies import CyclePolicy

RULES = ("preference-cycle",)
LARGE_COMPONENT = 100_000  # pairs; the time for a component may grow with the square of them


@dataclass(frozen=True)
class CycleSummary:
    """For a card.

    Attributes:
        pairs: pairs of the graph: alive, with two responses, not in a conflict.
        components: strongly connected components of three responses or more.
        cyclic: pairs inside them.
        largest: responses of the largest one.
        shortest, longest: pairs of the shortest and of the longest cycle in ``examples``; 0 without any.
        whole: components all of whose pairs go.
        dropped: pairs that the policy takes away.
    """

    pairs: int
    components: int
    cyclic: int
    largest: int
    shortest: int
    longest: int
    whole: int
    dropped: int


@dataclass(frozen=True)
class Cycles:
    """Outcome of :func:`find_cycles`.

    Attributes:
        findings: a value is the number of responses of the component.
        groups: each component with all its pairs.
        examples: for each component a shortest cycle through its first pair, in the order in which it is walked.
        summary: for a card.
    """

    findings: Findings
    groups: Groups
    examples: Groups
    summary: CycleSummary


@dataclass(frozen=True)
class _Graph:
    """The pairs inside components, numbered by priority.

    Attributes:
        rows: ``int64[m]``.
        tail, head: ``int64[m]``, nodes.
        component: ``int64[v]``, of each node.
    """

    rows: np.ndarray
    tail: np.ndarray
    head: np.ndarray
    component: np.ndarray


def find_cycles(
    pairs: PairSet,
    policy: CyclePolicy = "keep-margin",
    *,
    alive: np.ndarray | None = None,
    clusters: Responses | None = None,
    large_component: int = LARGE_COMPONENT,
) -> Cycles:
    """Find the components that hold cycles, and break them.

    Args:
        pairs: all pairs of the set.
        policy: see above.
        alive: ``bool[n]``, pairs that are still in the set; all, if not given.
        clusters: response clusters; without them responses are the same if their digests are.
        large_component: ``keep-margin`` drops a component of more pairs whole.

    Raises:
        ValueError: there is no such policy.
    """
    if policy not in get_args(CyclePolicy):
        raise ValueError(f"there is no policy {policy!r}")
    responses = responses_by_digest(pairs) if clusters is None else told_apart(pairs, clusters)
    rows = _edges(pairs, responses, alive)
    graph = _cyclic_part(pairs, responses, rows)
    component = graph.component[graph.tail]
    dropped = np.full(graph.rows.size, policy == "drop-component")
    witness = _next_pairs(graph)
    if policy == "keep-margin":
        dropped, better = _weakest(graph, component, pairs.margin[graph.rows], large_component)
        witness = np.where(better >= 0, better, witness)
    return _outcome(len(pairs), rows.size, graph, component, witness, dropped)


def _edges(pairs: PairSet, responses: Responses, alive: np.ndarray | None) -> np.ndarray:
    """Rows that are edges, in order of priority."""
    order = pairs.order()
    rows = order if alive is None else order[alive[order]]
    rows = rows[responses.chosen[rows] != responses.rejected[rows]]
    sides = Responses(responses.chosen[rows], responses.rejected[rows])
    one_way: np.ndarray = rows[~opposed(pairs.prompt[rows], sides)]
    return one_way


def _cyclic_part(pairs: PairSet, responses: Responses, rows: np.ndarray) -> _Graph:
    prompt, size = pairs.prompt[rows], rows.size
    nodes = numbered(np.tile(prompt, 2), np.concatenate([responses.chosen[rows], responses.rejected[rows]]))
    tail, head = nodes[:size], nodes[size:]
    component = strong_components(tail, head, 1 + int(nodes.max(initial=-1)))
    inside = component[tail] == component[head]
    return _Graph(rows[inside], tail[inside], head[inside], component)


def _next_pairs(graph: _Graph) -> np.ndarray:
    """For each edge the first by priority that goes on from its head, as places."""
    starts, edges = out_edges(graph.tail, graph.component.size)
    result: np.ndarray = edges[starts[graph.head]]  # in a component each node has one
    return result


def _weakest(graph: _Graph, component: np.ndarray, margin: np.ndarray, large: int) -> tuple[np.ndarray, np.ndarray]:
    """Which edges go, ``bool[m]``, and the edge after each on the cycle that it would close, -1 for the others."""
    whole = np.bincount(component, minlength=graph.component.size) > large
    whole[component[np.isnan(margin)]] = True
    dropped, following = whole[component], np.full(margin.size, -1, np.int64)
    known = np.flatnonzero(~dropped)
    known = known[np.argsort(-margin[known], kind="stable")]
    after = closing_edges(graph.tail[known], graph.head[known], graph.component.size)
    closing = after >= 0
    following[known[closing]] = known[after[closing]]
    return dropped | (following >= 0), following


def _outcome(
    count: int, edges: int, graph: _Graph, component: np.ndarray, witness: np.ndarray, dropped: np.ndarray
) -> Cycles:
    sizes = np.bincount(graph.component)
    row_component, rule = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    row_component[graph.rows], rule[graph.rows] = component, 0
    value, row_witness, gone = np.zeros(count), np.full(count, -1, np.int64), np.zeros(count, np.bool_)
    value[graph.rows], row_witness[graph.rows], gone[graph.rows] = sizes[component], graph.rows[witness], dropped
    groups = grouped(row_component, graph.rows)
    _, first = np.unique(component, return_index=True)
    offsets, cycle = shortest_cycle(graph.tail, graph.head, graph.component, np.sort(first))
    lengths = np.diff(offsets)
    summary = CycleSummary(
        pairs=edges,
        components=len(groups),
        cyclic=graph.rows.size,
        largest=int(sizes[component].max(initial=0)),
        shortest=int(lengths.min()) if lengths.size else 0,
        longest=int(lengths.max(initial=0)),
        whole=len(groups) - np.unique(component[~dropped]).size,
        dropped=int(dropped.sum()),
    )
    findings = findings_of(RULES, rule, value, row_witness, gone)
    return Cycles(findings, groups, Groups(offsets, graph.rows[cycle]), summary)
