"""Reinforcement learning from a reward: PPO with actor and critic, and GRPO without a critic.

PPO: Schulman et al., 2017 (arXiv 1707.06347), for language models Ziegler et al., 2019 (arXiv 1909.08593) and Ouyang et
al., 2022 (arXiv 2203.02155).  GRPO: Shao et al., 2024 (arXiv 2402.03300).

An iteration draws ``samples`` answers to each of ``prompts`` prompts, has them scored, and makes ``epochs`` passes over
them in minibatches.  PPO takes the divergence from the reference off the rewards, token by token; GRPO adds it to the
loss.  Losses are sums over tokens, divided by the number of tokens of the whole minibatch, so that neither padding nor
``rows`` at once matter.

Shapes: B answers, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainer.align.advantage import (
    KlController,
    generalised_advantages,
    group_advantages,
    token_rewards,
    whitened,
)
from trainer.align.experience import Answers, Experience, Reward, as_rows, log_probabilities
from trainer.align.losses import clipped_surrogate, k3_divergence, value_loss
from trainer.data.prompts import PromptBatch, Prompts
from trainer.errors import StateError
from trainer.evaluate.win_rate import scores
from trainer.infer.engine import Engine, Response
from trainer.infer.sampling import Sampling
from trainer.models.accounting import inference_flops, training_flops
from trainer.models.heads import ScalarHead
from trainer.ranges import NOT_NEGATIVE, POSITIVE, Checked, Range
from trainer.train.loop import Loop, LoopConfig, Pace
from trainer.train.optimizer import Optimizers

EXACT = {torch.float64: 1e-9, torch.float32: 1e-6, torch.bfloat16: 2e-2}
"""How far the logarithm of a ratio that must be 1 may be from 0, by the type that is computed in."""


class _Bounds(NamedTuple):
    low: float
    high: float


KL = _Bounds(0.01, 0.1)
"""Where the coefficient of the divergence may be, and where a controller may lead it."""


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(Checked):
    """How a policy learns from rewards.

    Attributes:
        prompts, samples: of an iteration, and answers to each prompt.
        new_tokens: of an answer, at most.
        epochs, minibatches: passes over an iteration's answers, and steps of each.
        clip: of the ratio.
        value_clip: of the critic's steps; null for none.
        gamma, smoothing: discount and lambda of GAE.
        kl: coefficient of the divergence from the reference.
        kl_target: divergence of an answer, in nats, to which the coefficient is led inside of its range; null: none.
        kl_horizon: answers in which the coefficient may about double.
        stop_kl: divergence of a token from the policy that drew it, at which an iteration's epochs end; null: never.
        critic_rate: learning rate of the critic, as a multiple of the actor's.
        whiten: advantages over the whole iteration (PPO).
        scale: advantages by the deviation of their group (GRPO).
        score_scale, score_clip: what scores are divided by, and where they are cut; null for no cut.
        unfinished: taken off the score of an answer that was cut by length; null for nothing.
        evaluation_prompts: of what is held out, whose answers are compared with the reference's.
    """

    prompts: int = field(default=32, metadata={"limit": POSITIVE})
    samples: int = field(default=4, metadata={"limit": POSITIVE})
    new_tokens: int = field(default=256, metadata={"limit": POSITIVE})
    epochs: int = field(default=4, metadata={"limit": POSITIVE})
    minibatches: int = field(default=4, metadata={"limit": POSITIVE})
    clip: float = field(default=0.2, metadata={"range": Range(0.1, 0.3, "0.2 is the published value")})
    value_clip: float | None = field(default=0.2, metadata={"limit": Range(1e-6, None)})
    gamma: float = field(default=1.0, metadata={"limit": Range(0, 1, "a discount")})
    smoothing: float = field(default=0.95, metadata={"limit": Range(0, 1, "lambda of GAE")})
    kl: float = field(
        default=0.05,
        metadata={"limit": NOT_NEGATIVE, "range": Range(*KL, "less forgets the reference, more learns little")},
    )
    kl_target: float | None = field(default=None, metadata={"limit": Range(1e-6, None)})
    kl_horizon: int = field(default=10_000, metadata={"limit": POSITIVE})
    stop_kl: float | None = field(default=None, metadata={"limit": Range(1e-6, None)})
    critic_rate: float = field(default=1.0, metadata={"limit": Range(1e-3, 1e3)})
    whiten: bool = True
    scale: bool = True
    score_scale: float = field(default=1.0, metadata={"limit": Range(1e-9, None)})
    score_clip: float | None = field(default=None, metadata={"limit": Range(1e-9, None)})
    unfinished: float | None = field(default=None, metadata={"limit": NOT_NEGATIVE})
    evaluation_prompts: int = field(default=64, metadata={"limit": POSITIVE})


class RewardModel:
    """The scores of a trained reward model.

    Args:
        padding: token that pads.
        batch_tokens: that are read together, about.
    """

    def __init__(
        self, head: ScalarHead, padding: int, device: torch.device, dtype: torch.dtype, batch_tokens: int = 1 << 14
    ) -> None:
        self.head, self.padding, self.batch_tokens = head.to(device).eval().requires_grad_(False), padding, batch_tokens
        self.device, self.dtype = device, dtype

    def __call__(self, prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> np.ndarray:
        """The reward at the last token of each answer."""
        sequences = [np.concatenate(pair) for pair in zip(prompts, answers, strict=True)]
        return scores(
            self.head, sequences, padding=self.padding, batch_tokens=self.batch_tokens, device=self.device,
            dtype=self.dtype,
        )  # fmt: skip


@dataclass
class Players:
    """Who takes part.

    Attributes:
        actor: that learns; ``reference`` is what it was at the start.
        critic: scalars of every token; None for GRPO.
        reward: what answers are worth.
        stop: tokens that end an answer.
        padding: token that pads.
    """

    actor: nn.Module
    reference: nn.Module
    critic: ScalarHead | None
    reward: Reward
    stop: frozenset[int]
    padding: int


class PolicyLoop(Loop):
    """The loop of training, whose step is an iteration: draw, score, learn."""

    def __init__(
        self, method: Literal["ppo", "grpo"], config: LoopConfig, policy: PolicyConfig, players: Players,
        prompts: Prompts, held_out: Callable[[], Iterator[PromptBatch]] | None, rows: int, output: Path,
        identity: Mapping[str, Any], device: torch.device, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.method, self.policy, self.players, self.rows, self.dtype = method, policy, players, rows, dtype
        self.held_out = held_out
        players.reference.to(device).eval().requires_grad_(False)
        self.controller = KlController(
            policy.kl, policy.kl_target, policy.kl_horizon, min(KL.low, policy.kl), max(KL.high, policy.kl)
        )
        modules: dict[str, nn.Module] = {"actor": players.actor.to(device)}
        if players.critic is not None:
            modules["critic"] = players.critic.to(device)
        evaluate = self.compared if held_out else None
        super().__init__(config, modules, None, prompts, output, identity, device, evaluate, method)  # type: ignore[arg-type]

    def make_optimizers(self) -> dict[str, Optimizers]:
        """One each, so that neither's gradients clip the other's."""
        return {f"{name}-optimizer": Optimizers({name: module}, self.config.optimizer)
                for name, module in self.modules.items()}  # fmt: skip

    def more_facts(self) -> dict[str, Any]:
        return {"kl_coefficient": self.controller.coefficient}

    def restore_facts(self, facts: Mapping[str, Any]) -> None:
        self.controller.coefficient = float(facts["kl_coefficient"])

    # One iteration.

    def one_step(self, pace: Pace) -> dict[str, float]:
        """Draw, score, learn; returns figures."""
        began = time.perf_counter()
        prompts = _lists(next(self.source))
        responses = self.draw(self.players.actor, prompts, self.policy.samples, self.config.seed + 1 + self.step)
        drawn = time.perf_counter()
        answers = as_rows(prompts, responses, self.players.padding).to(self.device)
        raw_B = self.players.reward([prompts[one.prompt] for one in responses], [one.tokens for one in responses])
        experience, figures = self._weigh(answers, np.asarray(raw_B, np.float64))
        scored = time.perf_counter()
        figures |= self._learn(experience)
        self._count(pace, answers, prompts)
        ended = time.perf_counter()
        figures |= {
            "answers_per_second": len(responses) / (ended - began), "draw_seconds": drawn - began,
            "score_seconds": scored - drawn, "learn_seconds": ended - scored, "learning_rate": self.rate(),
        }  # fmt: skip
        self.controller.update(figures["kl"], len(responses))
        return figures

    def draw(self, module: nn.Module, prompts: list[np.ndarray], samples: int, seed: int) -> list[Response]:
        """Answers by prompt and sample; what is drawn depends on the seed and the prompt's place in the batch."""
        sampling = Sampling(new_tokens=self.policy.new_tokens, seed=seed)
        training = module.training
        engine = Engine(module.eval(), slots=self.rows, stop=self.players.stop, device=self.device, dtype=self.dtype)
        found = sorted(engine.generate(prompts, sampling, samples=samples), key=lambda one: one[:2])
        module.train(training)
        return found

    def _weigh(self, answers: Answers, raw_B: np.ndarray) -> tuple[Experience, dict[str, float]]:
        """Log-probabilities, values and advantages; in the parts in which the first epoch will see the answers, so that
        its first ratios are 1 to the bit."""
        old_BT, reference_BT, values_BT = (torch.zeros_like(answers.engine_BT) for _ in range(3))
        with torch.no_grad():
            for part_b in self._parts(torch.arange(len(raw_B))):
                rows = answers.rows(part_b)
                width = rows.tokens_BT.shape[1]
                old_BT[part_b, :width] = log_probabilities(self.players.actor, rows, self.dtype)[0].float()
                reference_BT[part_b, :width] = log_probabilities(self.players.reference, rows, self.dtype)[0].float()
                if self.players.critic is not None:
                    values_BT[part_b, :width] = self._values(rows)[0].float()
        values_BT = torch.where(answers.mask_BT, values_BT, 0.0)
        self._check_reference(old_BT, reference_BT)
        score_B = torch.from_numpy(self._adjusted(raw_B, answers.stopped_B.cpu().numpy())).float().to(self.device)
        experience = self._advantages(answers, score_B, old_BT, reference_BT, values_BT)
        return experience, self._figures(experience, raw_B, score_B)

    def _adjusted(self, raw_B: np.ndarray, stopped_B: np.ndarray) -> np.ndarray:
        policy = self.policy
        found_B = raw_B / policy.score_scale
        if policy.score_clip is not None:
            found_B = found_B.clip(-policy.score_clip, policy.score_clip)
        return found_B - ~stopped_B * policy.unfinished if policy.unfinished is not None else found_B

    def _advantages(
        self, answers: Answers, score_B: Tensor, old_BT: Tensor, reference_BT: Tensor, values_BT: Tensor
    ) -> Experience:
        policy, mask_BT = self.policy, answers.mask_BT
        if self.method == "grpo":
            of_group_B = group_advantages(score_B, answers.prompt_B, policy.scale)
            advantages_BT = torch.where(mask_BT, of_group_B[:, None], 0.0)
            return Experience(answers, old_BT, reference_BT, values_BT, advantages_BT, torch.zeros_like(values_BT))
        rewards_BT = token_rewards(score_B, old_BT, reference_BT, mask_BT, self.controller.coefficient)
        advantages_BT, returns_BT = generalised_advantages(
            rewards_BT, values_BT, mask_BT, policy.gamma, policy.smoothing
        )
        if policy.whiten:
            advantages_BT = whitened(advantages_BT, mask_BT)
        return Experience(answers, old_BT, reference_BT, values_BT, advantages_BT, returns_BT)

    def _learn(self, experience: Experience) -> dict[str, float]:
        """Epochs of minibatches; returns means over their tokens, and the gradients' norms."""
        count, sums, steps = len(experience.old_BT), _Sums(), 0
        generator = torch.Generator().manual_seed(self.config.seed + (1 << 32) * (self.step + 1))
        for epoch in range(self.policy.epochs):
            order_B = torch.arange(count) if epoch == 0 else torch.randperm(count, generator=generator)
            reached = 0.0
            for index_B in order_B.tensor_split(min(self.policy.minibatches, count)):
                found = self._minibatch(experience, index_B, first=steps == 0)
                sums.add(found)
                reached, steps = max(reached, found["policy_kl"]), steps + 1
            if self.policy.stop_kl is not None and reached > self.policy.stop_kl:
                break
        return {**sums.means(), "updates": float(steps)}

    def _minibatch(self, experience: Experience, index_B: Tensor, first: bool) -> dict[str, float]:
        tokens = float(experience.answers.mask_BT[index_B].sum())
        sums = _Sums()
        for number, part_b in enumerate(self._split(index_B)):
            rows = experience.rows(part_b)
            loss, found = self._actor_loss(rows, tokens, check=first and number == 0)
            loss.backward()
            if self.players.critic is not None:
                loss, value = self._critic_loss(rows, tokens)
                loss.backward()
                found["value_loss"] = value
            sums.add(found)
        norms = {f"{name.removesuffix('-optimizer')}_gradient_norm":
                 one.step(self.rate() * (self.policy.critic_rate if name.startswith("critic") else 1.0))
                 for name, one in self.optimizers.items()}  # fmt: skip
        return {**sums.totals(), **norms}

    def _actor_loss(self, rows: Experience, tokens: float, check: bool) -> tuple[Tensor, dict[str, float]]:
        answers = rows.answers
        new_BT, auxiliary = log_probabilities(self.players.actor, answers, self.dtype)
        if check:
            self._check_ratio(new_BT.detach(), rows)
        surrogate = clipped_surrogate(new_BT, rows.old_BT, rows.advantages_BT, answers.mask_BT, self.policy.clip)
        loss = surrogate.loss / tokens
        if self.method == "grpo":
            divergence = k3_divergence(new_BT, rows.reference_BT, answers.mask_BT)
            loss = loss + self.controller.coefficient * divergence / tokens
        share = float(answers.mask_BT.sum()) / tokens
        loss = loss + sum(auxiliary.values(), torch.zeros((), device=self.device)) * share
        return loss, {
            "policy_loss": float(surrogate.loss.detach()) / tokens, "clip_share": float(surrogate.clipped) / tokens,
            "policy_kl": float(surrogate.kl) / tokens,
        }  # fmt: skip

    def _critic_loss(self, rows: Experience, tokens: float) -> tuple[Tensor, float]:
        new_BT, auxiliary = self._values(rows.answers)
        mask_BT = rows.answers.mask_BT
        loss = value_loss(new_BT, rows.values_BT, rows.returns_BT, mask_BT, self.policy.value_clip) / tokens
        share = float(mask_BT.sum()) / tokens
        more = sum(auxiliary.values(), torch.zeros((), device=self.device)) * share
        return loss + more, float(loss.detach())

    def _values(self, rows: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        critic = self.players.critic
        assert critic is not None
        trunk = critic.trunk(rows.tokens_BT, rows.documents_BT, self.dtype)
        return critic.read(trunk.hidden_BTD), trunk.losses

    def _parts(self, index_B: Tensor) -> Iterator[Tensor]:
        """All answers, in the parts of the first epoch."""
        for minibatch_B in index_B.tensor_split(min(self.policy.minibatches, len(index_B))):
            yield from self._split(minibatch_B)

    def _split(self, index_B: Tensor) -> tuple[Tensor, ...]:
        return index_B.to(self.device).split(self.rows)

    # What must be true in every run.

    def _check_reference(self, old_BT: Tensor, reference_BT: Tensor) -> None:
        if self.step == 0:
            gap = float((old_BT - reference_BT).abs().max())
            if not gap <= EXACT[self.dtype]:
                raise StateError(
                    f"before the first step the policy is not its reference: log-probabilities differ by {gap:.3g}; "
                    "the model computes something else when it is asked again"
                )

    def _check_ratio(self, new_BT: Tensor, rows: Experience) -> None:
        gap = float(torch.where(rows.answers.mask_BT, new_BT - rows.old_BT, 0.0).abs().max())
        if not gap <= EXACT[self.dtype]:
            raise StateError(
                f"the first ratio of iteration {self.step} is not 1: log-probabilities differ by {gap:.3g}; the model "
                "computes something else with gradients than without"
            )

    # Figures.

    def _figures(self, experience: Experience, raw_B: np.ndarray, score_B: Tensor) -> dict[str, float]:
        answers, mask_BT = experience.answers, experience.answers.mask_BT
        count, tokens = len(raw_B), float(mask_BT.sum())
        gap_BT = torch.where(mask_BT, (answers.engine_BT - experience.old_BT).abs(), 0.0)
        off_BT = torch.where(mask_BT, experience.returns_BT - experience.values_BT, 0.0)
        found = {
            "reward": float(raw_B.mean()), "reward_deviation": float(raw_B.std()), "score": float(score_B.mean()),
            "kl": float((experience.old_BT - experience.reference_BT).masked_fill(~mask_BT, 0.0).sum()) / count,
            "kl_coefficient": self.controller.coefficient,
            "entropy": -float(experience.old_BT.masked_fill(~mask_BT, 0.0).sum()) / tokens,
            "answer_tokens": tokens / count, "ended_share": float(answers.stopped_B.float().mean()),
            "engine_gap": float(gap_BT.sum()) / tokens, "engine_gap_greatest": float(gap_BT.max()),
        }  # fmt: skip
        if self.players.critic is not None:
            spread = experience.returns_BT[mask_BT].var(correction=0)
            found["explained_variance"] = 1 - float(off_BT[mask_BT].var(correction=0) / spread.clamp(min=1e-12))
        return found

    def _count(self, pace: Pace, answers: Answers, prompts: list[np.ndarray]) -> None:
        """Answers, and operations: drawing, the three forwards of weighing, and the epochs."""
        config, critics = self.players.actor.config, 1 if self.players.critic is not None else 0
        lengths_B = (answers.documents_BT >= 0).sum(1).tolist()
        begins_B = [len(prompts[number]) for number in answers.prompt_B.tolist()]
        for length, begin in zip(lengths_B, begins_B, strict=True):
            learnt = training_flops(config, length)
            pace.count(1.0, inference_flops(config, begin, length - begin) + (2 + critics) * learnt / 3
                       + self.policy.epochs * (1 + critics) * learnt)  # fmt: skip

    def compared(self) -> dict[str, float]:
        """The actor's answers beside the reference's, to prompts that are held out: rewards, and who wins."""
        assert self.held_out is not None
        prompts = [prompt for batch in self.held_out() for prompt in _lists(batch)][: self.policy.evaluation_prompts]
        if not prompts:
            return {}
        rewards = []
        for module in (self.players.actor, self.players.reference):
            answers = [one.tokens for one in self.draw(module, prompts, 1, self.config.seed)]
            rewards.append(np.asarray(self.players.reward(prompts, answers), np.float64))
        own, theirs = rewards
        wins = (own > theirs).mean() + 0.5 * (own == theirs).mean()
        return {"held_out_reward": float(own.mean()), "held_out_reward_reference": float(theirs.mean()),
                "win_rate": float(wins), "held_out_prompts": float(len(prompts))}  # fmt: skip


class _Sums:
    """Figures that come several times."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._times: dict[str, int] = {}

    def add(self, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._times[name] = self._times.get(name, 0) + 1

    def totals(self) -> dict[str, float]:
        return dict(self._sums)

    def means(self) -> dict[str, float]:
        return {name: total / self._times[name] for name, total in self._sums.items()}


def _lists(batch: PromptBatch) -> list[np.ndarray]:
    return [row[:length].numpy() for row, length in zip(batch.tokens_BT, batch.lengths_B, strict=True)]
