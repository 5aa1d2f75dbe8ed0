"""Two language models answer the same prompts, and a reward model says whose answer is better.

The models are ``a``, ``b`` and ``reward``.  Without ``b``, the answers of the data stand for it: the better one of a
pair, the last one of a conversation.  A row of ``answers.jsonl`` has ``prompt`` (its number), ``messages``, ``winner``
(``a``, ``b`` or ``tie``), and of both sides ``text``, ``score`` and ``stopped`` (or else cut by length).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from trainer.data import chat
from trainer.data.chat import Message
from trainer.data.dataset import open_dataset
from trainer.data.tokenizer import Vocabulary
from trainer.errors import ConfigError
from trainer.evaluate.win_rate import scores, win_rate
from trainer.infer.prompts import Asked, Split, asked, encode, with_system
from trainer.infer.respond import language_model, respond
from trainer.infer.rows import write_rows
from trainer.infer.sampling import Sampling
from trainer.job import Job
from trainer.model_folder import Model, open_model
from trainer.models.heads import ScalarHead
from trainer.ranges import POSITIVE, Checked
from trainer.train.device import compute_type, pick_device

LONGER = 1.2  # mean lengths whose ratio is above this are warned of


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """What is asked, and how.

    Attributes:
        first: how many different prompts.
        split: ``train`` or ``held-out``: only rows of datasets that say so.
        sampling: of both models.
        system: what the system says to chats that have no such turn.
        tokens: prompts that are longer for any of the models are left out.
        slots: answers that are drawn at the same time.
        batch_tokens: that the reward model reads together.
        precision, device: of the arithmetic.
    """

    first: int = field(default=200, metadata={"limit": POSITIVE})
    split: Split | None = None
    sampling: Sampling = field(default_factory=Sampling)
    system: str | None = None
    tokens: int = field(default=2048, metadata={"limit": POSITIVE})
    slots: int = field(default=32, metadata={"limit": POSITIVE})
    batch_tokens: int = field(default=8192, metadata={"limit": POSITIVE})
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str | None = None


@dataclass(frozen=True)
class Answer:
    """What one side says."""

    messages: Sequence[Message]
    stopped: bool

    @property
    def text(self) -> str:
        return "\n\n".join(message["content"] for message in self.messages)


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Let both answer, and count who wins."""
    job.check_roles(("a", "b", "reward"))
    datasets = [open_dataset(d["location"], None, d.get("manifest_digest")) for d in job.needed_datasets()]
    reward, entries = _reward_model(job.needed_model("reward")), {"a": job.needed_model("a"), "b": job.model("b")}
    models = {side: language_model(entry, side) for side, entry in entries.items() if entry is not None}
    found = [
        Asked(with_system(each.messages, config.system), each.reference)
        for each in asked(datasets, config.first, config.split)
    ]
    tokenizers = [model.tokenizer for model in (*models.values(), reward)]
    prompts = [each for each in found if _longest(each.messages, tokenizers) <= config.tokens]
    if not prompts:
        raise ConfigError("/config/tokens", f"all {len(found)} prompts are longer than {config.tokens} tokens")
    answers = {side: _answers(model, side, prompts, config) for side, model in models.items()}
    answers.setdefault("b", [Answer(each.reference, True) for each in prompts])
    scored = {side: _scores(reward, prompts, answers[side], config) for side in ("a", "b")}
    write_rows(job.output / "answers.jsonl", _rows(prompts, answers, scored))
    figures = _figures(answers, scored, config.sampling.seed)
    against = "b" if "b" in models else "reference"
    return {"path": "answers.jsonl", "against": against, "left_out": len(found) - len(prompts), **figures}


def _longest(messages: Sequence[Message], tokenizers: Sequence[Vocabulary]) -> int:
    return max(len(encode(messages, tokenizer, "chat")) for tokenizer in tokenizers)


def _reward_model(entry: Mapping[str, Any]) -> Model:
    model = open_model(entry)
    if not isinstance(model.module, ScalarHead):
        raise ConfigError("/models", f"the model with the role 'reward' is a {model.kind} model; it gives no scores")
    return model


def _answers(model: Model, side: str, prompts: Sequence[Asked], config: Config) -> list[Answer]:
    """One answer to each prompt."""
    responses = respond(
        model, [encode(each.messages, model.tokenizer, "chat") for each in prompts], config.sampling,
        slots=config.slots, precision=config.precision, device=config.device, phase=f"answers of {side}",
    )  # fmt: skip
    return [
        Answer([{"role": "assistant", "content": model.tokenizer.decode(response.tokens)}], response.stopped)
        for response in responses
    ]


def _scores(reward: Model, prompts: Sequence[Asked], answers: Sequence[Answer], config: Config) -> np.ndarray:
    device, head, tokenizer = pick_device(config.device), reward.module, reward.tokenizer
    assert isinstance(head, ScalarHead)
    sequences = [
        np.concatenate([chat.prompt(each.messages, tokenizer), chat.answer(answer.messages, tokenizer).tokens])
        for each, answer in zip(prompts, answers, strict=True)
    ]
    return scores(
        head.to(device).eval(), sequences, padding=tokenizer.pad, batch_tokens=config.batch_tokens, device=device,
        dtype=compute_type(config.precision),
    )  # fmt: skip


def _rows(
    prompts: Sequence[Asked], answers: Mapping[str, Sequence[Answer]], scored: Mapping[str, np.ndarray]
) -> Iterator[Mapping[str, Any]]:
    for number, each in enumerate(prompts):
        ahead = float(scored["a"][number] - scored["b"][number])
        sides = {
            side: {"text": answer.text, "score": float(scored[side][number]), "stopped": answer.stopped}
            for side, answer in ((side, answers[side][number]) for side in ("a", "b"))
        }
        winner = "a" if ahead > 0 else "b" if ahead < 0 else "tie"
        yield {"prompt": number, "messages": each.messages, "winner": winner, **sides}


def _figures(answers: Mapping[str, Sequence[Answer]], scored: Mapping[str, np.ndarray], seed: int) -> Mapping[str, Any]:
    """What came out, and whether length may have decided it."""
    found = win_rate(scored["a"], scored["b"], seed)
    lengths = {side: np.array([len(answer.text) for answer in answers[side]]) for side in ("a", "b")}
    means = {side: float(lengths[side].mean()) for side in ("a", "b")}
    decided = (lengths["a"] != lengths["b"]) & (scored["a"] != scored["b"])
    longer = (lengths["a"] > lengths["b"]) == (scored["a"] > scored["b"])
    warnings = []
    if max(means.values()) > LONGER * min(means.values()):
        warnings.append(
            f"answers differ in length: {means['a']:.0f} and {means['b']:.0f} characters in the mean; reward models "
            "often like longer ones"
        )
    return {
        "prompts": len(scored["a"]), "win_rate": found.rate, "interval": [found.low, found.high],
        "wins": found.wins, "ties": found.ties, "losses": found.losses,
        "mean_score": {side: float(scored[side].mean()) for side in ("a", "b")}, "mean_characters": means,
        "stopped": {side: sum(answer.stopped for answer in answers[side]) for side in ("a", "b")},
        "longer_wins": float(longer[decided].mean()) if decided.any() else None, "warnings": warnings,
    }  # fmt: skip
