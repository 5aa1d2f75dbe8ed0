"""Summaries of finished chunks in Fenwick trees: what a node is, how parents are made, and which nodes a chunk sees.

Shapes: B batch rows, N chunks of a row, G = B·N, H heads, C tokens of a chunk, m pairs of a node, P = m/2, K head
width, M nodes of a level, L levels.

A node of level b stands for 2^b consecutive chunks of one document with m pairs of key and value per head: P **pooled**
ones, means of equal runs of its tokens, and P **selected** ones, the tokens with the highest score, as they are.  A
parent comes from two children alone: neighbouring means are averaged, and the best of the best are the best.  A chunk
that has r finished chunks before it sees one node for every bit set in r (Fenwick, 1994): at most log2 of them, and
together they cover those r chunks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ABSENT = -1000.0
"""Logit of a pair that is not there: exp(ABSENT + anything sensible) is exactly 0, in fp64 too."""


class Nodes(NamedTuple):
    """Any number of nodes of one level; pooled pairs first."""

    keys_HmK: Tensor
    """(…, H, m, K), without positions."""
    values_HmK: Tensor
    scores_HP: Tensor
    """Of the selected pairs, in fp32 at least."""

    def take(self, index: Tensor) -> Nodes:
        """Nodes by number along the first dimension."""
        return Nodes(*(x.index_select(0, index) for x in self))


def leaves(k_GHCK: Tensor, v_GHCK: Tensor, scores_GHC: Tensor, pairs: int) -> Nodes:
    """The node of each chunk."""
    best = scores_GHC.topk(pairs // 2, dim=-1, sorted=False)
    keys, values = (torch.cat((_means(x, pairs // 2), _pick(x, best.indices)), -2) for x in (k_GHCK, v_GHCK))
    return Nodes(keys, values, best.values)


def merge(left: Nodes, right: Nodes) -> Nodes:
    """The parents of neighbours."""
    half = left.scores_HP.shape[-1]
    best = torch.cat((left.scores_HP, right.scores_HP), -1).topk(half, dim=-1, sorted=False)
    parts = []
    for x, y in ((left.keys_HmK, right.keys_HmK), (left.values_HmK, right.values_HmK)):
        pooled = torch.cat((x[..., :half, :], y[..., :half, :]), -2)
        selected = torch.cat((x[..., half:, :], y[..., half:, :]), -2)
        parts.append(torch.cat((_means(pooled, half), _pick(selected, best.indices)), -2))
    return Nodes(parts[0], parts[1], best.values)


def biases(nodes: Nodes, tokens: int) -> Tensor:
    """Logit biases (…, H, m) of nodes that stand for ``tokens`` tokens each.

    A mean weighs like the tokens it stands for; a selected token by how sure the score is, which is how the score
    learns.
    """
    run = torch.full_like(nodes.scores_HP, math.log(tokens / nodes.scores_HP.shape[-1]))
    return torch.cat((run, F.logsigmoid(nodes.scores_HP)), -1)


def _means(x_nK: Tensor, runs: int) -> Tensor:
    return x_nK.unflatten(-2, (runs, -1)).mean(-2)


def _pick(x_nK: Tensor, index_P: Tensor) -> Tensor:
    return x_nK.gather(-2, index_P[..., None].expand(*index_P.shape, x_nK.shape[-1]))


class Forest(NamedTuple):
    """The trees of a batch of rows, as numbers of nodes; the same for every layer."""

    children: tuple[tuple[Tensor, Tensor], ...]
    """For levels 1, 2, …: numbers of the left and right children (B·M) among the nodes of the level below."""
    table_GL: Tensor
    """Numbers of the nodes each chunk sees, among ``B·total``, row by row: those of L levels, and an absent one."""
    levels: int
    """How many are made; L of them are seen."""
    total: int
    """Nodes of a row in those levels, the absent one included."""

    def grow(self, leaves_G: Nodes) -> list[Nodes]:
        """All levels, the leaves first; a level has half the nodes of the one below."""
        levels = [leaves_G]
        for left, right in self.children:
            levels.append(merge(levels[-1].take(left), levels[-1].take(right)))
        return levels


def forest(before_BN: Tensor, whole_BN: Tensor, levels: int) -> Forest:
    """The trees over runs of whole chunks.

    Args:
        before_BN: how many chunks directly before this one are whole and of its document.
        whole_BN: whether a chunk is filled by one document; only such chunks are ever seen by others.
        levels: how many levels to make; more than chunks of these rows can see, where others will follow.
    """
    batch, chunks = before_BN.shape
    seen = (chunks - 1).bit_length()
    at_N = torch.arange(chunks, device=before_BN.device)
    rows_B1 = torch.arange(batch, device=before_BN.device)[:, None]
    number_BN = at_N.expand(batch, chunks)  # of the node that ends with a chunk, within its row and level
    sizes = [chunks >> level for level in range(levels)]
    total = sum(sizes[:seen]) + 1
    children, table = [], []
    for level, size in enumerate(sizes):
        if level:
            ends_BN = whole_BN & ((before_BN + 1) % (1 << level) == 0)
            chunk_BM = ends_BN.int().argsort(dim=1, descending=True, stable=True)[:, :size]
            sides = (chunk_BM - (1 << level - 1)).clamp(min=0), chunk_BM
            below = rows_B1 * sizes[level - 1]
            left, right = (number_BN.gather(1, side).clamp(0, sizes[level - 1] - 1) + below for side in sides)
            children.append((left.flatten(), right.flatten()))
            number_BN = ends_BN.long().cumsum(1) - 1
        if level >= seen:
            continue
        end_BN = (at_N - (before_BN & ((1 << level) - 1)) - 1).clamp(min=0)
        found_BN = number_BN.gather(1, end_BN) + sum(sizes[:level])
        table.append(torch.where(before_BN >> level & 1 == 1, found_BN, total - 1) + rows_B1 * total)
    table_BNL = torch.stack(table, -1) if table else before_BN.new_zeros(batch, chunks, 0)
    return Forest(tuple(children), table_BNL.flatten(0, 1), levels, total)
