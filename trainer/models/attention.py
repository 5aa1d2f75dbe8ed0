"""Dense causal attention with grouped queries and rotary positions: parallel form, decode state, naive twin.

Shapes: B batch, T new tokens, N keys, W keys looked at, D width, H query heads, G key heads (a divisor of H), K head
width, L layers.

Grouped queries are Ainslie et al., 2023 (arXiv 2305.13245); rotary positions Su et al., 2021 (arXiv 2104.09864).
Attention never crosses documents: in a packed row a token sees the tokens of its own document up to itself.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import ConfigError, StateError
from trainer.models.common import Linear, positions_within, residual, rotary_tables, rotate, whole_lanes
from trainer.ranges import POSITIVE, Checked


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(Checked):
    """What models with this attention have in common, and its arithmetic."""

    vocab: int = field(default=32_768, metadata={"limit": POSITIVE})
    """Size of the vocabulary."""
    width: int = field(default=768, metadata={"limit": POSITIVE})
    """Width of the residual stream."""
    layers: int = field(default=12, metadata={"limit": POSITIVE})
    """Number of blocks."""
    heads: int = field(default=12, metadata={"limit": POSITIVE})
    """Query heads; they divide the width, and the width of one is even."""
    kv_heads: int | None = field(default=None, metadata={"limit": POSITIVE})
    """Key and value heads, a divisor of ``heads``; by default as many."""
    rotary_base: float = field(default=10_000.0, metadata={"limit": POSITIVE})
    """Base of the rotary frequencies."""
    tie: bool = False
    """Whether the head shares the weight of the embedding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.heads):
            raise ConfigError("/heads", f"the width {self.width} is no even multiple of {self.heads} heads")
        if self.heads % self.groups:
            raise ConfigError("/kv_heads", f"{self.groups} is no divisor of {self.heads} heads")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def groups(self) -> int:
        """Key and value heads."""
        return self.kv_heads or self.heads

    def attention_parameters(self) -> int:
        """Weights of one layer's four projections."""
        return 2 * self.width * self.head_width * (self.heads + self.groups)

    def attention_flops(self, tokens: int, context: int = 0, *, full: bool = False) -> int:
        """One layer, forward: ``tokens`` new ones behind ``context`` earlier ones.

        Causal-exact: a query pays for the keys it may see; ``full`` counts all tokens · (context + tokens) scores.
        """
        pairs = tokens * context + (tokens * tokens if full else tokens * (tokens + 1) // 2)
        return 2 * tokens * self.attention_parameters() + 4 * self.width * pairs

    def vocabulary_parameters(self) -> int:
        """Embedding and head."""
        return (1 if self.tie else 2) * self.vocab * self.width

    def cache_bytes(self, tokens: int, dtype: torch.dtype) -> int:
        """Keys and values of one row of ``tokens`` tokens."""
        return 2 * self.layers * tokens * self.groups * self.head_width * int(dtype.itemsize)


class Place(NamedTuple):
    """Where new tokens stand: the same for every layer, made once per forward."""

    cos_BTK2: Tensor
    sin_BTK2: Tensor
    mask_B1TW: Tensor | None
    """Which keys a query sees; None: those up to itself where ``causal``, else all."""
    causal: bool


def attend(q_BHTK: Tensor, k_BGWK: Tensor, v_BGWK: Tensor, mask_B1TW: Tensor | None, causal: bool) -> Tensor:
    """softmax(q·k / sqrt K)·v over the keys a query sees (B, H, T, K)."""
    grouped = q_BHTK.shape[1] != k_BGWK.shape[1]
    if grouped and mask_B1TW is not None and q_BHTK.is_cuda:  # fused kernels with a mask know no groups
        copies, grouped = q_BHTK.shape[1] // k_BGWK.shape[1], False
        k_BGWK, v_BGWK = k_BGWK.repeat_interleave(copies, 1), v_BGWK.repeat_interleave(copies, 1)
    return F.scaled_dot_product_attention(
        q_BHTK, k_BGWK, v_BGWK, attn_mask=mask_B1TW, is_causal=causal, enable_gqa=grouped
    )


def attend_naive(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, documents_BT: Tensor) -> Tensor:
    """The definition, one query at a time."""
    batch, heads, tokens, width = q_BHTK.shape
    out_BHTK = torch.zeros_like(q_BHTK)
    for b in range(batch):
        for h in range(heads):
            g = h * k_BGTK.shape[1] // heads
            for t in range(tokens):
                seen = [s for s in range(t + 1) if documents_BT[b, s] == documents_BT[b, t]]
                weights_S = (k_BGTK[b, g, seen] @ q_BHTK[b, h, t] / math.sqrt(width)).softmax(0)
                out_BHTK[b, h, t] = weights_S @ v_BGTK[b, g, seen]
    return out_BHTK


def place_parallel(
    tokens_BT: Tensor, documents_BT: Tensor | None, config: AttentionConfig, dtype: torch.dtype
) -> Place:
    """Whole rows: causal, and inside documents where there are several."""
    if documents_BT is None:
        positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
        return Place(*rotary_tables(positions_BT, config.head_width, config.rotary_base, dtype), None, True)
    same_B1TT = (documents_BT[:, None, :, None] == documents_BT[:, None, None, :]).tril()
    tables = rotary_tables(positions_within(documents_BT), config.head_width, config.rotary_base, dtype)
    return Place(*tables, same_B1TT, False)


class Attention(nn.Module):
    """Projections around ``attend``."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        self.query = Linear(config.width, config.width)
        self.key = Linear(config.width, config.groups * config.head_width)
        self.value = Linear(config.width, config.groups * config.head_width)
        self.out = residual(Linear(config.width, config.width), config.layers)

    def forward(self, x_BTD: Tensor, place: Place, state: DecodeState | None = None, layer: int = 0) -> Tensor:
        q_BHTK, k_BGTK, v_BGTK = (self._heads(project(x_BTD)) for project in (self.query, self.key, self.value))
        q_BHTK = rotate(q_BHTK, place.cos_BTK2, place.sin_BTK2)
        k_BGTK = rotate(k_BGTK, place.cos_BTK2, place.sin_BTK2)
        if state is not None:
            k_BGTK, v_BGTK = state.append(layer, k_BGTK, v_BGTK)
        mixed_BHTK = attend(q_BHTK, k_BGTK, v_BGTK, place.mask_B1TW, place.causal)
        out_BTD: Tensor = self.out(mixed_BHTK.transpose(1, 2).flatten(2))
        return out_BTD

    def _heads(self, x_BTX: Tensor) -> Tensor:
        return x_BTX.unflatten(-1, (-1, self.head_width)).transpose(1, 2)


class DecodeState:
    """Keys and values of every layer, and how many tokens each row holds.

    Buffers have a fixed size where ``max_tokens`` is given, and double when full otherwise; their last place takes the
    padding of ragged steps and is never seen.  A step is ``place(…)`` once and ``append(layer, …)`` per layer.
    ``bounds`` are what the host knows of each row's tokens (never too small), so that a step waits for no device.  The
    keys looked at end behind the longest row; where there is a mask, with a whole number of lanes, so that a row comes
    out the same beside longer ones.
    """

    def __init__(
        self, config: AttentionConfig, batch: int, device: torch.device, dtype: torch.dtype, max_tokens: int | None
    ) -> None:
        shape = (config.layers, batch, config.groups, whole_lanes((max_tokens or 0) + 1), config.head_width)
        self.config = config
        self.max_tokens = max_tokens
        self.keys_LBGNK = torch.zeros(shape, device=device, dtype=dtype)
        self.values_LBGNK = torch.zeros(shape, device=device, dtype=dtype)
        self.used_B = torch.zeros(batch, device=device, dtype=torch.long)
        self.bounds = [0] * batch
        self.even = True
        self._slots_BT: Tensor | None = None
        self._fresh = True
        self._reach = 0

    @property
    def bound(self) -> int:
        """No row holds more tokens."""
        return max(self.bounds, default=0)

    @property
    def dtype(self) -> torch.dtype:
        return self.keys_LBGNK.dtype

    def clone(self) -> DecodeState:
        """An independent copy."""
        return self.rows(torch.arange(len(self.used_B), device=self.used_B.device))

    def rows(self, index: Tensor) -> DecodeState:
        """The rows named by ``index`` (numbers, repeats allowed, or a boolean mask), copied."""
        if index.dtype == torch.bool:
            index = index.nonzero()[:, 0]
        chosen = copy.copy(self)
        chosen.keys_LBGNK = self.keys_LBGNK.index_select(1, index)
        chosen.values_LBGNK = self.values_LBGNK.index_select(1, index)
        chosen.used_B = self.used_B.index_select(0, index)
        chosen.bounds = [self.bounds[row] for row in index.tolist()]
        return chosen

    @property
    def empty(self) -> bool:
        """Whether no row holds a token."""
        return self.bound == 0

    def split(self, tokens: int, lengths_B: Tensor | None) -> list[DecodeState]:
        """One empty state a row, which writes into this one; ``tokens`` of every row, all or the first ``lengths_B``,
        are counted here already, as if they were appended to nothing."""
        self._reserve(tokens, lengths_B)
        self._count(tokens, lengths_B)
        states = []
        for row in range(len(self.bounds)):
            one = copy.copy(self)
            one.keys_LBGNK, one.values_LBGNK = (x[:, row : row + 1] for x in (self.keys_LBGNK, self.values_LBGNK))
            one.used_B, one.bounds = torch.zeros_like(self.used_B[:1]), [0]
            one.even, one.max_tokens = True, self._room
            states.append(one)
        return states

    def put(self, index: Tensor, other: DecodeState) -> None:
        """Replace the rows named by ``index`` with those of ``other``, in place."""
        tokens = other.bound
        self._make_room(tokens)
        self.keys_LBGNK[:, index, :, :tokens] = other.keys_LBGNK[:, :, :, :tokens]
        self.values_LBGNK[:, index, :, :tokens] = other.values_LBGNK[:, :, :, :tokens]
        self.used_B[index] = other.used_B
        for row, bound in zip(index.tolist(), other.bounds, strict=True):
            self.bounds[row] = bound
        self.even = False

    def place(self, tokens: int, lengths_B: Tensor | None) -> Place:
        """Make room for ``tokens`` more in every row, of which the first ``lengths_B`` count; say where they stand.

        Lengths that are on the host make the bounds exact.
        """
        before = self.bound
        self._reserve(tokens, lengths_B)
        lengths_B = None if lengths_B is None else lengths_B.to(self.used_B)
        steps_T = torch.arange(tokens, device=self.used_B.device)
        positions_BT = self.used_B[:, None] + steps_T
        self._fresh = before == 0
        self._slots_BT = None
        if lengths_B is not None or not (self.even or self._fresh):
            taken_B = lengths_B if lengths_B is not None else torch.full_like(self.used_B, tokens)
            last = self.keys_LBGNK.shape[3] - 1
            self._slots_BT = torch.where(steps_T < taken_B[:, None], positions_BT, last)
        mask_B1TW, self._reach = None, self.bound
        if not self._fresh and not (tokens == 1 and self._slots_BT is None):
            self._reach = min(whole_lanes(self.bound), self.keys_LBGNK.shape[3])
            keys_W = torch.arange(self._reach, device=self.used_B.device)
            mask_B1TW = (keys_W <= positions_BT[..., None])[:, None]
        self._count(tokens, lengths_B)
        tables = rotary_tables(positions_BT, self.config.head_width, self.config.rotary_base, self.dtype)
        return Place(*tables, mask_B1TW, self._fresh)

    def append(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values; give those that the new tokens look at."""
        looked_at = []
        for new_BGTK, buffer_BGNK in ((k_BGTK, self.keys_LBGNK[layer]), (v_BGTK, self.values_LBGNK[layer])):
            if self._slots_BT is None:
                buffer_BGNK[:, :, self.bound - new_BGTK.shape[2] : self.bound] = new_BGTK
            else:
                rows_B1 = torch.arange(len(new_BGTK), device=new_BGTK.device)[:, None]
                buffer_BGNK[rows_B1, :, self._slots_BT] = new_BGTK.transpose(1, 2)
            looked_at.append(new_BGTK if self._fresh else buffer_BGNK[:, :, : self._reach])
        return looked_at[0], looked_at[1]

    def _count(self, tokens: int, lengths_B: Tensor | None) -> None:
        self.used_B = self.used_B + (tokens if lengths_B is None else lengths_B.to(self.used_B))
        self.even = self.even and lengths_B is None

    def _reserve(self, tokens: int, lengths_B: Tensor | None) -> None:
        more = [tokens] * len(self.bounds)
        if lengths_B is not None and lengths_B.device.type == "cpu":
            more = lengths_B.tolist()
        bounds = [bound + new for bound, new in zip(self.bounds, more, strict=True)]
        if max(bounds, default=0) > self._room and not (self.even and lengths_B is None):  # perhaps too large: ask
            bounds = (self.used_B + (tokens if lengths_B is None else lengths_B.to(self.used_B))).tolist()
        self._make_room(max(bounds, default=0))
        self.bounds = bounds

    @property
    def _room(self) -> int:
        return self.keys_LBGNK.shape[3] - 1 if self.max_tokens is None else self.max_tokens

    def _make_room(self, tokens: int) -> None:
        room = self._room
        if tokens <= room:
            return
        if self.max_tokens is not None:
            raise StateError(f"a decode state for {self.max_tokens} tokens cannot hold {tokens}")
        more = whole_lanes(max(tokens, 2 * room) + 1) - self.keys_LBGNK.shape[3]
        self.keys_LBGNK = F.pad(self.keys_LBGNK, (0, 0, 0, more))
        self.values_LBGNK = F.pad(self.values_LBGNK, (0, 0, 0, more))
