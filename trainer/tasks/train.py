"""Training: datasets and, perhaps, a model to a model, by stages (``trainer.stages``)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from trainer.config import digest
from trainer.data.batches import Packed
from trainer.data.dataset import Dataset, open_dataset
from trainer.data.documents import Documents
from trainer.data.encode import encoded
from trainer.data.pairs import Pairs
from trainer.data.prompts import Prompts
from trainer.errors import ConfigError, StateError
from trainer.infer.prompts import stops
from trainer.job import Job, origin
from trainer.model_folder import (
    Model,
    describe,
    model_digest,
    open_model,
    open_tokenizer,
    save_model,
    save_tokenizer,
)
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.ranges import POSITIVE, Checked, Range
from trainer.stages.direct import Direct, DirectConfig
from trainer.stages.language import NextToken, perplexity
from trainer.stages.policy import Players, PolicyConfig, PolicyLoop, RewardModel
from trainer.stages.reward import Ranking, RewardConfig, calibration
from trainer.stages.tokenizer import TokenizerConfig, fitted, measured, texts
from trainer.train.device import be_deterministic, compute_type, pick_device, save_memory
from trainer.train.loop import Loop, LoopConfig, Objective, Source
from trainer.train.metrics import Voice

FOLDER = "final"
Stage = Literal["tokenizer", "pretrain", "sft", "reward", "dpo", "ppo", "grpo"]
KINDS: dict[str, tuple[str, ...]] = {
    "tokenizer": ("corpus", "instructions"), "pretrain": ("corpus",), "sft": ("instructions",),
    "reward": ("preferences",), "dpo": ("preferences",),
    "ppo": ("preferences", "instructions"), "grpo": ("preferences", "instructions"),
}  # fmt: skip
POLICIES = ("ppo", "grpo")
STARTED = ("dpo", *POLICIES)
"""Stages that start from a model that was tuned."""
ROLES: dict[str, tuple[str, ...]] = {
    "tokenizer": (), "dpo": ("start",), **dict.fromkeys(POLICIES, ("start", "reward")),
    **dict.fromkeys(("pretrain", "sft", "reward"), ("start", "tokenizer")),
}  # fmt: skip
"""Models that a stage may be given."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Checked):
    """How datasets become batches.

    Attributes:
        tokens: of a row, or the longest pair.
        rows: of a batch: packed rows, or rankings.
        held_out: share that is held out where the dataset does not say.
        weights: by ``language`` and ``domain``: how often documents of a group are seen for once that others are.
        evaluation_batches: of what is held out.
        check_digests: read all files once more to see that they are what was published.
    """

    tokens: int = field(default=1024, metadata={"limit": POSITIVE})
    rows: int = field(default=8, metadata={"limit": POSITIVE})
    held_out: float = field(default=0.01, metadata={"limit": Range(0, 0.9, "a share")})
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    evaluation_batches: int = field(default=50, metadata={"limit": POSITIVE})
    check_digests: bool = False


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """Everything that a training may be told.

    Attributes:
        stage: what is trained.
        model: ``family`` and fields of its configuration, for a model that starts from nothing; else the job has a
            model with the role ``start``.
        tokenizer: of a model that starts from nothing, where the job has no model with the role ``tokenizer``; or
            what the stage ``tokenizer`` fits.
        data, loop: see there.
        reward, dpo: of these stages.
        policy: of the stages ``ppo`` and ``grpo``, whose steps are iterations.
    """

    stage: Stage
    model: Mapping[str, Any] | None = None
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    dpo: DirectConfig = field(default_factory=DirectConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Train, and write the model to ``final``."""
    if config.stage == "tokenizer":
        return _fit(job, config)
    _check(job, config)
    be_deterministic(config.loop.deterministic)
    torch.manual_seed(config.loop.seed)
    datasets = _datasets(job, config)
    model = _model(job, config, datasets)
    documents = Documents([encoded(d, model.tokenizer, job.output / "tokens") for d in datasets], config.data.held_out)
    device = pick_device(config.loop.device)
    identity = {
        "config": digest(config),
        "datasets": [d.manifest_digest for d in datasets],
        "tokenizer": model.tokenizer.identity,
    }
    if config.stage in POLICIES:
        loop: Loop = _policy_loop(job, config, model, documents, device, identity)
    else:
        _prepare(model.module.to(device), config.loop)
        objective, source, evaluate = _stage(config, model, documents, device)
        modules = {"model": model.module}
        loop = Loop(config.loop, modules, objective, source, job.output, identity, device, evaluate, config.stage)
    loop.voice.log(
        f"{config.stage}: {len(documents.train()):,} entries, {len(documents.held_out()):,} held out, {device}"
    )
    figures = loop.run()
    facts = {
        "stage": config.stage, "steps": loop.step, "figures": figures,
        "models": [origin(one) for one in job.models], "datasets": [origin(one) for one in job.datasets],
    }  # fmt: skip
    found = save_model(job.output / FOLDER, Model(model.kind, model.settings, model.module, model.tokenizer, facts))
    return {"model": FOLDER, "digest": found, "stage": config.stage, "steps": loop.step, **figures}


def _fit(job: Job, config: Config) -> Mapping[str, Any]:
    """Fit a tokenizer by itself, and write it to ``final``, unless it is there."""
    job.check_roles(ROLES[config.stage])
    if config.model is not None:
        raise ConfigError("/config/model", "a tokenizer has no weights; 'tokenizer' says what is fitted")
    datasets = _datasets(job, config)
    origins = [{**origin(d), "manifest_digest": datasets[n].manifest_digest} for n, d in enumerate(job.datasets)]
    facts = {
        "stage": config.stage, "tokenizer": {"kind": config.tokenizer.kind, "size": config.tokenizer.size},
        "models": [], "datasets": sorted(origins, key=lambda one: str(one["manifest_digest"])),
    }  # fmt: skip
    place = job.output / FOLDER
    if not place.exists():
        Voice(None).log(f"{config.stage}: {sum(d.rows for d in datasets):,} entries")
        tokenizer = fitted(config.tokenizer, datasets)
        save_tokenizer(place, tokenizer, {**facts, "figures": measured(tokenizer, texts(datasets))})
    figures = _figures_of(place, facts)
    return {"model": FOLDER, "digest": model_digest(place), "stage": config.stage, **figures}


def _figures_of(place: Path, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Figures of the tokenizer that is there.

    Raises:
        StateError: it is not what these facts say, or cut.
    """
    found = dict(describe(place).facts)
    figures: Mapping[str, Any] = found.pop("figures", {})
    differing = sorted(name for name in {*found, *facts} if found.get(name) != facts.get(name))
    if differing:
        raise StateError(
            f"{place} is of another training: {', '.join(differing)} differ; choose another output, or the same "
            "configuration and data"
        )
    return figures


def _datasets(job: Job, config: Config) -> list[Dataset]:
    kinds = KINDS[config.stage]
    found = [
        open_dataset(d["location"], kinds[0] if len(kinds) == 1 else None, d.get("manifest_digest"),
                     config.data.check_digests)
        for d in job.needed_datasets()
    ]  # fmt: skip
    for place, dataset in enumerate(found):
        if dataset.kind not in kinds or dataset.kind != found[0].kind:
            what = f"{config.stage} reads {' or '.join(kinds)}, all of one kind"
            raise ConfigError(f"/datasets/{place}", f"{dataset.location}: these are {dataset.kind}; {what}")
    return found


def _prepare(module: nn.Module, config: LoopConfig) -> None:
    """Recomputation and compilation, from outside of the model."""
    trunk = module.trunk if isinstance(module, ScalarHead) else module
    save_memory(trunk.blocks, config.recompute)
    if config.compile:
        for block in trunk.blocks:
            block.compile()


def _policy_loop(
    job: Job, config: Config, model: Model, documents: Documents, device: torch.device, identity: dict[str, Any]
) -> PolicyLoop:
    """Actor, reference, critic and reward model around the prompts."""
    reward = open_model(job.needed_model("reward"))
    if not isinstance(reward.module, ScalarHead):
        raise ConfigError("/models", "the model with the role 'reward' is a language model; give a reward model")
    if reward.tokenizer.identity != model.tokenizer.identity:
        raise ConfigError("/models", "'reward' and 'start' have different tokenizers; train both from the same model")
    reference, critic = copy.deepcopy(model.module), copy.deepcopy(reward.module)
    dtype, data, tokenizer = compute_type(config.loop.precision), config.data, model.tokenizer
    for module in (model.module, critic):
        _prepare(module.to(device), config.loop)
    players = Players(
        model.module, reference, critic if config.stage == "ppo" else None,
        RewardModel(reward.module, tokenizer.pad, device, dtype), stops(tokenizer), tokenizer.pad,
    )  # fmt: skip
    shape = {"tokens": data.tokens, "padding": tokenizer.pad, "seed": config.loop.seed}
    out = documents.held_out()
    prompts = Prompts(documents, documents.train(), prompts=config.policy.prompts, **shape)

    def held_out() -> Prompts:
        return Prompts(documents, out, prompts=config.policy.evaluation_prompts, epochs=1, **shape)

    return PolicyLoop(
        config.stage, config.loop, config.policy, players, prompts, held_out if len(out) else None, data.rows,  # type: ignore[arg-type]
        job.output, {**identity, "reward": model_digest(Path(job.needed_model("reward")["location"]))}, device, dtype,
    )  # fmt: skip


def _check(job: Job, config: Config) -> None:
    start, tokenizer = job.model("start"), job.model("tokenizer")
    job.check_roles(ROLES[config.stage])
    for place, model in enumerate(job.models):
        if Path(model["location"]).resolve() == (job.output / FOLDER).resolve():
            raise ConfigError(f"/models/{place}/location", "this training would write its own model there; choose "
                              "another output")  # fmt: skip
    if config.stage in STARTED and start is None:
        raise ConfigError(
            "/models", f"{config.stage} starts from a model that was tuned; give one with the role 'start'"
        )
    if (config.model is None) == (start is None):
        raise ConfigError(
            "/config/model",
            "give 'model' for one that starts from nothing, or a model with the role 'start' to go on from one",
        )
    if tokenizer is not None and start is not None:
        raise ConfigError("/models", "'start' has a tokenizer already; a model with the role 'tokenizer' gives another")
    if tokenizer is not None and "tokenizer" in job.config:
        raise ConfigError("/config/tokenizer", "a model has the role 'tokenizer', so that nothing is fitted; give one")


def _model(job: Job, config: Config, datasets: list[Dataset]) -> Model:
    """The model to train: a fresh one with its tokenizer, or the one to start from."""
    entry = job.model("start")
    if entry is not None:
        start = open_model(entry)
        if config.stage == "reward" and start.kind == "language":
            return Model("reward", start.settings, ScalarHead(start.module, config.loop.seed), start.tokenizer, {})
        if config.stage != "reward" and start.kind == "reward":
            raise ConfigError("/models", f"'start' is a reward model; {config.stage} starts from a language model")
        return start
    assert config.model is not None
    given = job.model("tokenizer")
    tokenizer = open_tokenizer(given) if given is not None else fitted(config.tokenizer, datasets)
    settings = {**config.model, "vocab": tokenizer.size}
    try:
        module: nn.Module = build(settings, config.loop.seed)
    except ConfigError as error:
        raise error.under("/config/model") from None
    if config.stage == "reward":
        return Model("reward", settings, ScalarHead(module, config.loop.seed), tokenizer, {})
    return Model("language", settings, module, tokenizer, {})


def _stage(
    config: Config, model: Model, documents: Documents, device: torch.device
) -> tuple[Objective, Source, Callable[[], Mapping[str, float]]]:
    module = model.module
    dtype, seed = compute_type(config.loop.precision), config.loop.seed
    chunk = getattr((module.trunk if isinstance(module, ScalarHead) else module).config, "chunk", None)
    data, padding = config.data, model.tokenizer.pad
    rows, out = documents.train(), documents.held_out()
    if config.stage in ("pretrain", "sft"):
        shape: dict[str, Any] = {"rows": data.rows, "tokens": data.tokens, "chunk": chunk, "padding": padding}
        source = Packed(documents, documents.mixture(rows, seed, data.weights or None), **shape)
        objective = NextToken(module, device, dtype)

        def held_out() -> Mapping[str, float]:
            if not len(out):
                return {}
            return perplexity(objective, Packed(documents, documents.mixture(out, seed), **shape, epochs=1),
                              data.evaluation_batches)  # fmt: skip

        return objective, source, held_out
    more: dict[str, Any] = {
        "groups": data.rows,
        "tokens": data.tokens,
        "padding": padding,
        "seed": seed,
        "multiple": chunk or 8,
    }
    pairs = Pairs(documents, rows, grouped=config.stage == "reward", **more)
    if config.stage == "dpo":
        return Direct(module, copy.deepcopy(module), config.dpo, device, dtype), pairs, dict
    assert isinstance(module, ScalarHead)
    ranking = Ranking(module, config.reward, device, dtype)

    def calibrated() -> Mapping[str, float]:
        return calibration(ranking.differences(Pairs(documents, out, epochs=1, **more))[0]) if len(out) else {}

    return ranking, pairs, calibrated
