"""Figures that advice rests on, each with where it is from.  No torch here: the trainer's own figures are repeated, and
tests hold both together."""

from __future__ import annotations

from typing import Any, NamedTuple


class Device(NamedTuple):
    """What a training runs on.

    memory: bytes.
    flops: bf16 operations of a second (fp32 for a CPU) that it could do.
    bandwidth: bytes of a second from its memory.
    """

    memory: int
    flops: float
    bandwidth: float


GIB = 1 << 30
DEVICES = {
    "H200": Device(139 * GIB, 989e12, 4.8e12),
    "H100": Device(79 * GIB, 989e12, 3.35e12),
    "A100-80GB": Device(79 * GIB, 312e12, 2.04e12),
    "A100-40GB": Device(39 * GIB, 312e12, 1.56e12),
    "L40S": Device(44 * GIB, 362e12, 864e9),
    "L4": Device(22 * GIB, 121e12, 300e9),
    "RTX 4090": Device(23 * GIB, 165e12, 1.01e12),
}
"""From data sheets; dense, without sparsity."""
CPU = Device(16 * GIB, 2e11, 30e9)
"""Some cores of a server, as a guess; ``cpu_memory_gib`` says how much memory there is."""


class Size(NamedTuple):
    """A model to start from.

    width, layers, heads: heads are 64 wide, or 128 from a width of 2,048 on.
    vocabulary: tokens of text; twice as many for several languages, or for scripts with many signs.
    batch_tokens: of a step of the optimizer.
    learning_rate: at its height, for AdamW.
    """

    width: int
    layers: int
    heads: int
    vocabulary: int
    batch_tokens: int
    learning_rate: float


SIZES = {
    "nano": Size(128, 4, 2, 2048, 1 << 14, 3e-3),
    "tiny": Size(256, 6, 4, 4096, 1 << 15, 2e-3),
    "small": Size(512, 8, 8, 16384, 1 << 17, 1e-3),
    "base": Size(768, 12, 12, 32768, 1 << 18, 6e-4),
    "medium": Size(1024, 24, 16, 32768, 1 << 19, 3e-4),
    "large": Size(2048, 24, 16, 32768, 1 << 19, 2e-4),
    "huge": Size(2560, 32, 20, 65536, 1 << 20, 1.6e-4),
}
"""Widths, layers, batches and rates about as in Brown et al., Language models are few-shot learners, 2020, table
2.1."""
EXPERT_SIZES = ("small", "base", "medium")
"""Sizes that an assistant may have: smaller ones gain nothing from experts, larger ones fit no single device."""

TOKENS_PER_PARAMETER = 20
"""Hoffmann et al., Training compute-optimal large language models, 2022 (arXiv 2203.15556)."""
MOST_EPOCHS = 4
"""Repeats that are nearly as good as fresh tokens: Muennighoff et al., Scaling data-constrained language models, 2023
(arXiv 2305.16264)."""
OPTIMIZER_BYTES = 16
"""Of a parameter: weight, gradient and two moments of AdamW, all fp32."""
ACTIVATION_BYTES = {"dense": 50, "assistant": 65, "longdoc": 75}
"""Of a token, a layer and one of its width, kept for the backward pass at bf16; counted on the modules."""
MFU = {"dense": 0.40, "assistant": 0.25, "longdoc": 0.30, "cpu": 0.50}
"""Share of a device's operations that are the model's own: an assumption.  Published trainings of one to seven billion
parameters on H100 reach 0.39 to 0.50 dense and 0.16 to 0.35 with experts."""
MBU = 0.5
"""Share of a device's bandwidth that decoding reaches: an assumption."""
MEMORY_SHARE = 0.9
"""Of a device's memory that is planned with."""
LANGUAGE_EXPONENT = 0.7
"""Languages are sampled by their share to this power: Conneau and Lample, Cross-lingual language model pretraining,
2019 (0.5 and 0.7); Xue et al., mT5, 2021 (0.3)."""
MANY_SIGNS = ("zh", "ja", "ko", "yue", "th")
"""Languages whose text is written in thousands of signs, or without spaces."""

RANGES: dict[str, tuple[dict[str, Any], ...]] = {
    "longdoc": (
        {"field": "/model/chunk", "low": 512, "high": 1024,
         "why": "shorter loses context, longer costs as dense attention"},
        {"field": "/model/pairs", "low": 16, "high": 64,
         "why": "half of them is how many single tokens of a span can be recalled"},
        {"field": "/model/gate_threshold", "low": 0.3, "high": 0.7,
         "why": "inference alone: lower skips the global branch nearly always, higher never; compare 0.5 with none"},
    ),
    "assistant": (
        {"field": "/model/experts", "low": 96, "high": 128,
         "why": "with two active, about 2 % of the experts work on a token"},
        {"field": "/model/active", "low": 2, "high": 2, "why": "top-2 routing"},
        {"field": "/model/balance", "low": 0.005, "high": 0.05,
         "why": "lower lets experts starve, higher hurts the loss"},
    ),
    "dense": (),
    "pretrain": (
        {"field": "/loop/optimizer/learning_rate", "factor": 3,
         "why": "the first to try when the loss stalls or jumps"},
    ),
    "sft": (
        {"field": "/loop/optimizer/learning_rate", "factor": 3, "why": "too high forgets what was pretrained"},
    ),
    "reward": (
        {"field": "/reward/temperature", "low": 0.1, "high": 10, "why": "beyond, the loss is flat or a step"},
    ),
    "dpo": (
        {"field": "/dpo/beta", "low": 0.01, "high": 1.0, "why": "the tie to the model before; lower moves further"},
    ),
    "ppo": (
        {"field": "/policy/clip", "low": 0.1, "high": 0.3, "why": "0.2 is the published value"},
        {"field": "/policy/kl", "low": 0.01, "high": 0.1, "why": "less forgets the reference, more learns little"},
    ),
}  # fmt: skip
"""What to vary, by family and by stage; ``factor`` is up and down from the start."""
