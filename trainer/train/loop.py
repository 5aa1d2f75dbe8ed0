"""The loop: batches to gradients to steps, with checkpoints that any kill leaves whole.

The order of batches, the schedule and the random numbers of a step follow from the number of the step, so a training
that goes on from a checkpoint does what it would have done, bit for bit.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from trainer.errors import StateError
from trainer.ranges import POSITIVE, Checked, Range
from trainer.train.checkpoint import Checkpoints, facts_of, load_tensors, restore, tensors_of
from trainer.train.metrics import Voice, memory_bytes, peak_flops
from trainer.train.optimizer import OptimizerConfig, Optimizers
from trainer.train.schedule import ScheduleConfig, factor


class Stopped(Exception):
    """Somebody asked the training to end; its state is saved."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig(Checked):
    """What every stage of training has.

    Attributes:
        steps: of the optimizer.
        accumulate: batches whose gradients make one step.
        optimizer, schedule: of the weights.
        precision: of products.
        recompute: activations that are computed again instead of kept.
        compile: blocks by ``torch.compile``.
        deterministic: the same bits in every run.
        checkpoint_every, keep: steps between checkpoints, and how many stay.
        log_every: steps between figures.
        evaluate_every: steps between looks at what is held out; null for the end only.
        seed: of everything that is drawn.
        device: null for a GPU where there is one.
        tensorboard: event files beside ``metrics.jsonl``.
    """

    steps: int = field(default=1000, metadata={"limit": POSITIVE})
    accumulate: int = field(default=1, metadata={"limit": POSITIVE})
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: Literal["none", "selective", "full"] = "none"
    compile: bool = False
    deterministic: bool = False
    checkpoint_every: int = field(default=100, metadata={"limit": POSITIVE})
    keep: int = field(default=2, metadata={"limit": POSITIVE})
    log_every: int = field(default=10, metadata={"limit": POSITIVE})
    evaluate_every: int | None = field(default=None, metadata={"limit": POSITIVE})
    seed: int = field(default=1, metadata={"limit": Range(0, (1 << 32) - 1)})
    device: str | None = None
    tensorboard: bool = False


@dataclass(frozen=True)
class Loss:
    """What an objective says of a batch.

    Attributes:
        total: sum over the batch, in fp32; the loop divides it by the weight of all batches of the step.
        means: further losses that are means already, such as those of a router; added as they are.
        stats: figures for people, each with the weight of the batch.
    """

    total: Tensor
    means: Mapping[str, Tensor]
    stats: Mapping[str, Tensor | float]


class Objective(Protocol):
    """What a training makes smaller."""

    def weight(self, batch: Any) -> float:
        """How much a batch counts: tokens, or pairs, with a loss."""

    def loss(self, batch: Any) -> Loss:
        """Of one batch, with a graph for its gradient."""

    def flops(self, batch: Any) -> float:
        """Operations of forward and backward."""


class Source(Protocol):
    """Batches without an end."""

    def __next__(self) -> Any:
        """The next batch."""

    def state(self) -> dict[str, int]:
        """Where it is."""

    def restore(self, state: dict[str, int]) -> None:
        """Go there."""


class Loop:
    """One stage of training.

    Args:
        modules: that are trained, by name.
        output: folder of the training.
        identity: what a checkpoint must agree with to be gone on from.
        evaluate: figures of what is held out.
    """

    def __init__(
        self, config: LoopConfig, modules: Mapping[str, nn.Module], objective: Objective, source: Source, output: Path,
        identity: Mapping[str, Any], device: torch.device, evaluate: Callable[[], Mapping[str, float]] | None = None,
        phase: str = "training",
    ) -> None:  # fmt: skip
        self.config, self.modules, self.objective, self.source = config, dict(modules), objective, source
        self.identity, self.device, self.evaluate, self.phase = dict(identity), device, evaluate, phase
        self.optimizers = self.make_optimizers()
        self.checkpoints = Checkpoints(output / "checkpoints", config.keep)
        self.step = 0
        self._go_on()
        self.voice = Voice(output, self.step, config.tensorboard)
        self._stop = False

    def make_optimizers(self) -> dict[str, Optimizers]:
        """One for all modules; by name."""
        return {"optimizer": Optimizers(self.modules, self.config.optimizer)}

    def more_facts(self) -> dict[str, Any]:
        """What a checkpoint must say besides weights and place in the data."""
        return {}

    def restore_facts(self, facts: Mapping[str, Any]) -> None:
        """Go on from what ``more_facts`` said."""

    def _go_on(self) -> None:
        newest = self.checkpoints.newest()
        if newest is None:
            return
        facts = facts_of(newest)
        if facts["identity"] != self.identity:
            differing = sorted(k for k in {*facts["identity"], *self.identity}
                               if facts["identity"].get(k) != self.identity.get(k))  # fmt: skip
            raise StateError(
                f"{newest} is of another training: {', '.join(differing)} differ; choose another output, or the same "
                "configuration and data"
            )
        restore(load_tensors(newest), self.modules, self.optimizers)
        self.source.restore(facts["data"])
        self.restore_facts(facts)
        self.step = int(facts["step"])

    def run(self) -> dict[str, float]:
        """Train to the last step; returns the last evaluation.

        Raises:
            Stopped: after SIGTERM, when everything is saved.
        """
        before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stop", True))
        try:
            return self._run()
        finally:
            signal.signal(signal.SIGTERM, before)
            self.checkpoints.finish()

    def _run(self) -> dict[str, float]:
        config, pace = self.config, Pace()
        evaluation: dict[str, float] = {}
        while self.step < config.steps:
            figures = self.one_step(pace)
            self.step += 1
            last = self.step == config.steps
            if last or self.step % config.log_every == 0:
                self.voice.metrics(self.step, **figures, **pace.figures(self.device))
                self.voice.progress(self.step, config.steps, self.phase)
            if self.evaluate and (last or (config.evaluate_every and self.step % config.evaluate_every == 0)):
                evaluation = dict(self.evaluate())
                if evaluation:
                    self.voice.metrics(self.step, **evaluation)
                pace.forget()
            if last or self._stop or self.step % config.checkpoint_every == 0:
                self.save(wait=last or self._stop)
            if self._stop and not last:
                raise Stopped
        if self.evaluate and not evaluation:
            evaluation = dict(self.evaluate())
        return evaluation

    def save(self, wait: bool) -> None:
        """Write a checkpoint."""
        tensors = tensors_of(self.modules, self.optimizers)
        facts = {"identity": self.identity, "data": self.source.state(), **self.more_facts()}
        self.checkpoints.save(self.step, tensors, facts, wait)
        self.voice.say("checkpoint", step=self.step, path=f"checkpoints/step-{self.step:08d}")

    def rate(self) -> float:
        """The learning rate of this step."""
        return self.config.optimizer.learning_rate * factor(self.config.schedule, self.step, self.config.steps)

    def one_step(self, pace: Pace) -> dict[str, float]:
        """Gradients of some batches, and a step of the optimizer; returns figures."""
        batches = [next(self.source) for _ in range(self.config.accumulate)]
        weights = [self.objective.weight(batch) for batch in batches]
        total = max(sum(weights), 1e-9)
        sums: dict[str, float] = {}
        for batch, weight in zip(batches, weights, strict=True):
            loss = self.objective.loss(batch)
            share = weight / total
            (loss.total / total + sum(loss.means.values(), torch.zeros((), device=self.device)) * share).backward()
            stats = {"loss": loss.total.detach() / max(weight, 1e-9), **loss.means, **loss.stats}
            for name, value in stats.items():
                plain = value.detach() if isinstance(value, Tensor) else value
                sums[name] = sums.get(name, 0.0) + share * float(plain)
            pace.count(weight, self.objective.flops(batch))
        norm = self.optimizers["optimizer"].step(self.rate())
        return {**sums, "learning_rate": self.rate(), "gradient_norm": norm}


class Pace:
    """Tokens, or whatever counts, and operations of a second since it was asked last."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._began, self._weight, self._flops = time.perf_counter(), 0.0, 0.0

    def count(self, weight: float, flops: float) -> None:
        """More of both."""
        self._weight, self._flops = self._weight + weight, self._flops + flops

    def figures(self, device: torch.device) -> dict[str, float]:
        """Of the time since then."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = max(time.perf_counter() - self._began, 1e-9)
        found = {"per_second": self._weight / seconds, "flops_per_second": self._flops / seconds}
        peak = peak_flops(device)
        if peak is not None:
            found["mfu"] = self._flops / seconds / peak
        self.forget()
        return {**found, "memory_bytes": float(memory_bytes(device))}
