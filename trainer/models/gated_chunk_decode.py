"""Decoding with gated chunk attention: a state of constant size, and what one more token costs.

Shapes: B batch rows, T tokens appended, W of them in one step, H heads, C tokens of a chunk, K head width, X = K + 2,
m pairs of a node, L levels, J keys a token looks at.

A row's state in one layer is its unfinished chunk (with memory: the one before too), and a binary counter of nodes: a
finished chunk becomes a node, and while there is a node of that level already the two are merged into one of the next.
The counter holds exactly the nodes that ``trainer.models.fenwick`` gives the next chunk.  Rows may differ in length.

Tokens of rows that are empty are appended by the parallel form; others in steps that stay inside each row's chunk.
Which rows finish a chunk is known on the host, so that a step waits for no device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.errors import StateError
from trainer.models.common import rotary_tables, rotate, whole_lanes
from trainer.models.fenwick import Nodes, leaves, merge
from trainer.models.gated_chunk import GatedChunkAttention, Layout, Mixed, joined, lay_out, of_heads


@dataclass(frozen=True)
class LayerState:
    """What one layer remembers.  Tensors are written in place."""

    rotated_BHJK: Tensor
    """Keys with positions: the chunk before where there is memory, the chunk, and a place for what does not count."""
    values_BHJK: Tensor
    keys_BHCK: Tensor
    """Keys of the chunk without positions, for its node; and a last place."""
    gate_sum_BH: Tensor
    """Sum of the gate's projections over the chunk."""
    gate_B: Tensor
    """Mean gate at the end of the chunk before."""
    node_keys_BLHmK: Tensor
    node_values_BLHmK: Tensor
    node_weights_BLHm: Tensor
    pair_keys_BHJX: Tensor
    """The null pair and the pairs of the nodes, or absent ones, as they are looked at."""
    pair_values_BHJX: Tensor

    def tensors(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def empty_state(
    attention: GatedChunkAttention, batch: int, levels: int, device: torch.device, dtype: torch.dtype
) -> LayerState:
    """A state for rows of less than 2^levels chunks."""
    heads, width, pairs = attention.heads, attention.head_width, attention.pairs
    wide = torch.promote_types(dtype, torch.float32)

    def zeros(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.zeros(batch, *shape, device=device, dtype=dtype)

    looked_at = []
    for null_HX, absent_HX in zip(attention.null(), attention.absent(), strict=True):
        all_HJX = torch.cat((null_HX[:, None], absent_HX[:, None].expand(-1, levels * pairs, -1)), 1)
        looked_at.append(all_HJX.to(device, dtype).repeat(batch, 1, 1, 1))
    places = attention.chunk * (2 if attention.memory else 1) + 1
    return LayerState(
        zeros(heads, places, width),
        zeros(heads, places, width),
        zeros(heads, attention.chunk + 1, width),
        zeros(heads, dtype=wide),
        zeros(dtype=wide),
        zeros(levels, heads, pairs, width),
        zeros(levels, heads, pairs, width),
        zeros(levels, heads, pairs, dtype=wide),
        *looked_at,
    )


@dataclass(frozen=True)
class Step:
    """Tokens of every row that stay inside its chunk."""

    token_BW: Tensor | None
    """Which of the appended tokens; None: all."""
    counts_BW: Tensor
    """Whether there is such a token."""
    column_BW: Tensor
    """Its place in the chunk, C where there is none."""
    mask_B1WJ: Tensor
    """Which keys of the chunk before, where there is memory, and of the chunk it sees, up to the last that any does."""
    full: Sequence[int]
    """Rows whose chunk is finished by this step."""
    finished: Sequence[int]
    """How many chunks those rows had finished before."""

    def pick(self, x_BHTK: Tensor) -> Tensor:
        """The tokens of this step."""
        if self.token_BW is None:
            return x_BHTK
        return x_BHTK.gather(2, self.token_BW[:, None, :, None].expand(-1, x_BHTK.shape[1], -1, x_BHTK.shape[3]))


@dataclass(frozen=True)
class Plan:
    """How tokens are appended: the same for every layer.  Either ``layout`` or steps."""

    lengths_B: Tensor
    lengths: Sequence[int]
    """The same on the host."""
    layout: Layout | None = None
    cos_BTK2: Tensor | None = None
    sin_BTK2: Tensor | None = None
    steps: Sequence[Step] = ()


class DecodeState:
    """The state of every layer, and how many tokens each row holds.

    Its size depends on ``levels`` only: rows hold less than ``chunk · 2^levels`` tokens.
    """

    def __init__(
        self,
        attentions: Sequence[GatedChunkAttention],
        batch: int,
        levels: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.layers = [empty_state(attention, batch, levels, device, dtype) for attention in attentions]
        self.attention, self.chunk, self.dtype = attentions[0], attentions[0].chunk, dtype
        self.max_tokens = (self.chunk << levels) - 1
        self.used_B = torch.zeros(batch, device=device, dtype=torch.long)
        self.lengths = [0] * batch
        """``used_B`` on the host."""

    def bytes(self) -> int:
        """Size of all layers."""
        return sum(x.nbytes for layer in self.layers for x in layer.tensors().values())

    def clone(self) -> DecodeState:
        """An independent copy."""
        return self.rows(torch.arange(len(self.lengths), device=self.used_B.device))

    def rows(self, index: Tensor) -> DecodeState:
        """The rows named by ``index`` (numbers, repeats allowed, or a boolean mask), copied."""
        if index.dtype == torch.bool:
            index = index.nonzero()[:, 0]
        lengths = [self.lengths[row] for row in index.tolist()]
        return self._part(self.used_B.index_select(0, index), lengths, lambda x: x.index_select(0, index))

    def _part(self, used_B: Tensor, lengths: list[int], pick: Callable[[Tensor], Tensor]) -> DecodeState:
        """A state of some rows, whose tensors ``pick`` takes from all."""
        chosen = copy.copy(self)
        chosen.used_B, chosen.lengths = used_B, lengths
        chosen.layers = [LayerState(**{name: pick(x) for name, x in layer.tensors().items()}) for layer in self.layers]
        return chosen

    @property
    def empty(self) -> bool:
        """Whether no row holds a token."""
        return not any(self.lengths)

    def split(self, tokens: int, lengths_B: Tensor | None) -> list[DecodeState]:
        """One empty state a row, which writes into this one; ``tokens`` of every row, all or the first ``lengths_B``,
        are counted here already, as if they were appended to nothing."""
        self._count(*self._given(tokens, lengths_B))
        none_B = torch.zeros_like(self.used_B[:1])
        rows = [slice(row, row + 1) for row in range(len(self.lengths))]
        return [self._part(none_B.clone(), [0], itemgetter(row)) for row in rows]

    def put(self, index: Tensor, other: DecodeState) -> None:
        """Replace the rows named by ``index`` with those of ``other``, in place."""
        self.used_B[index] = other.used_B
        for row, length in zip(index.tolist(), other.lengths, strict=True):
            self.lengths[row] = length
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            for name, x in mine.tensors().items():
                x[index] = getattr(theirs, name)

    def finishes(self, tokens: int = 1) -> bool:
        """Whether a row finishes its chunk with the next ``tokens`` tokens."""
        return any(length % self.chunk + tokens >= self.chunk for length in self.lengths)

    def plan(self, tokens: int, lengths_B: Tensor | None) -> Plan:
        """How to append ``tokens`` tokens to every row, of which the first ``lengths_B`` count."""
        given_B, lengths = self._given(tokens, lengths_B)
        if tokens > 1 and self.empty:
            chunk = min(tokens, self.chunk)
            documents_BT = given_B.new_zeros(len(lengths), -(-tokens // chunk) * chunk)
            return Plan(given_B, lengths, lay_out(documents_BT, self.attention, self.dtype, plain=True, ended=True))
        positions_BT = self.used_B[:, None] + torch.arange(tokens, device=given_B.device)
        tables = rotary_tables(positions_BT, self.attention.head_width, self.attention.rotary_base, self.dtype)
        return Plan(given_B, lengths, None, *tables, self._steps(tokens, given_B, lengths))

    def advance(self, plan: Plan) -> None:
        """Count what was appended."""
        self._count(plan.lengths_B, plan.lengths)

    def _count(self, given_B: Tensor, lengths: Sequence[int]) -> None:
        self.used_B += given_B
        self.lengths = [used + new for used, new in zip(self.lengths, lengths, strict=True)]

    def _given(self, tokens: int, lengths_B: Tensor | None) -> tuple[Tensor, list[int]]:
        """How many tokens every row gets, on the device and on the host; there is room for them."""
        lengths = [tokens] * len(self.lengths) if lengths_B is None else [int(n) for n in lengths_B.tolist()]
        longest = max((used + more for used, more in zip(self.lengths, lengths, strict=True)), default=0)
        if longest > self.max_tokens:
            raise StateError(f"a decode state for {self.max_tokens} tokens cannot hold {longest}")
        return torch.full_like(self.used_B, tokens) if lengths_B is None else lengths_B.to(self.used_B), lengths

    def _steps(self, tokens: int, lengths_B: Tensor, lengths: list[int]) -> list[Step]:
        """One step per chunk that a row touches, at the most; the host and the device count alike."""
        done, done_B = [0] * len(lengths), torch.zeros_like(lengths_B)
        steps: list[Step] = []
        at_W = torch.arange(min(tokens, self.chunk), device=lengths_B.device)
        while not steps or done != lengths:
            fill = [(used + n) % self.chunk for used, n in zip(self.lengths, done, strict=True)]
            take = [min(self.chunk - f, n - d) for f, n, d in zip(fill, lengths, done, strict=True)]
            full = [row for row, n in enumerate(take) if n and fill[row] + n == self.chunk]
            finished = [(self.lengths[row] + done[row]) // self.chunk for row in full]
            begun_B = self.used_B + done_B
            fill_B = begun_B % self.chunk
            take_B = torch.minimum(self.chunk - fill_B, lengths_B - done_B)
            counts_BW = at_W < take_B[:, None]
            column_BW = torch.where(counts_BW, fill_B[:, None] + at_W, self.chunk)
            token_BW = None if tokens == 1 else (done_B[:, None] + at_W).clamp(max=tokens - 1)
            before = self.chunk if self.attention.memory else 0
            reach = whole_lanes(before + max(f + n for f, n in zip(fill, take, strict=True))) - before
            reach = min(reach, self.chunk)
            mask_B1WJ = self._mask(column_BW, begun_B, reach)
            steps.append(Step(token_BW, counts_BW, column_BW, mask_B1WJ, full, finished))
            done, done_B = [d + n for d, n in zip(done, take, strict=True)], done_B + take_B
        return steps

    def _mask(self, column_BW: Tensor, begun_B: Tensor, reach: int) -> Tensor:
        own_BWJ = torch.arange(reach, device=column_BW.device) <= column_BW[..., None]
        if not self.attention.memory:
            return own_BWJ[:, None]
        before_BWJ = (begun_B >= self.chunk)[:, None, None].expand(*column_BW.shape, self.chunk)
        return torch.cat((before_BWJ, own_BWJ), -1)[:, None]


def decode(attention: GatedChunkAttention, x_BTD: Tensor, state: LayerState, plan: Plan) -> Tensor:
    """The output of appended tokens (B, T, D); where a token does not count it is anything finite."""
    if plan.layout is not None:
        return _prefill(attention, x_BTD, state, plan.layout, plan.lengths_B)
    q_BHTK, k_BHTK, v_BHTK = attention.project(x_BTD)
    turned = (rotate(x, plan.cos_BTK2, plan.sin_BTK2) for x in (q_BHTK, k_BHTK))
    new = (q_BHTK, k_BHTK, v_BHTK, *turned)
    mixed_BTD = x_BTD.new_zeros(x_BTD.shape[0], x_BTD.shape[1] + 1, x_BTD.shape[2])
    rows_B1 = torch.arange(len(x_BTD), device=x_BTD.device)[:, None]
    for step in plan.steps:
        part_BWD = _append(attention, tuple(map(step.pick, new)), state, step)
        if step.token_BW is None:
            mixed_BTD = part_BWD
        else:
            mixed_BTD[rows_B1, torch.where(step.counts_BW, step.token_BW, x_BTD.shape[1])] = part_BWD
        _close(attention, state, step)
    out_BTD: Tensor = attention.out(mixed_BTD[:, : x_BTD.shape[1]])
    return out_BTD


def _append(attention: GatedChunkAttention, new: tuple[Tensor, ...], state: LayerState, step: Step) -> Tensor:
    """Store a step's tokens and mix what they see (B, W, D)."""
    q_BHWK, k_BHWK, v_BHWK, turned_q_BHWK, turned_k_BHWK = new
    before = attention.chunk if attention.memory else 0
    rows_B1 = torch.arange(len(q_BHWK), device=q_BHWK.device)[:, None]
    state.keys_BHCK[rows_B1, :, step.column_BW] = k_BHWK.transpose(1, 2)
    state.values_BHJK[rows_B1, :, before + step.column_BW] = v_BHWK.transpose(1, 2)
    state.rotated_BHJK[rows_B1, :, before + step.column_BW] = turned_k_BHWK.transpose(1, 2)
    reach = step.mask_B1WJ.shape[-1]
    keys, values = state.rotated_BHJK[:, :, :reach], state.values_BHJK[:, :, :reach]
    local_BHWK = F.scaled_dot_product_attention(turned_q_BHWK, keys, values, attn_mask=step.mask_B1WJ)

    part_BWH = attention.gate(joined(local_BHWK)).to(state.gate_sum_BH.dtype)
    sum_BWH = state.gate_sum_BH[:, None] + torch.where(step.counts_BW[..., None], part_BWH, 0).cumsum(1)
    state.gate_sum_BH.copy_(sum_BWH[:, -1])
    gate_BWH = _gate(attention, sum_BWH / (step.column_BW + 1)[..., None])

    skip_B = None if attention.gate_threshold is None else state.gate_B > attention.gate_threshold
    if skip_B is not None and bool(skip_B.all()):
        return joined(local_BHWK)
    global_BHWK = attention.look(q_BHWK, state.pair_keys_BHJX, state.pair_values_BHJX)
    mixed_BHWK = torch.lerp(global_BHWK, local_BHWK, of_heads(gate_BWH, local_BHWK.dtype))
    if skip_B is not None:
        mixed_BHWK = torch.where(skip_B[:, None, None, None], local_BHWK, mixed_BHWK)
    return joined(mixed_BHWK)


def _gate(attention: GatedChunkAttention, mean_H: Tensor) -> Tensor:
    return torch.sigmoid(mean_H + attention.gate_bias_H.to(mean_H.dtype))


def _close(attention: GatedChunkAttention, state: LayerState, step: Step) -> None:
    """Turn the full chunks into nodes and begin new ones."""
    if not step.full:
        return
    chunk, before = attention.chunk, attention.chunk if attention.memory else 0
    rows = torch.tensor(step.full, device=state.gate_B.device)
    keys_RHCK, values_RHCK = state.keys_BHCK[rows, :, :chunk], state.values_BHJK[rows, :, before : before + chunk]
    nodes = leaves(keys_RHCK, values_RHCK, attention.weigh(keys_RHCK), attention.pairs)
    _count_up(attention, state, nodes, rows, step.finished)
    state.gate_B[rows] = _gate(attention, state.gate_sum_BH[rows] / chunk).mean(-1)
    state.gate_sum_BH[rows] = 0
    if attention.memory:
        for x_BHJK in (state.rotated_BHJK, state.values_BHJK):
            x_BHJK[rows, :, :chunk] = x_BHJK[rows, :, chunk : 2 * chunk]


def _count_up(
    attention: GatedChunkAttention, state: LayerState, nodes: Nodes, rows: Tensor, finished: Sequence[int]
) -> None:
    """Add one node to the counter of each row: as one is added to the binary number ``finished``."""
    for level in range(state.node_keys_BLHmK.shape[1]):
        carry = [bool(number >> level & 1) for number in finished]
        stay, go = (torch.tensor([i for i, c in enumerate(carry) if c == up], device=rows.device).long()
                    for up in (False, True))  # fmt: skip
        if len(stay):
            _place(attention, state, nodes.take(stay), rows[stay], level)
        if not len(go):
            return
        rows, finished = rows[go], [number for number, up in zip(finished, carry, strict=True) if up]
        at = (rows, level)
        left = Nodes(state.node_keys_BLHmK[at], state.node_values_BLHmK[at], state.node_weights_BLHm[at])
        nodes = merge(left, nodes.take(go))
        _clear(attention, state, rows, level)


def _place(attention: GatedChunkAttention, state: LayerState, nodes: Nodes, rows: Tensor, level: int) -> None:
    """Make ``nodes`` the nodes of a level."""
    for x, new in zip((state.node_keys_BLHmK, state.node_values_BLHmK, state.node_weights_BLHm), nodes, strict=True):
        x[rows, level] = new
    for x, new in zip((state.pair_keys_BHJX, state.pair_values_BHJX), attention.pairs_of(nodes, level), strict=True):
        x[rows, :, _pairs_at(attention, level)] = new


def _clear(attention: GatedChunkAttention, state: LayerState, rows: Tensor, level: int) -> None:
    """Let the rows have no node of a level."""
    for x, absent_HX in zip((state.pair_keys_BHJX, state.pair_values_BHJX), attention.absent(), strict=True):
        x[rows, :, _pairs_at(attention, level)] = absent_HX[:, None].to(x.dtype)


def _pairs_at(attention: GatedChunkAttention, level: int) -> slice:
    return slice(1 + level * attention.pairs, 1 + (level + 1) * attention.pairs)


def _prefill(
    attention: GatedChunkAttention, x_BTD: Tensor, state: LayerState, layout: Layout, lengths_B: Tensor
) -> Tensor:
    """Append to empty rows by the parallel form."""
    more = layout.chunks * layout.chunk - x_BTD.shape[1]
    mixed = attention.mix(F.pad(x_BTD, (0, 0, 0, more)), layout, attention.gate_threshold, reading=True)
    _remember_chunk(attention, mixed, state, layout, lengths_B)
    finished_B = lengths_B // attention.chunk
    for level, nodes in enumerate(mixed.levels[: state.node_keys_BLHmK.shape[1]]):  # a begun chunk has no node yet
        rows = (finished_B >> level & 1).nonzero()[:, 0]
        size = layout.chunks >> level
        _place(attention, state, nodes.take(rows * size + (finished_B[rows] >> level) - 1), rows, level)
    out_BTD: Tensor = attention.out(mixed.mixed_GCD.view(len(x_BTD), -1, x_BTD.shape[-1])[:, : x_BTD.shape[1]])
    return out_BTD


def _remember_chunk(
    attention: GatedChunkAttention, mixed: Mixed, state: LayerState, layout: Layout, lengths_B: Tensor
) -> None:
    """The last, unfinished chunk of each row, and the one before it."""
    rows_B, chunk = torch.arange(layout.batch, device=lengths_B.device), layout.chunk
    finished_B, fill_B = lengths_B // attention.chunk, lengths_B % attention.chunk
    now_B = rows_B * layout.chunks + finished_B.clamp(max=layout.chunks - 1)
    last_B = rows_B * layout.chunks + (finished_B - 1).clamp(min=0)
    before = attention.chunk if attention.memory else 0
    state.keys_BHCK[:, :, :chunk] = mixed.keys_GHCK[now_B]
    for x_BHJK, given_GHCK in ((state.rotated_BHJK, mixed.rotated_GHCK), (state.values_BHJK, mixed.values_GHCK)):
        x_BHJK[:, :, before : before + chunk] = given_GHCK[now_B]
        if attention.memory:
            x_BHJK[:, :, :chunk] = given_GHCK[last_B]
    sum_BH = mixed.gate_sum_GCH[now_B, (fill_B - 1).clamp(min=0)]
    state.gate_sum_BH.copy_(torch.where((fill_B > 0)[:, None], sum_BH, 0))
    state.gate_B.copy_(torch.where(finished_B > 0, mixed.gate_GCH[last_B, -1].mean(-1), 0))
