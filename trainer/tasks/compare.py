"""Which of two variants to use (``trainer.deploy.compare``).

| evidence | needs | a sample |
|---|---|---|
| ``loss`` | models ``a``, ``b``; corpora or instructions | bits per byte of a document |
| ``answers`` | ``a``, ``b``, ``reward``; preferences or instructions | who wins a prompt: 1, 0, one half for a tie |
| ``outcomes`` | ``rows`` in the config | what came of two units of a live test |
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trainer.deploy.compare import Costs, OutcomeRule, Rule, compare, compare_outcomes, table
from trainer.errors import ConfigError, DataError
from trainer.job import Job, origin
from trainer.model_folder import open_model
from trainer.models.accounting import inference_flops
from trainer.ranges import POSITIVE, Checked, Range
from trainer.tasks import perplexity, win_rate


@dataclass(frozen=True, kw_only=True)
class Work(Checked):
    """What models are used for, to count what it costs.

    Attributes:
        prompt, answer: tokens that are read, and written.
    """

    prompt: int = field(default=1024, metadata={"limit": POSITIVE})
    answer: int = field(default=128, metadata={"limit": POSITIVE})


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """What is compared, and when it is decided.

    Attributes:
        evidence: see above.
        rule: of the verdict; its margin is in bits per byte, in prompts won less prompts lost (as a share), or in the
            unit of the outcomes.
        costs: of each variant, such as ``gristmill cost`` measured; by default the operations of ``work``.
        work: counted where ``costs`` are not given.
        bound: of the difference between two losses, in bits per byte; what is beyond counts as it.  The smaller, the
            sooner there is a verdict.
        loss: how documents are read.
        answers: how prompts are answered.
        outcomes: what outcomes are.
        rows: ``unit``, ``variant`` (A or B), ``outcome``, in the order in which they came.
    """

    evidence: Literal["loss", "answers", "outcomes"] = "loss"
    rule: Rule = field(default_factory=Rule)
    costs: Costs | None = None
    work: Work = field(default_factory=Work)
    bound: float = field(default=0.5, metadata={"limit": Range(1e-6, 64, "bits per byte")})
    loss: perplexity.Config = field(default_factory=perplexity.Config)
    answers: win_rate.Config = field(default_factory=win_rate.Config)
    outcomes: OutcomeRule = field(default_factory=OutcomeRule)
    rows: tuple[Mapping[str, Any], ...] = ()


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Gather the evidence and judge it; the text of the table is in the result too."""
    if config.evidence == "outcomes":
        found = _of_outcomes(job, config)
    else:
        if config.rows:
            raise ConfigError("/config/rows", f"outcomes are evidence of their own, not of {config.evidence}")
        found = (_of_loss if config.evidence == "loss" else _of_answers)(job, config)
    models = [origin(entry) for entry in job.models]
    return {"evidence": config.evidence, **found, "models": models, "table": table(found)}


def _of_outcomes(job: Job, config: Config) -> dict[str, Any]:
    if job.models or job.datasets:
        raise ConfigError("/models", "outcomes are compared without models and datasets")
    return compare_outcomes(config.rows, rule=config.rule, outcomes=config.outcomes, costs=config.costs)


def _of_loss(job: Job, config: Config) -> dict[str, Any]:
    job.check_roles(("a", "b"))
    bits: dict[str, dict[tuple[int, str], float]] = {}
    for side in ("a", "b"):
        model = {**job.needed_model(side), "role": "model"}
        part = dataclasses.replace(job, task="perplexity", models=(model,), output=job.output / side)
        perplexity.run(part, config.loss)
        bits[side] = _bits_per_byte(part.output / "documents.jsonl")
    if bits["a"].keys() != bits["b"].keys():
        raise DataError("the models were not measured on the same documents")
    pairs = np.array([(bits["a"][name], bits["b"][name]) for name in bits["a"]]).reshape(-1, 2)
    return compare(
        pairs[:, 0], pairs[:, 1], bound=config.bound, rule=config.rule, costs=config.costs or _counted(job, config),
        unit="bits per byte", better="lower",
    )  # fmt: skip


def _of_answers(job: Job, config: Config) -> dict[str, Any]:
    job.needed_model("b")
    win_rate.run(job, config.answers)
    ahead = [row["a"]["score"] - row["b"]["score"] for row in _rows(job.output / "answers.jsonl")]
    won_N = (np.sign(ahead) + 1) / 2
    costs = config.costs or _counted(job, config)
    return compare(won_N, 1 - won_N, bound=1.0, rule=config.rule, costs=costs, unit="prompts won")


def _bits_per_byte(path: Path) -> dict[tuple[int, str], float]:
    """Of each document that has a byte."""
    return {
        (row["dataset"], row["id"]): row["loss"] / math.log(2) / row["bytes"] for row in _rows(path) if row["bytes"]
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _counted(job: Job, config: Config) -> Costs:
    prompt, answer = config.work.prompt, config.work.answer
    a, b = (
        inference_flops(open_model(job.needed_model(side)).module.config, prompt, answer)  # type: ignore[arg-type]
        for side in ("a", "b")
    )
    return Costs(a=a, b=b, unit=f"operations to read {prompt:,} and write {answer:,} tokens")
