# mypy: allow-untyped-defs, allow-untyped-calls, no-check-untyped-defs
# (kernels have no annotations: numba infers their types)
"""Which documents stay.

The greedy pass goes through documents in a fixed, total order of priority and keeps each one that has no
verified pair with a document kept before it.  What it keeps is the lexicographically first maximal independent
set of the graph of verified pairs: it depends on the pairs and on the order, on nothing else, so the parts of
the graph that are not connected may be decided apart.

Documents with the same sequence of words are one document here; its representative is the first by priority.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from curation.duplicates.arrays import read_only, run_starts
from curation.duplicates.jaccard import Edges

KEPT, EXACT, NEAR = 0, 1, 2  # why a document goes: it equals its witness word for word, or nearly


def rank_by_length(text: pa.Array, ids: pa.Array) -> np.ndarray:
    """The default order: longer texts first (in characters), then by id; ``int64[n]``, 0 goes first."""
    length = pc.utf8_length(text.fill_null(""))
    order = pc.sort_indices(
        pa.table({"length": length, "id": ids}), sort_keys=[("length", "descending"), ("id", "ascending")]
    )
    rank = np.empty(len(text), np.int64)
    rank[order.to_numpy()] = np.arange(len(text))
    return rank


class Kept(NamedTuple):
    """Outcome of the greedy pass.

    Attributes:
        kept: ``bool[n]``.
        witness: ``int64[n]``, the pair that removes each removed document, as its place in the edges; else -1.
    """

    kept: np.ndarray
    witness: np.ndarray


def greedy(edges: Edges, pinned: np.ndarray) -> Kept:
    """Keep and remove documents that are numbered in order of priority.

    A document goes if a document before it is kept and they are a pair.  Its witness is, of these, the one with
    the highest similarity, then the first.

    Args:
        edges: verified pairs, in any order; a repeated pair does no harm.
        pinned: ``bool[n]``, documents that stay whatever their pairs are.
    """
    count = pinned.size
    first, last = np.minimum(edges.left, edges.right), np.maximum(edges.left, edges.right)
    order = np.lexsort((first, last))
    starts = np.searchsorted(last[order], np.arange(count + 1))
    witness = np.full(count, -1, np.int64)
    kept = np.ones(count, np.bool_)
    counts = (read_only(column, np.int32) for column in (edges.intersection, edges.union))
    _greedy(starts, order, first, *counts, read_only(pinned, np.bool_), kept, witness)
    return Kept(kept, witness)


@njit(cache=True, nogil=True)
def _greedy(starts, order, first, intersection, union, pinned, kept, witness):
    for document in range(pinned.size):
        if pinned[document]:
            continue
        best = -1
        for place in range(starts[document], starts[document + 1]):
            edge = order[place]
            if not kept[first[edge]]:
                continue
            # Similarities are compared as fractions; at equal ones the earlier document stands.
            if best < 0 or np.int64(intersection[edge]) * union[best] > np.int64(intersection[best]) * union[edge]:
                best = edge
        witness[document] = best
        kept[document] = best < 0


def components(edges: Edges, count: int) -> np.ndarray:
    """The connected component of each document, named by its least document, ``int64[count]``."""
    parent = np.arange(count)
    _join(read_only(edges.left, np.int64), read_only(edges.right, np.int64), parent)
    return parent


@njit(cache=True, nogil=True)
def _join(left, right, parent):
    """Union-find with path halving; the smaller root wins, so that a root is the least of its component."""
    for edge in range(left.size):
        a, b = left[edge], right[edge]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        parent[max(a, b)] = min(a, b)
    for document in range(parent.size):  # parents are smaller, so theirs is final already
        parent[document] = parent[parent[document]]


def representatives(text_hash: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """For each document, the first by rank of those with its text hash, ``int64[n]``.

    Args:
        text_hash: ``uint64[n, 2]``.
        rank: ``int64[n]``, no value twice.
    """
    count = rank.size
    order = np.lexsort((rank, text_hash[:, 1], text_hash[:, 0]))
    ordered = text_hash[order]
    starts = run_starts(ordered)
    result = np.empty(count, np.int64)
    result[order] = np.repeat(order[starts], np.diff(np.append(starts, count)))
    return result


@dataclass(frozen=True)
class Decisions:
    """What becomes of each document, and why; all arrays have one value for each.

    Attributes:
        kept: ``bool``.
        kind: ``int8``: ``KEPT``, ``EXACT`` or ``NEAR``.
        witness: ``int64``, the kept document that a removed one repeats; -1 for a kept one.
        intersection, union: ``int32``, shingles in common with the witness and of both; 0 for a kept one.
        component: ``int64``, the first document by priority of the connected component of verified pairs.  In
            large buckets only pairs with kept documents are known.
        component_size: ``int64``, documents of the component, exact copies included.
        multiplicity: ``int64``, documents with this sequence of words, itself included.
        represents: ``int64``, for a kept document itself and all that name it as witness; else 0.
    """

    kept: np.ndarray
    kind: np.ndarray
    witness: np.ndarray
    intersection: np.ndarray
    union: np.ndarray
    component: np.ndarray
    component_size: np.ndarray
    multiplicity: np.ndarray
    represents: np.ndarray


def decide(
    representative: np.ndarray, rank: np.ndarray, edges: Edges, sizes: np.ndarray, pinned: np.ndarray
) -> Decisions:
    """Decide about all documents.

    A copy's witness is its representative where that is kept, else the representative's own witness, with the
    same counts.  A pinned copy is kept beside its representative.

    Args:
        representative: ``int64[n]`` as :func:`representatives` gives it.
        rank: ``int64[n]``, no value twice; pinned documents before all others.
        edges: verified pairs of representatives.
        sizes: ``int64[n]``, shingles of each representative that has copies (others are not read).
        pinned: ``bool[n]``.

    Raises:
        ValueError: a rank occurs twice, or a pinned document comes after one that is not.
    """
    order = np.argsort(rank, kind="stable")
    if (np.diff(rank[order]) == 0).any():
        raise ValueError("ranks must differ")
    if (np.diff(pinned[order].astype(np.int8)) > 0).any():
        raise ValueError("pinned documents must come first")
    position = np.empty_like(order)
    position[order] = np.arange(order.size)
    placed = edges._replace(left=position[edges.left], right=position[edges.right])
    outcome = greedy(placed, pinned[order])
    root_kept, root_edge = outcome.kept[position], outcome.witness[position]
    root_kept, root_edge = root_kept[representative], root_edge[representative]
    itself = representative == np.arange(rank.size)
    kept = (root_kept & itself) | pinned
    near, exact = ~kept & ~root_kept, ~kept & root_kept
    earlier = order[np.minimum(placed.left, placed.right)]
    witness = np.full(rank.size, -1, np.int64)
    intersection, union = np.zeros(rank.size, np.int32), np.zeros(rank.size, np.int32)
    witness[near] = earlier[root_edge[near]]
    intersection[near], union[near] = edges.intersection[root_edge[near]], edges.union[root_edge[near]]
    witness[exact] = representative[exact]
    intersection[exact] = union[exact] = sizes[representative[exact]]
    component = order[components(placed, rank.size)[position]][representative]
    return Decisions(
        kept=kept,
        kind=np.where(near, NEAR, np.where(exact, EXACT, KEPT)).astype(np.int8),
        witness=witness,
        intersection=intersection,
        union=union,
        component=component,
        component_size=np.bincount(component, minlength=rank.size)[component],
        multiplicity=np.bincount(representative, minlength=rank.size)[representative],
        represents=np.where(kept, 1 + np.bincount(witness[~kept], minlength=rank.size), 0),
    )
