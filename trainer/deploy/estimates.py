"""What a training and its model will take, counted from settings.  No torch here.

The formulas are those of the models' configurations, which tests compare them with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainer.deploy.facts import ACTIVATION_BYTES, OPTIMIZER_BYTES

Settings = Mapping[str, Any]
LEVELS = 16
"""Of a longdoc model, by default."""


def swiglu_width(width: int) -> int:
    """Hidden width of a feed-forward."""
    step = 64 if width >= 192 else 8
    return -(-8 * width // (3 * step)) * step


def parameters(settings: Settings, vocab: int) -> int:
    """All weights."""
    return int(_parameters(settings, vocab, settings.get("experts", 0)))


def active_parameters(settings: Settings, vocab: int) -> int:
    """Weights that work on one token."""
    return int(_parameters(settings, vocab, settings.get("active", 0)))


def working_parameters(settings: Settings, vocab: int, batch: int) -> float:
    """Weights that a step of ``batch`` tokens reads, as if tokens chose experts at random; of the embedding, none."""
    experts, active = settings.get("experts", 1), settings.get("active", 1)
    met = experts * (1 - (1 - active / experts) ** batch)
    return _parameters(settings, vocab, met) - vocab * settings["width"]


def _parameters(settings: Settings, vocab: int, experts: float) -> float:
    width, layers = settings["width"], settings["layers"]
    hidden, outside = swiglu_width(width), 2 * vocab * width + width
    attention, dense = _attention(settings), 3 * width * hidden
    if settings["family"] != "assistant":
        return outside + layers * (attention + dense + 2 * width)
    routed, active = layers - 1, settings["active"]
    expert = 3 * width * (-(-hidden // (8 * active)) * 8)
    predictor = max(64, width // 8) * (width + settings["experts"]) + width
    router = (width + 1) * settings["experts"]
    return outside + layers * (attention + 2 * width) + dense + routed * (expert * experts + router + predictor)


def _attention(settings: Settings) -> int:
    width, heads = settings["width"], settings["heads"]
    if settings["family"] == "longdoc":
        return int(4 * width**2 + width * (heads + LEVELS + 3) + heads)
    groups = settings.get("kv_heads") or heads
    return int(2 * width * (width // heads) * (heads + groups))


def training_flops(settings: Settings, vocab: int, row: int) -> float:
    """Of one token in rows of ``row``: forward and backward, six for each weight, and its attention."""
    width, layers = settings["width"], settings["layers"]
    seen = row / 2
    if settings["family"] == "longdoc":
        chunk, chunks = settings["chunk"], max(1.0, row / settings["chunk"])
        seen = chunk * (0.5 + (1 - 1 / chunks)) + settings["pairs"] * math.log2(chunks) / 2 if chunks > 1 else row / 2
    return 6.0 * (active_parameters(settings, vocab) - vocab * width) + 12 * layers * width * seen


def cache_bytes(settings: Settings, tokens: int, itemsize: int = 2) -> int:
    """The decode state of a row of ``tokens`` tokens."""
    width, layers, heads = settings["width"], settings["layers"], settings["heads"]
    if settings["family"] != "longdoc":
        groups = settings.get("kv_heads") or heads
        return int(2 * layers * tokens * groups * (width // heads) * itemsize)
    chunk = settings["chunk"]
    nodes = (tokens // chunk).bit_length() * settings["pairs"]
    narrow = width * (2 * (2 * chunk + 1) + chunk + 1 + 2 * nodes) + 2 * (1 + nodes) * (width + 2 * heads)
    return int(layers * (narrow * itemsize + (heads + 1 + heads * nodes) * 4))


class TrainingMemory(NamedTuple):
    """Bytes.

    weights: with gradients and the optimizer's moments.
    copies: of weights, cast to the type of products.
    activations: kept for the backward pass.
    """

    weights: int
    copies: int
    activations: int

    @property
    def total(self) -> int:
        return sum(self)


def training_memory(
    settings: Settings, vocab: int, batch: tuple[int, int], *, bf16: bool, full: bool
) -> TrainingMemory:
    """Of a batch of rows and tokens a row.

    Args:
        bf16: products, or else fp32, for which no weights are cast.
        full: keep the inputs of blocks only and compute the rest again.
    """
    width, layers = settings["width"], settings["layers"]
    count, tokens, wide = parameters(settings, vocab), batch[0] * batch[1], 1 if bf16 else 2
    block = tokens * width * ACTIVATION_BYTES[settings["family"]] * wide
    kept = block + layers * tokens * width * 2 * wide if full else layers * block
    copies = 2 * count // (layers if full else 1) if bf16 else 0
    return TrainingMemory(OPTIMIZER_BYTES * count, copies, kept)
