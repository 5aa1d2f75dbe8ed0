"""The dense model that both families are compared with: a pre-norm decoder with SwiGLU.

Shapes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainer.models.attention import Attention, AttentionConfig, DecodeState, Place, place_parallel
from trainer.models.by_rows import by_rows
from trainer.models.common import Embedding, Linear, RMSNorm, SwiGLU, Trunk, residual, swiglu_width
from trainer.ranges import POSITIVE, Range


@dataclass(frozen=True, kw_only=True)
class DenseConfig(AttentionConfig):
    """A dense decoder."""

    hidden: int | None = field(default=None, metadata={"limit": POSITIVE})
    """Hidden width of the feed-forward; by default 8/3 of the width."""
    norm_eps: float = field(default=1e-6, metadata={"limit": Range(0.0, 1.0)})
    """What norms add to the mean square.  Models from elsewhere have others than those trained here."""

    @property
    def hidden_width(self) -> int:
        return self.hidden or swiglu_width(self.width)

    def parameters(self) -> int:
        """All weights."""
        block = self.attention_parameters() + 3 * self.width * self.hidden_width + 2 * self.width
        return self.vocabulary_parameters() + self.layers * block + self.width

    def active_parameters(self) -> int:
        """Weights that work on one token: all."""
        return self.parameters()

    def flops(self, tokens: int, context: int = 0, *, full: bool = False) -> int:
        """Forward FLOPs of one row, head included: ``tokens`` new ones behind ``context``; causal-exact or ``full``."""
        block = self.attention_flops(tokens, context, full=full) + 6 * tokens * self.width * self.hidden_width
        return self.layers * block + 2 * tokens * self.vocab * self.width

    def flops_full(self, tokens: int, context: int = 0) -> int:
        """``flops`` with every score counted, masked or not."""
        return self.flops(tokens, context, full=True)


class DenseBlock(nn.Module):
    """x + attention(norm x), then x + swiglu(norm x)."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config)
        self.feed_norm = RMSNorm(config.width, config.norm_eps)
        self.feed = SwiGLU(config.width, config.hidden_width)
        residual(self.feed.down, config.layers)

    def forward(self, x_BTD: Tensor, place: Place, state: DecodeState | None = None, layer: int = 0) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), place, state, layer)
        out_BTD: Tensor = x_BTD + self.feed(self.feed_norm(x_BTD))
        return out_BTD


class Dense(nn.Module):
    """See ``DenseConfig``."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(DenseBlock(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = Linear(config.width, config.vocab)
        if config.tie:
            self.head.weight = self.embedding.weight

    def forward(
        self, tokens_BT: Tensor, documents_BT: Tensor | None = None, compute_dtype: torch.dtype | None = None
    ) -> Trunk:
        """Whole rows; ``documents_BT`` numbers the document of each token (-1: padding), None is one document a row."""
        x_BTD = self.embedding(tokens_BT, compute_dtype)
        place = place_parallel(tokens_BT, documents_BT, self.config, x_BTD.dtype)
        for block in self.blocks:
            x_BTD = block(x_BTD, place)
        return Trunk(self.norm(x_BTD), {}, {})

    def logits(self, hidden_D: Tensor) -> Tensor:
        """Scores of the next token (…, V), in fp32 at least."""
        logits_V = self.head(hidden_D)
        return logits_V.to(torch.promote_types(logits_V.dtype, torch.float32))

    def state(self, batch: int, device: torch.device, dtype: torch.dtype, max_tokens: int | None = None) -> DecodeState:
        """An empty decode state for ``batch`` rows; without ``max_tokens`` it grows."""
        return DecodeState(self.config, batch, device, dtype, max_tokens)

    @torch.no_grad()
    @by_rows
    def decode(self, tokens_BT: Tensor, state: DecodeState, lengths_B: Tensor | None = None) -> Tensor:
        """Append tokens to every row, of which the first ``lengths_B`` count; hidden states (B, T, D)."""
        x_BTD = self.embedding(tokens_BT, state.dtype)
        place = state.place(tokens_BT.shape[1], lengths_B)
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, place, state, layer)
        out_BTD: Tensor = self.norm(x_BTD)
        return out_BTD
