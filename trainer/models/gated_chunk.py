"""Gated chunk attention: full causal attention inside chunks, summaries of finished chunks, and a gate between them.

Shapes: B batch rows, T tokens, N chunks of a row, G = B·N chunks, C tokens of a chunk, J keys a chunk sees, D width,
H heads, K head width, X = K + 2, L levels, m pairs of a node.

For a token t of chunk i, per head:

1. **Local**: softmax attention over the tokens of chunk i up to t, with rotary positions; with ``memory_chunks = 1``
   also over the chunk before (Dai et al., 2019, Transformer-XL, arXiv 1901.02860).
2. **Global**: softmax attention, without positions, over the pairs of the Fenwick nodes that cover the finished chunks
   of the document before chunk i (``trainer.models.fenwick``), plus one learned null pair.  Level embeddings are
   added to the keys, and the logarithms of the pairs' weights to the logits; a token weighs sigmoid(u·k).
3. **Gate**: g = sigmoid(W·p + b), one per head, where p is the mean of the local output from the start of the chunk up
   to t.  (The mean over the whole chunk would look ahead.)  The result is g·local + (1 - g)·global.

All of it stays inside the document.  A document is expected to start at a chunk boundary or to fit into what is left
of a chunk; one that does neither is summarised from its first whole chunk on.  Work and memory are O(T·C + T·m·log T).

Inference may skip the global branch: where the mean gate at the end of the document's previous chunk is above
``gate_threshold``, the whole next chunk takes the local output alone.

``trainer.models.gated_chunk_naive`` is the same, token by token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right

from trainer.models.common import Linear, positions_within, rotary_tables, rotate
from trainer.models.fenwick import ABSENT, Forest, Nodes, forest, leaves


@dataclass(frozen=True)
class Layout:
    """Where the tokens of whole rows stand: the same for every layer, made once per forward."""

    batch: int
    chunks: int
    chunk: int
    cos_GCK2: Tensor
    sin_GCK2: Tensor
    mask_G1CJ: Tensor | None
    """Which keys of its chunk (with memory: of the chunk before and its own) a token sees; None: all up to itself."""
    since_GC: Tensor
    """How many tokens of the chunk up to this one are of its document, itself included."""
    continues_GC: Tensor
    """Whether the token's document was already there at the end of the chunk before."""
    forest: Forest


def lay_out(
    documents_BT: Tensor,
    attention: GatedChunkAttention,
    dtype: torch.dtype,
    *,
    plain: bool = False,
    ended: bool = False,
) -> Layout:
    """The layout of rows of whole chunks, or of rows shorter than a chunk.

    Args:
        documents_BT: number of the document of each token, -1 for padding.
        attention: any layer's.
        dtype: what is computed in.
        plain: whether each row is known to be one document, padded at its end.
        ended: whether nodes that only tokens behind the row will see are wanted too.
    """
    chunk = min(attention.chunk, documents_BT.shape[1])
    batch, chunks = documents_BT.shape[0], documents_BT.shape[1] // chunk
    changes_BT = documents_BT[:, 1:] != documents_BT[:, :-1]
    run_BNC = F.pad(changes_BT.long().cumsum(1), (1, 0)).unflatten(1, (chunks, chunk))  # one number per run of tokens
    padded_BNC = documents_BT.unflatten(1, (chunks, chunk)) < 0
    last_BN1 = F.pad(run_BNC[:, :-1, -1:], (0, 0, 1, 0), value=-1)  # the run at the end of the chunk before
    whole_BN = (run_BNC[..., 0] == run_BNC[..., -1]) & ~padded_BNC[..., 0]

    at_N = torch.arange(chunks, device=documents_BT.device)
    linked_BN = F.pad(whole_BN[:, :-1], (1, 0)) & (run_BNC[..., 0] == last_BN1[..., 0])
    before_BN = at_N - torch.where(linked_BN, 0, at_N).cummax(1).values

    positions_BT = positions_within(documents_BT)
    at_C = torch.arange(1, chunk + 1, device=documents_BT.device)
    tables = rotary_tables(positions_BT, attention.head_width, attention.rotary_base, dtype)
    cos_GCK2, sin_GCK2 = (x.unflatten(1, (chunks, chunk)).flatten(0, 1) for x in tables)
    plain = plain or _is_plain(run_BNC, padded_BNC, attention.memory)
    return Layout(
        batch,
        chunks,
        chunk,
        cos_GCK2,
        sin_GCK2,
        None if plain else _local_mask(run_BNC, attention.memory),
        torch.minimum(positions_BT.unflatten(1, (chunks, chunk)) + 1, at_C).flatten(0, 1),
        (run_BNC == last_BN1).flatten(0, 1),
        forest(before_BN, whole_BN, (chunks - (not ended or chunk < attention.chunk)).bit_length()),
    )


def _is_plain(run_BNC: Tensor, padded_BNC: Tensor, memory: bool) -> bool:
    """Whether "not later" says it all; looked up on the CPU only, elsewhere it would be waited for."""
    first = run_BNC[:, :1, :1] if memory else run_BNC[..., :1]
    return run_BNC.device.type == "cpu" and bool(((run_BNC == first) | padded_BNC).all())


def _local_mask(run_BNC: Tensor, memory: bool) -> Tensor:
    """Same document and not later (G, 1, C, J)."""
    chunk, keys_BNJ = run_BNC.shape[-1], run_BNC
    if memory:
        keys_BNJ = torch.cat((F.pad(run_BNC[:, :-1], (0, 0, 1, 0), value=-1), run_BNC), -1)
    order_CJ = _not_later(chunk, keys_BNJ.shape[-1], run_BNC.device)
    return ((run_BNC[..., None] == keys_BNJ[:, :, None]) & order_CJ).flatten(0, 1)[:, None]


def _not_later(queries: int, keys: int, device: torch.device) -> Tensor:
    """Queries are the last of the keys."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def running_mean(x_GCH: Tensor, since_GC: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sum of ``x`` over the last ``since`` tokens, in fp32 at least.

    Windows are doubled (Hillis and Steele, 1986) instead of subtracting cumulative sums, so that nothing of another
    document enters, not even a rounding error.
    """
    sum_GCH = x_GCH.to(torch.promote_types(x_GCH.dtype, torch.float32))
    step = 1
    while step < sum_GCH.shape[1]:
        earlier_GCH = F.pad(sum_GCH[:, :-step], (0, 0, step, 0))
        sum_GCH = sum_GCH + torch.where((since_GC > step)[..., None], earlier_GCH, 0)
        step *= 2
    return sum_GCH / since_GC[..., None], sum_GCH


class Mixed(NamedTuple):
    """What the attention of whole rows leaves behind: the mixture, and what a decode state is made from."""

    mixed_GCD: Tensor
    gate_GCH: Tensor
    gate_sum_GCH: Tensor
    rotated_GHCK: Tensor
    keys_GHCK: Tensor
    values_GHCK: Tensor
    levels: list[Nodes]


class GatedChunkAttention(nn.Module):  # type: ignore[misc]
    """See the top of the file.

    Args:
        width: D.
        heads: H.
        chunk: C.
        memory: whether the local branch sees the chunk before.
        pairs: m, of a node.
        levels: L, of the level embeddings: a document has less than 2^L chunks.
        rotary_base: base of the rotary frequencies.
    """

    gate_threshold: float | None = None
    """Above which mean gate the next chunk skips the global branch; heeded in ``eval`` mode and in decoding."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        chunk: int,
        memory: bool,
        pairs: int,
        levels: int,
        rotary_base: float = 10_000.0,
    ) -> None:
        super().__init__()
        self.rotary_base = rotary_base
        self.heads, self.head_width = heads, width // heads
        self.chunk, self.memory, self.pairs = chunk, memory, pairs
        self.query, self.key, self.value, self.out = (Linear(width, width) for _ in range(4))
        self.score_HK1 = nn.Parameter(torch.empty(heads, self.head_width, 1))
        self.level_LHK = nn.Parameter(torch.empty(levels, heads, self.head_width))
        self.null_key_HK = nn.Parameter(torch.empty(heads, self.head_width))
        self.null_value_HK = nn.Parameter(torch.empty(heads, self.head_width))
        self.gate = Linear(width, heads)
        self.gate_bias_H = nn.Parameter(torch.empty(heads))

    def reset(self, generator: torch.Generator) -> None:
        """Fresh values of what is no matrix: weights around 1/2, a null pair and levels without an opinion."""
        for weight in (self.level_LHK, self.null_key_HK, self.null_value_HK, self.gate_bias_H):
            nn.init.zeros_(weight)
        with torch.no_grad():
            drawn_HK1 = torch.empty(self.score_HK1.shape).normal_(0, self.head_width**-0.5, generator=generator)
            self.score_HK1.copy_(drawn_HK1)

    def forward(self, x_BTD: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """The output (B, T, D) and the gates (G, C, H) of whole rows."""
        mixed = self.mix(x_BTD, layout, None if self.training else self.gate_threshold)
        return self.out(mixed.mixed_GCD).view_as(x_BTD), mixed.gate_GCH

    def mix(self, x_BTD: Tensor, layout: Layout, threshold: float | None, *, reading: bool = False) -> Mixed:
        """All but the last projection; ``reading`` tells that no gradient will be asked for."""
        x_GCD = x_BTD.unflatten(1, (layout.chunks, layout.chunk)).flatten(0, 1)
        q_GHCK, k_GHCK, v_GHCK = self.project(x_GCD)
        rotated_GHCK = rotate(k_GHCK, layout.cos_GCK2, layout.sin_GCK2)
        turned_GHCK = rotate(q_GHCK, layout.cos_GCK2, layout.sin_GCK2)
        if reading and not turned_GHCK.is_cuda and self.memory and layout.chunks > 1 and layout.mask_G1CJ is None:
            local_GHCK = _local_views(turned_GHCK, rotated_GHCK, v_GHCK, layout)
        else:
            local_GHCK = self._local(turned_GHCK, rotated_GHCK, v_GHCK, layout)

        mean_GCH, sum_GCH = running_mean(self.gate(joined(local_GHCK)), layout.since_GC)
        gate_GCH = torch.sigmoid(mean_GCH + self.gate_bias_H.to(mean_GCH.dtype))
        skip_G = None if threshold is None else self._skipped(gate_GCH, layout, threshold)

        levels: list[Nodes] = []
        if layout.forest.levels:
            levels = layout.forest.grow(leaves(k_GHCK, v_GHCK, self.weigh(k_GHCK), self.pairs))
        global_GHCK = self._global(q_GHCK, levels, layout, skip_G)
        mixed_GHCK = torch.lerp(global_GHCK, local_GHCK, of_heads(gate_GCH, local_GHCK.dtype))
        if skip_G is not None:
            skip_GC = skip_G[:, None] & layout.continues_GC
            mixed_GHCK = torch.where(skip_GC[:, None, :, None], local_GHCK, mixed_GHCK)
        return Mixed(joined(mixed_GHCK), gate_GCH, sum_GCH, rotated_GHCK, k_GHCK, v_GHCK, levels)

    def project(self, x_BTD: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, heads first, without positions."""
        projected = (project(x_BTD) for project in (self.query, self.key, self.value))
        return tuple(x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)

    def weigh(self, k_GHCK: Tensor) -> Tensor:
        """Logarithms of the tokens' weights sigmoid(u·k), (G, H, C), in fp32 at least."""
        scores_GHC1 = k_GHCK @ self.score_HK1.to(k_GHCK.dtype)
        return F.logsigmoid(scores_GHC1.squeeze(-1).to(torch.promote_types(k_GHCK.dtype, torch.float32)))

    def _local(self, q_GHCK: Tensor, k_GHCK: Tensor, v_GHCK: Tensor, layout: Layout) -> Tensor:
        """Attention inside the chunk, and to the one before where there is memory."""
        mask_G1CJ, attend = layout.mask_G1CJ, F.scaled_dot_product_attention
        if not self.memory or layout.chunks == 1:
            mask_G1CJ = None if mask_G1CJ is None else mask_G1CJ[..., -layout.chunk :]
            return attend(q_GHCK, k_GHCK, v_GHCK, attn_mask=mask_G1CJ, is_causal=mask_G1CJ is None)
        q, k, v = (x.unflatten(0, (layout.batch, layout.chunks)) for x in (q_GHCK, k_GHCK, v_GHCK))
        if mask_G1CJ is not None:
            before = (torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), 1) for x in (k, v))
            k, v = (torch.cat((x, y), 3).flatten(0, 1) for x, y in zip(before, (k, v), strict=True))
            return attend(q_GHCK, k, v, attn_mask=mask_G1CJ)
        first = attend(q[:, 0], k[:, 0], v[:, 0], is_causal=True)
        k, v = (torch.cat((x[:, :-1], x[:, 1:]), 3).flatten(0, 1) for x in (k, v))
        order = _not_later(layout.chunk, 2 * layout.chunk, q.device)
        if q.is_cuda:  # the same, said so that the fused kernels know it
            order = causal_lower_right(layout.chunk, 2 * layout.chunk)
        rest = attend(q[:, 1:].flatten(0, 1), k, v, attn_mask=order)
        return torch.cat((first[:, None], rest.unflatten(0, (layout.batch, -1))), 1).flatten(0, 1)

    def _skipped(self, gate_GCH: Tensor, layout: Layout, threshold: float) -> Tensor:
        """Whether the mean gate at the end of the chunk before was above ``threshold`` (G)."""
        last_BN = gate_GCH[:, -1].mean(-1).view(layout.batch, layout.chunks)
        return F.pad(last_BN[:, :-1] > threshold, (1, 0)).flatten()

    def _global(self, q_GHCK: Tensor, levels: list[Nodes], layout: Layout, skip_G: Tensor | None) -> Tensor:
        """Attention to the null pair and the nodes that each chunk sees; 0 where it is skipped."""
        null_GHCK = self.null_value_HK.to(q_GHCK.dtype)[:, None].expand_as(q_GHCK)
        if not layout.forest.table_GL.shape[1]:
            return null_GHCK
        table_GL, rows = layout.forest.table_GL, None
        if skip_G is not None:
            rows = (~skip_G).nonzero()[:, 0]
            q_GHCK, table_GL = q_GHCK[rows], table_GL[rows]
        seen_GHCK = self.look(q_GHCK, *self._gather(levels, table_GL, layout))
        if rows is not None:
            seen_GHCK = torch.zeros_like(null_GHCK).index_copy(0, rows, seen_GHCK)
        elif layout.mask_G1CJ is None:  # documents begin with chunks, whose nodes are absent: they saw the null pair
            return seen_GHCK
        return torch.where(layout.continues_GC[:, None, :, None], seen_GHCK, null_GHCK)

    def _gather(self, levels: list[Nodes], table_GL: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """The null pair and the pairs of the nodes in ``table_GL``, as keys and values (G, H, 1 + L·m, X)."""
        pairs = [self.pairs_of(nodes, level) for level, nodes in enumerate(levels[: table_GL.shape[1]])]
        heads_H1 = torch.arange(self.heads, device=table_GL.device)[:, None]
        index = (table_GL[:, None] * self.heads + heads_H1).flatten()
        gathered = []
        for each, absent_HX, null_HX in zip(zip(*pairs, strict=True), self.absent(), self.null(), strict=True):
            rows = [x.unflatten(0, (layout.batch, -1)) for x in each]
            rows.append(absent_HX.to(rows[0].dtype)[:, None].expand_as(rows[0][:, :1]))
            seen = torch.cat(rows, 1).flatten(0, 2).index_select(0, index)
            seen_GHJX = seen.view(len(table_GL), self.heads, -1, seen.shape[-1])
            null_GH1X = null_HX.to(seen.dtype)[:, None].expand_as(seen_GHJX[:, :, :1])
            gathered.append(torch.cat((null_GH1X, seen_GHJX), 2))
        return gathered[0], gathered[1]

    def look(self, q_GHCK: Tensor, keys_GHJX: Tensor, values_GHJX: Tensor) -> Tensor:
        """Attention with the logarithms of weights that the last two places of a key carry (see ``pairs_of``)."""
        coordinate = torch.full_like(q_GHCK[..., :2], _unit(self.head_width))
        q_GHCX = torch.cat((q_GHCK, coordinate), -1)
        seen = F.scaled_dot_product_attention(q_GHCX, keys_GHJX, values_GHJX, scale=self.head_width**-0.5)
        return seen[..., : self.head_width]

    def pairs_of(self, nodes: Nodes, level: int) -> tuple[Tensor, Tensor]:
        """Keys and values (…, H, m, X) of nodes.

        The logarithm of a pair's weight is one more coordinate of its key, against a constant one of the query: no mask
        is needed, and every fused kernel gives its gradient.  A second one holds what rounding took from the first.
        """
        dtype = nodes.keys_HmK.dtype
        weights = nodes.weights_Hm * (self.head_width**0.5 / _unit(self.head_width))
        high = weights.to(dtype)
        coordinates = torch.stack((high, (weights - high).to(dtype)), -1)
        keys = nodes.keys_HmK + self.level_LHK[level, :, None].to(dtype)
        return torch.cat((keys, coordinates), -1), F.pad(nodes.values_HmK, (0, 2))

    def null(self) -> tuple[Tensor, Tensor]:
        """Key and value (H, X) of the null pair."""
        return F.pad(self.null_key_HK, (0, 2)), F.pad(self.null_value_HK, (0, 2))

    def absent(self) -> tuple[Tensor, Tensor]:
        """Key and value (H, X) of a pair that nobody sees."""
        zero_HX = torch.zeros_like(F.pad(self.null_key_HK, (0, 2)))
        key_HX = zero_HX.clone()
        key_HX[:, -2] = ABSENT * self.head_width**0.5 / _unit(self.head_width)
        return key_HX, zero_HX


def _local_views(q_GHCK: Tensor, k_GHCK: Tensor, v_GHCK: Tensor, layout: Layout) -> Tensor:
    """The local branch with memory: pairs of chunks as overlapping views instead of copies, and each half of the
    queries beside the keys that it may see.  Rounds otherwise than the form that has gradients."""
    batch, chunks, chunk = layout.batch, layout.chunks, layout.chunk
    q, k, v = (x.unflatten(0, (batch, chunks)) for x in (q_GHCK, k_GHCK, v_GHCK))
    _, heads, _, width = q_GHCK.shape
    row, token = heads * width * chunk * chunks, heads * width
    keys, values = (
        x_GHCK.transpose(1, 2).contiguous().as_strided(
            (batch, chunks - 1, heads, 2 * chunk, width), (row, chunk * token, width, token, 1)
        )
        for x_GHCK in (k_GHCK, v_GHCK)
    )  # fmt: skip
    mixed = q_GHCK.new_empty(batch, chunks, chunk, heads, width).transpose(2, 3)
    mixed[:, 0] = F.scaled_dot_product_attention(q[:, 0], k[:, 0], v[:, 0], is_causal=True)
    for begin, end in ((0, chunk // 2), (chunk // 2, chunk)):
        order = _not_later(end - begin, chunk + end, q.device)
        for b in range(batch if end > begin else 0):
            k_seen, v_seen = (x[b, :, :, : chunk + end] for x in (keys, values))
            mixed[b, 1:, :, begin:end] = F.scaled_dot_product_attention(
                q[b, 1:, :, begin:end], k_seen, v_seen, attn_mask=order
            )
    return mixed.flatten(0, 1)


def joined(x_GHCK: Tensor) -> Tensor:
    """Heads side by side (G, C, D)."""
    return x_GHCK.transpose(1, 2).flatten(2)


def of_heads(gate_GCH: Tensor, dtype: torch.dtype) -> Tensor:
    """Gates for what has heads first (G, H, C, 1)."""
    return gate_GCH.transpose(1, 2)[..., None].to(dtype)


def _unit(head_width: int) -> float:
    """The query's coordinate against the weight's: near sqrt K, and exact in every type."""
    return float(2 ** round(math.log2(head_width) / 2))
