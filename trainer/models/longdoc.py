"""Family A, long documents: a decoder whose attention is local in chunks and sparse beyond, at O(n log n).

Shapes: B batch, T tokens, D width, V vocabulary.

The attention is ``trainer.models.gated_chunk``; everything around it is as in the dense twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.errors import ConfigError, DataError
from trainer.models.by_rows import by_rows
from trainer.models.common import Embedding, Linear, RMSNorm, SwiGLU, Trunk, residual, swiglu_width
from trainer.models.gated_chunk import GatedChunkAttention, Layout, lay_out
from trainer.models.gated_chunk_decode import DecodeState, Plan, decode
from trainer.ranges import POSITIVE, Checked, Range


@dataclass(frozen=True, kw_only=True)
class LongDocConfig(Checked):
    """A decoder for long documents."""

    vocab: int = field(default=32_768, metadata={"limit": POSITIVE})
    """Size of the vocabulary."""
    width: int = field(default=768, metadata={"limit": POSITIVE})
    """Width of the residual stream."""
    layers: int = field(default=12, metadata={"limit": POSITIVE})
    """Number of blocks."""
    heads: int = field(default=12, metadata={"limit": POSITIVE})
    """Heads; they divide the width, and the width of one is even."""
    hidden: int | None = field(default=None, metadata={"limit": POSITIVE})
    """Hidden width of the feed-forward; by default 8/3 of the width."""
    chunk: int = field(
        default=512,
        metadata={
            "limit": POSITIVE,
            "range": Range(512, 1024, "shorter loses context, longer costs as dense attention"),
        },
    )
    """Tokens of a chunk, inside which attention is full."""
    memory_chunks: int = field(default=1, metadata={"limit": Range(0, 1, "the chunk before, or none")})
    """Chunks before its own that a token sees in full."""
    pairs: int = field(default=16, metadata={"limit": Range(2, None)})
    """Pairs of key and value in a node, half of them pooled and half selected; even, and half of it divides ``chunk``.
    Half of it is about how many single tokens can be recalled from a span."""
    levels: int = field(default=16, metadata={"limit": Range(1, 32)})
    """Levels of nodes: a document has less than chunk · 2^levels tokens."""
    gate_threshold: float | None = field(
        default=None,
        metadata={"limit": Range(0.0, 1.0), "range": Range(0.3, 0.7, "lower skips nearly all, higher none")},
    )
    """Inference leaves the global branch out for a chunk where the mean gate at the end of the one before is above."""
    rotary_base: float = field(default=10_000.0, metadata={"limit": POSITIVE})
    """Base of the rotary frequencies."""
    tie: bool = False
    """Whether the head shares the weight of the embedding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % (2 * self.heads):
            raise ConfigError("/heads", f"the width {self.width} is no even multiple of {self.heads} heads")
        if self.pairs % 2 or self.chunk % (self.pairs // 2):
            raise ConfigError("/pairs", f"{self.pairs} is odd, or half of it is no divisor of the chunk {self.chunk}")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def hidden_width(self) -> int:
        return self.hidden or swiglu_width(self.width)

    # What can be counted.

    def parameters(self) -> int:
        """All weights."""
        attention = 4 * self.width**2 + self.width * (self.heads + self.levels + 3) + self.heads
        block = attention + 3 * self.width * self.hidden_width + 2 * self.width
        return (1 if self.tie else 2) * self.vocab * self.width + self.layers * block + self.width

    def active_parameters(self) -> int:
        """Weights that work on one token: all."""
        return self.parameters()

    def attention_flops(self, tokens: int, context: int = 0, *, full: bool = False) -> int:
        """One layer, forward: ``tokens`` new ones behind ``context`` earlier ones of one document.

        Causal-exact: a token pays for the pairs it may see.  ``full`` counts what the parallel form (without context)
        and steps of one token (with it) multiply: masked scores and absent pairs too.
        """
        pairs = self._pairs_full(tokens, context) if full else self._pairs(context + tokens) - self._pairs(context)
        paid = self.padded(tokens) if full and not context else tokens
        scored = paid if context + tokens > self.chunk else 0  # for their nodes
        return 2 * paid * self.width * (4 * self.width + self.heads) + 2 * scored * self.width + 4 * pairs

    def flops(self, tokens: int, context: int = 0, *, full: bool = False) -> int:
        """Forward FLOPs of one row, head included: ``tokens`` new ones behind ``context``; causal-exact or ``full``."""
        block = self.attention_flops(tokens, context, full=full)
        paid = self.padded(tokens) if full and not context else tokens
        return self.layers * (block + 6 * paid * self.width * self.hidden_width) + 2 * tokens * self.vocab * self.width

    def flops_full(self, tokens: int, context: int = 0) -> int:
        """``flops`` with every score counted that is computed."""
        return self.flops(tokens, context, full=True)

    def cache_bytes(self, tokens: int, dtype: torch.dtype) -> int:
        """The decode state of one row that can hold ``tokens`` tokens."""
        wide = torch.promote_types(dtype, torch.float32).itemsize
        levels, places = self.levels_for(tokens), self.chunk * (1 + self.memory_chunks) + 1
        nodes = levels * self.pairs
        looked_at = 2 * (1 + nodes) * (self.width + 2 * self.heads)
        narrow = self.width * (2 * places + self.chunk + 1 + 2 * nodes) + looked_at
        sums = self.heads + 1 + self.heads * nodes
        return self.layers * int(narrow * dtype.itemsize + sums * wide)

    def levels_for(self, tokens: int) -> int:
        """Levels of nodes in a document of ``tokens`` tokens."""
        return (tokens // self.chunk).bit_length()

    def padded(self, tokens: int) -> int:
        """What a row of ``tokens`` tokens is filled up to."""
        return tokens if tokens <= self.chunk else -(-tokens // self.chunk) * self.chunk

    def _pairs(self, tokens: int) -> int:
        """Pairs that the first ``tokens`` tokens see, times the width."""
        chunks, rest = divmod(tokens, self.chunk)
        local = chunks * self.chunk * (self.chunk + 1) // 2 + rest * (rest + 1) // 2
        local += self.memory_chunks * self.chunk * max(0, tokens - self.chunk)
        nodes = self.chunk * _bits_below(chunks) + rest * chunks.bit_count()
        return self.width * (local + self.pairs * nodes + max(0, tokens - self.chunk))

    def _pairs_full(self, tokens: int, context: int) -> int:
        wide = self.width + 2 * self.heads
        reach = self.chunk * (1 + self.memory_chunks)
        if context:
            return tokens * (self.width * reach + wide * (1 + self.pairs * self.levels_for(context + tokens)))
        if tokens <= self.chunk:
            return self.width * tokens**2
        padded = self.padded(tokens)
        local = padded * reach - self.memory_chunks * self.chunk**2
        levels = (padded // self.chunk - 1).bit_length()
        return self.width * local + wide * padded * (1 + self.pairs * levels)


def _bits_below(count: int) -> int:
    """Bits set in 0, 1, …, count - 1 together."""
    total, level = 0, 0
    while 1 << level < count:
        period = 2 << level
        total += (count // period << level) + max(0, count % period - (1 << level))
        level += 1
    return total


class LongDocBlock(nn.Module):  # type: ignore[misc]
    """x + attention(norm x), then x + swiglu(norm x)."""

    def __init__(self, config: LongDocConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width)
        self.attention = GatedChunkAttention(
            config.width,
            config.heads,
            chunk=config.chunk,
            memory=config.memory_chunks == 1,
            pairs=config.pairs,
            levels=config.levels,
            rotary_base=config.rotary_base,
        )
        self.attention.gate_threshold = config.gate_threshold
        self.feed_norm = RMSNorm(config.width)
        self.feed = SwiGLU(config.width, config.hidden_width)
        residual(self.attention.out, config.layers)
        residual(self.feed.down, config.layers)

    def forward(self, x_BTD: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """The output, and the gates (G, C, H)."""
        mixed_BTD, gate_GCH = self.attention(self.attention_norm(x_BTD), layout)
        x_BTD = x_BTD + mixed_BTD
        return x_BTD + self.feed(self.feed_norm(x_BTD)), gate_GCH

    def decode(self, x_BTD: Tensor, state: DecodeState, layer: int, plan: Plan) -> Tensor:
        """The output of appended tokens."""
        x_BTD = x_BTD + decode(self.attention, self.attention_norm(x_BTD), state.layers[layer], plan)
        out_BTD: Tensor = x_BTD + self.feed(self.feed_norm(x_BTD))
        return out_BTD


class LongDoc(nn.Module):  # type: ignore[misc]
    """See ``LongDocConfig``."""

    def __init__(self, config: LongDocConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(LongDocBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = Linear(config.width, config.vocab)
        if config.tie:
            self.head.weight = self.embedding.weight

    def forward(
        self, tokens_BT: Tensor, documents_BT: Tensor | None = None, compute_dtype: torch.dtype | None = None
    ) -> Trunk:
        """Whole rows; ``documents_BT`` numbers the document of each token (-1: padding), None is one document a row.

        Rows are padded to whole chunks here, unless they are shorter than one.
        """
        time = tokens_BT.shape[1]
        more = self.config.padded(time) - time
        if self.config.levels_for(time + more - 1) > self.config.levels:
            raise DataError(f"rows of {time} tokens need more than {self.config.levels} levels of nodes")
        plain = documents_BT is None
        documents_BT = F.pad(torch.zeros_like(tokens_BT) if documents_BT is None else documents_BT, (0, more), value=-1)
        x_BTD = F.pad(self.embedding(tokens_BT, compute_dtype), (0, 0, 0, more))
        layout = lay_out(documents_BT, self.blocks[0].attention, x_BTD.dtype, plain=plain)
        gates = []
        for block in self.blocks:
            x_BTD, gate_GCH = block(x_BTD, layout)
            gates.append(gate_GCH.detach().mean())
        return Trunk(self.norm(x_BTD[:, :time]), {}, {"gate": torch.stack(gates).mean()})

    def logits(self, hidden_D: Tensor) -> Tensor:
        """Scores of the next token (…, V), in fp32 at least."""
        logits_V = self.head(hidden_D)
        return logits_V.to(torch.promote_types(logits_V.dtype, torch.float32))

    def set_gate_threshold(self, threshold: float | None) -> None:
        """Skip global branches at inference above this gate, or never (None)."""
        LongDocConfig(gate_threshold=threshold, allow_beyond=self.config.allow_beyond)
        for block in self.blocks:
            block.attention.gate_threshold = threshold

    def state(self, batch: int, device: torch.device, dtype: torch.dtype, max_tokens: int | None = None) -> DecodeState:
        """An empty decode state for ``batch`` rows of up to ``max_tokens`` tokens; by default as many as can be."""
        levels = self.config.levels if max_tokens is None else self.config.levels_for(max_tokens)
        attentions = [block.attention for block in self.blocks]
        return DecodeState(attentions, batch, levels, device, dtype)

    @torch.no_grad()
    @by_rows
    def decode(self, tokens_BT: Tensor, state: DecodeState, lengths_B: Tensor | None = None) -> Tensor:
        """Append tokens to every row, of which the first ``lengths_B`` count; hidden states (B, T, D)."""
        plan = state.plan(tokens_BT.shape[1], lengths_B)
        x_BTD = self.embedding(tokens_BT, state.dtype)
        for layer, block in enumerate(self.blocks):
            x_BTD = block.decode(x_BTD, state, layer, plan)
        state.advance(plan)
        out_BTD: Tensor = self.norm(x_BTD)
        return out_BTD
