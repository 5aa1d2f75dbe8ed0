"""Small worlds in which the best reward is known: for tests and benchmarks of reinforcement learning.

Tokens 0 to 9 are digits, 10 opens, 11 closes (and ends an answer where that is told), 12 to 15 say nothing.  A prompt
is a digit behind a mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from trainer.data.prompts import PromptBatch
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.stages.policy import Players, PolicyConfig, PolicyLoop
from trainer.train.loop import LoopConfig
from trainer.train.optimizer import OptimizerConfig
from trainer.train.schedule import ScheduleConfig

OPEN, CLOSE, MARK, VOCAB = 10, 11, 15, 16
FAMILIES: dict[str, dict[str, Any]] = {
    "dense": {"family": "dense"},
    "longdoc": {"family": "longdoc", "chunk": 4, "pairs": 2, "levels": 4, "allow_beyond": ["chunk"]},
    "assistant": {
        "family": "assistant", "layers": 2, "kv_heads": 1, "experts": 4, "dense_layers": 1, "allow_beyond": ["experts"],
    },
}  # fmt: skip


def counting(prompt: np.ndarray, answer: np.ndarray) -> float:
    """Each token is the digit behind the one before it: share of right ones."""
    wanted = (int(prompt[-1]) + 1 + np.arange(len(answer))) % 10
    return float((answer == wanted).mean())


def bracketed(prompt: np.ndarray, answer: np.ndarray) -> float:
    """Opens, says the digit, closes: a third for each."""
    wanted = (OPEN, int(prompt[-1]), CLOSE)
    return sum(place < len(answer) and answer[place] == token for place, token in enumerate(wanted)) / 3


def cheerful(prompt: np.ndarray, answer: np.ndarray) -> float:
    """Even digits are kind, odd ones rude, the rest says nothing; 1 if all is kind."""
    kind, rude = ((answer < 10) & (answer % 2 == odd) for odd in (0, 1))
    return float((kind.astype(float) - rude).mean())


TOYS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "counting": counting, "bracketed": bracketed, "cheerful": cheerful,
}  # fmt: skip
BEST = 1.0


class Digits:
    """Prompts without an end, all digits in turn."""

    def __init__(self, count: int) -> None:
        self.count, self.at = count, 0

    def __iter__(self) -> Digits:
        return self

    def __next__(self) -> PromptBatch:
        digits = (self.at + torch.arange(self.count)) % 10
        self.at += self.count
        tokens = torch.stack((torch.full_like(digits, MARK), digits), 1)
        return PromptBatch(tokens, torch.full((self.count,), 2), digits)

    def state(self) -> dict[str, int]:
        return {"position": self.at}

    def restore(self, state: dict[str, int]) -> None:
        self.at = state["position"]


@dataclass
class Scored:
    """A toy as a reward."""

    toy: str

    def __call__(self, prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([TOYS[self.toy](p, a) for p, a in zip(prompts, answers, strict=True)])


def toy_loop(
    output: Path, toy: str, family: str, seed: int, method: Literal["ppo", "grpo"] = "ppo", *, steps: int = 150,
    rows: int = 160, width: int = 32, rate: float = 1.5e-3, loop: dict[str, Any] | None = None, **policy: Any,
) -> PolicyLoop:  # fmt: skip
    """A loop of a fresh actor on a toy."""
    settings = {"vocab": VOCAB, "width": width, "layers": 1, "heads": 2, **FAMILIES[family]}
    actor, reference = build(settings, seed), build(settings, seed)
    critic = ScalarHead(build(settings, seed + 1), seed) if method == "ppo" else None
    stop = frozenset({CLOSE}) if toy == "bracketed" else frozenset()
    players = Players(actor, reference, critic, Scored(toy), stop, padding=MARK)
    shape = {
        "prompts": 20, "samples": 16, "new_tokens": 4, "epochs": 2, "minibatches": 2, "critic_rate": 3,
        "kl": 0.1, "kl_target": 12.0, "kl_horizon": 4000,  # from 0.1 down to 0.01: first many ways, then the best one
    }  # fmt: skip
    config = LoopConfig(
        steps=steps, seed=seed, log_every=1, checkpoint_every=1000, optimizer=OptimizerConfig(learning_rate=rate),
        schedule=ScheduleConfig(kind="linear", warmup=0.05), **loop or {},
    )  # fmt: skip
    return PolicyLoop(
        method, config, PolicyConfig(**{**shape, **policy}), players, Digits(20), lambda: iter([next(Digits(10))]),
        rows, output, {"toy": toy, "family": family, "seed": seed}, torch.device("cpu"), torch.float32,
    )  # type: ignore[arg-type]  # fmt: skip
