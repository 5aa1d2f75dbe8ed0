"""Configurations of trainings to begin with: a stage, a family and a size.  Numbers are the trainer's own advice."""

from __future__ import annotations

from typing import Any, NamedTuple

from trainer.deploy.estimates import active_parameters, parameters
from trainer.deploy.facts import EXPERT_SIZES, OPTIMIZER_BYTES, SIZES, TOKENS_PER_PARAMETER

STAGES = {  # what they do, kinds of data that they read
    "pretrain": ("learns a language from texts", ("corpus",)),
    "sft": ("learns to answer from conversations", ("instructions",)),
    "reward": ("learns which of two answers people prefer", ("preferences",)),
    "dpo": ("answers as people prefer, straight from pairs", ("preferences",)),
    "ppo": ("answers as a reward model prefers; actor and critic", ("preferences", "instructions")),
    "grpo": ("answers as a reward model prefers; groups of answers, no critic", ("preferences", "instructions")),
    "tokenizer": ("fits a tokenizer that several models can share", ("corpus", "instructions")),
}
FAMILIES = {
    "dense": "the plain decoder",
    "longdoc": "long documents: chunks, and a tree of summaries",
    "assistant": "experts, of which two work on a token",
}
STARTED = ("dpo", "ppo", "grpo")  # go on from a model that was tuned
REWARDED = ("ppo", "grpo")
SHAPES: dict[str, dict[str, Any]] = {
    "dense": {}, "longdoc": {"pairs": 16, "chunk": 512}, "assistant": {"experts": 96, "active": 2, "kv_heads": 4},
}  # fmt: skip
SLOWER = {"pretrain": 1, "sft": 10, "reward": 30, "dpo": 300, "ppo": 300, "grpo": 300}
"""By what the learning rate of a size is divided."""


class Meant(NamedTuple):
    """What a size comes to.

    Attributes:
        parameters, active: weights, and those that work on a token.
        tokens: that it takes to fill them.
        bytes: of weights, gradients and the optimizer's state, without activations.
    """

    name: str
    parameters: int
    active: int
    tokens: int
    bytes: int


def sizes_of(family: str) -> list[Meant]:
    """Sizes that a family may have, the least first."""
    found = []
    for name in EXPERT_SIZES if family == "assistant" else SIZES:
        settings, vocab = _settings(family, name), SIZES[name].vocabulary
        whole, active = parameters(settings, vocab), active_parameters(settings, vocab)
        found.append(Meant(name, whole, active, TOKENS_PER_PARAMETER * active, OPTIMIZER_BYTES * whole))
    return found


def config_of(stage: str, family: str, size: str, *, fresh: bool, shares: bool = False) -> dict[str, Any]:
    """A configuration that the trainer takes.

    Args:
        fresh: whether the model starts from nothing; else it goes on from one that is given.
        shares: whether a fresh model takes a tokenizer that is given; else it has its own.
    """
    chosen = SIZES[size]
    fitted = {"kind": "bpe", "size": chosen.vocabulary}
    if stage == "tokenizer":
        return {"stage": stage, "tokenizer": fitted}
    config: dict[str, Any] = {
        "stage": stage,
        "data": {"tokens": 512 if stage in REWARDED else 1024, "rows": 8},
        "loop": {
            "steps": 100 if stage in REWARDED else 1000,
            "optimizer": {"kind": "adamw", "learning_rate": float(f"{chosen.learning_rate / SLOWER[stage]:.2g}")},
            "schedule": {"kind": "trapezoid", "warmup": 0.02, "decay": 0.2},
            "precision": "bf16" if chosen.width >= SIZES["base"].width else "fp32",
            "log_every": 1 if stage in REWARDED else 10,
            "evaluate_every": 10 if stage in REWARDED else 100,
        },
    }
    if stage == "reward":
        config["reward"] = {"temperature": 1.0}
    if stage == "dpo":
        config["dpo"] = {"beta": 0.1}
    if stage in REWARDED:
        config["policy"] = {"prompts": 32, "samples": 4, "new_tokens": 128, "clip": 0.2, "kl": 0.05}
    if fresh:
        config["model"] = _settings(family, size)
        if not shares:
            config["tokenizer"] = fitted
    return config


def _settings(family: str, size: str) -> dict[str, Any]:
    chosen = SIZES[size]
    shape = {"family": family, "width": chosen.width, "layers": chosen.layers, "heads": chosen.heads}
    return {**shape, **SHAPES[family]}
