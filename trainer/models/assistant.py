"""Family B, the assistant: a decoder with grouped-query attention whose feed-forwards are mixtures of experts.

Shapes: B batch, T tokens, D width, N = B·T tokens of all rows, E experts, K experts a token, L layers with experts, V
vocabulary.

**Prediction of routing.**  Choosing experts, sorting tokens by them and finding where each expert's run ends all wait
for the layer's input.  A small predictor reads what the feed-forward of the block before reads and guesses the choice;
the guess is sorted while that feed-forward and the next attention work, and repaired once the router has spoken.  The
plan that results is the same to the bit, and so is all that follows.  A token's guess comes from that token's state,
which knows no later token: nothing looks ahead in time.  The first block has none before it and is not predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError
from trainer.models import moe
from trainer.models.attention import Attention, AttentionConfig, DecodeState, Place, place_parallel
from trainer.models.by_rows import by_rows
from trainer.models.common import Embedding, Linear, RMSNorm, SwiGLU, Trunk, residual, swiglu_width
from trainer.ranges import NOT_NEGATIVE, POSITIVE, Range

PREDICTION = ("off", "measure", "dispatch")


@dataclass(frozen=True, kw_only=True)
class AssistantConfig(AttentionConfig):
    """A decoder with experts: top-2 of 96 to 128, so that 2.1 to 1.6 % of the experts work on a token."""

    kv_heads: int | None = field(default=4, metadata={"limit": POSITIVE})
    """Key and value heads, a divisor of ``heads``."""
    experts: int = field(
        default=96, metadata={"limit": POSITIVE, "range": Range(96, 128, "with two active, about 2 % of the experts")}
    )
    """Experts of a layer."""
    active: int = field(default=2, metadata={"limit": POSITIVE, "range": Range(2, 2, "top-2 routing")})
    """Experts that work on a token."""
    expert_hidden: int | None = field(default=None, metadata={"limit": POSITIVE})
    """Hidden width of an expert; by default the active ones together are as wide as a dense feed-forward."""
    dense_layers: int = field(default=1, metadata={"limit": NOT_NEGATIVE})
    """First blocks that have one dense feed-forward instead of experts: right behind the embedding a token's experts
    would be those of its word, and a frequent word would fill them (Dai et al., 2024, arXiv 2401.06066)."""
    dense_hidden: int | None = field(default=None, metadata={"limit": POSITIVE})
    """Hidden width of those; by default 8/3 of the width."""
    balance: float = field(default=2e-2, metadata={"limit": Range(0.0, 1.0)})
    """Coefficient of the load-balance loss, in every layer."""
    router_z: float = field(default=1e-3, metadata={"limit": Range(0.0, 1.0)})
    """Coefficient of the router's z-loss."""
    bias: float = field(default=1e-3, metadata={"limit": Range(0.0, 1.0)})
    """Coefficient of the biases' balancing loss; 0: no biases.  An adaptive optimizer makes its size unimportant."""
    prediction: Literal["off", "measure", "dispatch"] = "measure"
    """Of routing: ``off``, ``measure`` (predictors learn and are rated) or ``dispatch`` (their guesses are used in
    whole-row forwards).  Results are the same; a guess shortens what experts wait for, at the price of the predictor
    and of waiting for the number of misses, which a GPU should overlap with other work."""
    predictor: float = field(default=0.1, metadata={"limit": Range(0.0, 1.0)})
    """Coefficient of the predictors' loss.  Small, so that they count little where gradients are clipped by norm."""
    predictor_hidden: int | None = field(default=None, metadata={"limit": POSITIVE})
    """Hidden width of a predictor; by default an eighth of the width, at least 64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.active > self.experts:
            raise ConfigError("/active", f"{self.active} of {self.experts} experts")
        if self.dense_layers >= self.layers:
            raise ConfigError("/dense_layers", f"all {self.layers} layers are dense: no layer is left for experts")
        if self.prediction not in PREDICTION:
            raise ConfigError("/prediction", f"{self.prediction!r} is none of {', '.join(PREDICTION)}")

    @property
    def expert_width(self) -> int:
        return self.expert_hidden or -(-swiglu_width(self.width) // (8 * self.active)) * 8

    @property
    def dense_width(self) -> int:
        return self.dense_hidden or swiglu_width(self.width)

    @property
    def predictor_width(self) -> int:
        return self.predictor_hidden or max(64, self.width // 8)

    @property
    def predicted(self) -> range:
        """Layers whose routing is predicted: all with experts that have a block in front of them."""
        return range(0) if self.prediction == "off" else range(max(1, self.dense_layers), self.layers)

    @property
    def expert_layers(self) -> int:
        return self.layers - self.dense_layers

    def parameters(self) -> int:
        """All weights."""
        return self._parameters(self.experts)

    def active_parameters(self) -> int:
        """Weights that work on one token."""
        return self._parameters(self.active)

    def _parameters(self, experts: int) -> int:
        router = (self.width + (self.bias > 0)) * self.experts
        sparse = 3 * self.width * self.expert_width * experts + router
        feeds = self.expert_layers * sparse + self.dense_layers * 3 * self.width * self.dense_width
        predictors = len(self.predicted) * (self._predictor() + self.width)
        blocks = self.layers * (self.attention_parameters() + 2 * self.width)
        return self.vocabulary_parameters() + blocks + feeds + predictors + self.width

    def flops(self, tokens: int, context: int = 0, *, full: bool = False) -> int:
        """Forward FLOPs of one row, head and predictors included: ``tokens`` new ones behind ``context``.

        Causal-exact, or with ``full`` every score counted, masked or not.  (Decoding does not run the predictors.)
        """
        sparse = self.width * (3 * self.active * self.expert_width + self.experts)
        feeds = self.expert_layers * sparse + self.dense_layers * 3 * self.width * self.dense_width
        per_token = feeds + len(self.predicted) * self._predictor() + self.vocab * self.width
        return self.layers * self.attention_flops(tokens, context, full=full) + 2 * tokens * per_token

    def flops_full(self, tokens: int, context: int = 0) -> int:
        """``flops`` with every score counted, masked or not."""
        return self.flops(tokens, context, full=True)

    def _predictor(self) -> int:
        """Weights of a predictor's matrices."""
        return self.predictor_width * (self.width + self.experts)


class Forecast(NamedTuple):
    """What a predictor says of a layer before it runs."""

    logits_NE: Tensor
    experts_NK: Tensor
    guess: moe.Guess | None
    """Prepared for dispatch; None where guesses are only measured."""


class Record(NamedTuple):
    """What a layer with experts did."""

    routing: moe.Routing
    plan: moe.Plan
    forecast: Forecast | None
    """What had been said of it."""


class AssistantBlock(nn.Module):
    """x + attention(norm x), then x + feed(norm x); between them a look ahead at the next block's routing."""

    def __init__(self, config: AssistantConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(config)
        self.feed_norm = RMSNorm(config.width)
        self.feed: nn.Module
        if layer < config.dense_layers:
            self.feed = SwiGLU(config.width, config.dense_width)
            residual(self.feed.down, config.layers)
        else:
            self.feed = moe.MoE(
                config.width, config.expert_width, config.experts, config.active, config.layers, biased=config.bias > 0
            )
        self.ahead: nn.Module | None = None
        if layer + 1 in config.predicted:
            self.ahead = moe.Predictor(config.width, config.predictor_width, config.experts)

    def forward(
        self,
        x_BTD: Tensor,
        place: Place,
        forecast: Forecast | None = None,
        state: DecodeState | None = None,
        layer: int = 0,
    ) -> tuple[Tensor, Record | None, Forecast | None]:
        """The output, what this block's experts did, and the forecast of the next block's."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), place, state, layer)
        normed_ND = self.feed_norm(x_BTD).flatten(0, 1)
        following = self._look_ahead(normed_ND) if state is None else None
        if not isinstance(self.feed, moe.MoE):
            return x_BTD + self.feed(normed_ND).view_as(x_BTD), None, following
        out_ND, routing, plan = self.feed(normed_ND, forecast and forecast.guess, steady=state is not None)
        return x_BTD + out_ND.view_as(x_BTD), Record(routing, plan, forecast), following

    def _look_ahead(self, normed_ND: Tensor) -> Forecast | None:
        if self.ahead is None:
            return None
        logits_NE = self.ahead(normed_ND)
        experts_NK = moe.top(logits_NE.detach(), self.config.active)
        guess = moe.prepare(experts_NK) if self.config.prediction == "dispatch" else None
        return Forecast(logits_NE, experts_NK, guess)


class Assistant(nn.Module):
    """See ``AssistantConfig``."""

    def __init__(self, config: AssistantConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(AssistantBlock(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = Linear(config.width, config.vocab)
        if config.tie:
            self.head.weight = self.embedding.weight

    def forward(
        self, tokens_BT: Tensor, documents_BT: Tensor | None = None, compute_dtype: torch.dtype | None = None
    ) -> Trunk:
        """Whole rows; ``documents_BT`` numbers the document of each token (-1: padding), None is one document a row."""
        x_BTD = self.embedding(tokens_BT, compute_dtype)
        place = place_parallel(tokens_BT, documents_BT, self.config, x_BTD.dtype)
        hidden_BTD, records = self._run(x_BTD, place, None)
        counted_N = None if documents_BT is None else (documents_BT >= 0).flatten()
        return Trunk(hidden_BTD, self._losses(records, counted_N), self._stats(records, counted_N))

    @torch.no_grad()
    def records(self, tokens_BT: Tensor, documents_BT: Tensor | None = None) -> dict[int, Record]:
        """What the experts of each layer do with whole rows."""
        x_BTD = self.embedding(tokens_BT)
        return self._run(x_BTD, place_parallel(tokens_BT, documents_BT, self.config, x_BTD.dtype), None)[1]

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
        return self._run(x_BTD, state.place(tokens_BT.shape[1], lengths_B), state)[0]

    def _run(self, x_BTD: Tensor, place: Place, state: DecodeState | None) -> tuple[Tensor, dict[int, Record]]:
        """All blocks, and what each one's experts did."""
        records: dict[int, Record] = {}
        forecast: Forecast | None = None
        for layer, block in enumerate(self.blocks):
            x_BTD, record, forecast = block(x_BTD, place, forecast, state, layer)
            if record is not None:
                records[layer] = record
        return self.norm(x_BTD), records

    def _losses(self, records: dict[int, Record], counted_N: Tensor | None) -> dict[str, Tensor]:
        """Scaled, summed over the layers."""
        config = self.config
        terms: dict[str, list[Tensor]] = {"balance": [], "router_z": [], "router_bias": [], "predictor": []}
        for layer, (routing, _, forecast) in records.items():
            share_E = moe.load(routing.experts_TK, config.experts, counted_N)
            terms["balance"].append(config.balance * moe.balance_loss(routing, share_E, counted_N))
            terms["router_z"].append(config.router_z * moe.z_loss(routing, counted_N))
            bias_E = self.blocks[layer].feed.router.bias
            if bias_E is not None:
                terms["router_bias"].append(config.bias * moe.bias_loss(bias_E, share_E))
            if forecast is not None:
                error = moe.predictor_loss(forecast.logits_NE, routing.experts_TK, counted_N)
                terms["predictor"].append(config.predictor * error)
        return {name: torch.stack(layers).sum() for name, layers in terms.items() if layers}

    def _stats(self, records: dict[int, Record], counted_N: Tensor | None) -> dict[str, Tensor]:
        """Mean over the layers, and the worst of them; ``load`` is the busiest expert's over the mean of all."""
        figures: dict[str, list[Tensor]] = {"load": [], "router_entropy": [], "recall": []}
        dropped = []
        for routing, plan, forecast in records.values():
            share_E = moe.load(routing.experts_TK, self.config.experts, counted_N)
            figures["load"].append(share_E.max() * self.config.experts)
            figures["router_entropy"].append(moe.entropy(routing, counted_N))
            if forecast is not None:
                figures["recall"].append(moe.recall(forecast.experts_NK, routing.experts_TK, counted_N))
            dropped.append(routing.experts_TK.numel() - plan.ends_E[-1])
        stats = {name: torch.stack(layers).mean() for name, layers in figures.items() if layers}
        stats["load_worst"] = torch.stack(figures["load"]).max()
        if figures["recall"]:
            stats["recall_worst"] = torch.stack(figures["recall"]).min()
        return stats | {"dropped": torch.stack(dropped).sum()}
