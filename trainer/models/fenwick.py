"""Summaries of finished chunks in Fenwick trees: what a node is, how parents are made, and which nodes a chunk sees.

Shapes: B batch rows, N chunks of a row, G = B·N, H heads, C tokens of a chunk, n tokens or pairs, m pairs of a node, K
head width, M nodes of a level, L levels.

Every token has a weight in (0, 1), per head.  A node of level b stands for 2^b consecutive chunks of one document with
m pairs of key and value per head: half of them **pooled**, weighted means of equal runs of its tokens that weigh what
their tokens weigh together; and half **selected**, the tokens of the greatest weight, as they are.  The logarithm of a
pair's weight is added to its logit, so that a pooled pair attracts like the tokens it stands for.  Through it weights
are learned: the pooled half teaches them of every token, the selected half profits.

A parent comes from two children alone: the mean of means is a mean, and the best of the best are the best.  A chunk
that has r finished chunks before it sees one node for every bit set in r (Fenwick, 1994): at most log2 of them, and
together they cover those r chunks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

ABSENT = -1000.0
"""Logit of a pair that is not there: exp(ABSENT + anything sensible) is exactly 0, in fp64 too."""


class Nodes(NamedTuple):
    """Any number of nodes of one level; pooled pairs first."""

    keys_HmK: Tensor
    """(…, H, m, K), without positions."""
    values_HmK: Tensor
    weights_Hm: Tensor
    """Logarithms, in fp32 at least."""

    def take(self, index: Tensor) -> Nodes:
        """Nodes by number along the first dimension."""
        return Nodes(*(x.index_select(0, index) for x in self))


def leaves(k_GHCK: Tensor, v_GHCK: Tensor, weights_GHC: Tensor, pairs: int) -> Nodes:
    """The node of each chunk; ``weights_GHC`` are logarithms."""
    tokens = Nodes(k_GHCK, v_GHCK, weights_GHC)
    return _joined(_pool(tokens, pairs // 2), _select(tokens, pairs // 2))


def merge(left: Nodes, right: Nodes) -> Nodes:
    """The parents of neighbours."""
    half = left.weights_Hm.shape[-1] // 2
    pooled = _joined(*(Nodes(*(x[:, :, :half] for x in node)) for node in (left, right)))
    selected = _joined(*(Nodes(*(x[:, :, half:] for x in node)) for node in (left, right)))
    return _joined(_pool(pooled, half), _select(selected, half))


def _pool(given: Nodes, runs: int) -> Nodes:
    """Weighted means of ``runs`` equal runs of what is given."""
    parts = given.weights_Hm.unflatten(-1, (runs, -1))
    shares = parts.softmax(-1).to(given.keys_HmK.dtype)[..., None]
    keys, values = ((x.unflatten(-2, (runs, -1)) * shares).sum(-2) for x in given[:2])
    return Nodes(keys, values, parts.logsumexp(-1))


def _select(given: Nodes, count: int) -> Nodes:
    """The ``count`` of greatest weight."""
    best = given.weights_Hm.topk(count, dim=-1, sorted=False)
    index = best.indices[..., None].expand(*best.indices.shape, given.keys_HmK.shape[-1])
    return Nodes(given.keys_HmK.gather(-2, index), given.values_HmK.gather(-2, index), best.values)


def _joined(first: Nodes, second: Nodes) -> Nodes:
    """The pairs of both (M, H, m, …)."""
    return Nodes(*(torch.cat((x, y), 2) for x, y in zip(first, second, strict=True)))


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
