# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs
# (kernels have no annotations: numba infers their types)
"""Directed graphs: strongly connected components, a shortest cycle, and what keeps a graph free of cycles.

A graph is ``tail`` and ``head``, ``int64[m]`` each, with edges numbered in an order of priority that decides where
several answers are right.  No kernel recurses, so neither a path nor a component can be too long.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from curation.duplicates.arrays import read_only


def out_edges(tail: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Edges by node: those of ``v`` are ``edges[starts[v]:starts[v + 1]]``, in order of priority."""
    edges = np.argsort(tail, kind="stable")
    return np.searchsorted(tail[edges], np.arange(count + 1)), edges


def strong_components(tail: np.ndarray, head: np.ndarray, count: int) -> np.ndarray:
    """The strongly connected component of each node, ``int64[count]``, in some numbering from 0.

    Tarjan, Depth-first search and linear graph algorithms, SIAM J. Computing 1 (1972).  Time and memory are linear.
    """
    starts, edges = out_edges(tail, count)
    component = np.full(count, -1, np.int64)
    _tarjan(read_only(starts, np.int64), read_only(head[edges], np.int64), component)
    return component


@njit(cache=True, nogil=True)
def _tarjan(starts, heads, component):
    count = component.size
    index, low = np.zeros(count, np.int64), np.zeros(count, np.int64)  # index 0: not visited yet
    following = starts[:-1].copy()  # the next edge to look at
    path, pending = np.empty(count, np.int64), np.empty(count, np.int64)
    depth = waiting = visited = found = 0
    for root in range(count):
        if index[root]:
            continue
        path[0], depth = root, 1
        while depth:
            node = path[depth - 1]
            if not index[node]:
                visited += 1
                index[node] = low[node] = visited
                pending[waiting] = node
                waiting += 1
            deeper = False
            while following[node] < starts[node + 1]:
                other = heads[following[node]]
                if not index[other]:
                    path[depth] = other
                    depth += 1
                    deeper = True
                    break
                if component[other] < 0:
                    low[node] = min(low[node], low[other])
                following[node] += 1
            if deeper:
                continue
            depth -= 1
            if low[node] == index[node]:
                while True:
                    waiting -= 1
                    component[pending[waiting]] = found
                    if pending[waiting] == node:
                        break
                found += 1


def shortest_cycle(
    tail: np.ndarray, head: np.ndarray, component: np.ndarray, through: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of some edges a shortest cycle of its component that begins with it.

    Args:
        tail, head: edges inside strongly connected components only.
        component: ``int64[count]``, of each node.
        through: ``int64[c]``, edges, no two of one component.

    Returns:
        Offsets, ``int64[c + 1]``, and edges, one cycle after the other, each in the order in which it is walked.
    """
    starts, edges = out_edges(tail, component.size)
    offsets, lengths = np.zeros(through.size + 1, np.int64), np.empty(component.size, np.int64)
    arrays = (read_only(array, np.int64) for array in (starts, edges, tail, head, through))
    filled = _cycles(*arrays, offsets, lengths)
    return offsets, lengths[:filled].copy()


@njit(cache=True, nogil=True)
def _cycles(starts, edges, tail, head, through, offsets, cycles):
    """Breadth first from the head of each edge to its tail; components are apart, so all is visited at most once."""
    reached_by = np.full(starts.size - 1, -1, np.int64)
    queue = np.empty(starts.size - 1, np.int64)
    filled = 0
    for cycle in range(through.size):
        source, target = head[through[cycle]], tail[through[cycle]]
        queue[0], first, last = source, 0, 1
        while reached_by[target] < 0:
            node = queue[first]
            first += 1
            for place in range(starts[node], starts[node + 1]):
                other = head[edges[place]]
                if reached_by[other] < 0 and other != source:
                    reached_by[other] = edges[place]
                    queue[last] = other
                    last += 1
        length, node = 1, target
        while node != source:
            node = tail[reached_by[node]]
            length += 1
        offsets[cycle + 1] = filled + length
        place, node = filled + length - 1, target
        while node != source:
            cycles[place] = reached_by[node]
            node = tail[reached_by[node]]
            place -= 1
        cycles[filled] = through[cycle]
        filled += length
    return filled


def closing_edges(tail: np.ndarray, head: np.ndarray, count: int) -> np.ndarray:
    """Add edges in order, leaving out each that would close a cycle with those added before it.

    The order of the nodes is kept up as edges come in: Pearce and Kelly, A dynamic topological sort algorithm for
    directed acyclic graphs, ACM J. Experimental Algorithmics 11 (2006).

    Returns:
        ``int64[m]``: -1 for an edge that was added; for one left out the edge that follows it on the cycle.
    """
    following = np.full(tail.size, -1, np.int64)
    _add_edges(read_only(tail, np.int64), read_only(head, np.int64), count, following)
    return following


@njit(cache=True, nogil=True)
def _add_edges(tail, head, count, following):
    place = np.full(count, -1, np.int64)  # of each node in the order; nodes enter it when they are first seen
    outward, inward = np.full(count, -1, np.int64), np.full(count, -1, np.int64)  # last added edge of each node
    next_out, next_in = np.empty(tail.size, np.int64), np.empty(tail.size, np.int64)
    seen, reached_by = np.full(count, -1, np.int64), np.empty(count, np.int64)
    after, before = np.empty(count, np.int64), np.empty(count, np.int64)
    entered = 0
    for edge in range(tail.size):
        source, target = tail[edge], head[edge]
        for node in (source, target):
            if place[node] < 0:
                place[node] = entered
                entered += 1
        if place[target] < place[source]:
            # What follows the target, up to the source.
            after[0], size, done = target, 1, 0
            seen[target] = edge
            while done < size and seen[source] != edge:
                node = after[done]
                done += 1
                step = outward[node]
                while step >= 0:
                    other = head[step]
                    if seen[other] != edge and place[other] <= place[source]:
                        seen[other], reached_by[other] = edge, step
                        after[size] = other
                        size += 1
                    step = next_out[step]
            if seen[source] == edge:
                node = source
                while node != target:
                    following[edge] = reached_by[node]
                    node = tail[reached_by[node]]
                continue
            # What leads to the source, down to the target.
            before[0], size_before, done = source, 1, 0
            seen[source] = edge
            while done < size_before:
                step = inward[before[done]]
                done += 1
                while step >= 0:
                    other = tail[step]
                    if seen[other] != edge and place[other] > place[target]:
                        seen[other] = edge
                        before[size_before] = other
                        size_before += 1
                    step = next_in[step]
            _put_before(place, before[:size_before], after[:size])
        next_out[edge], outward[source] = outward[source], edge
        next_in[edge], inward[target] = inward[target], edge


@njit(cache=True, nogil=True)
def _put_before(place, before, after):
    """Give the places of both groups to the first group, then to the second, each in its order so far."""
    places = np.sort(np.concatenate((place[before], place[after])))
    first, second = before[np.argsort(place[before])], after[np.argsort(place[after])]
    for number in range(first.size):
        place[first[number]] = places[number]
    for number in range(second.size):
        place[second[number]] = places[first.size + number]
