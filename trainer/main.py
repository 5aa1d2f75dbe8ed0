"""``gristmill-trainer --job FILE``: one job, whoever started it."""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.config import digest
from trainer.data.batches import Packed
from trainer.data.dataset import Dataset, open_dataset
from trainer.data.documents import Documents
from trainer.data.encode import encoded
from trainer.data.pairs import Pairs
from trainer.data.tokenizer import ByteTokenizer, Vocabulary, fit
from trainer.errors import ConfigError, TrainerError
from trainer.job import KINDS, Job, read_job
from trainer.model_folder import Model, load_model, save_model
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.stages.direct import Direct
from trainer.stages.language import NextToken, perplexity
from trainer.stages.reward import Ranking, calibration
from trainer.train.device import be_deterministic, compute_type, pick_device, save_memory
from trainer.train.loop import Loop, Objective, Source, Stopped

REFUSED, STOPPED = 2, 75  # exit codes; docs/trainings.md


def main(arguments: list[str] | None = None) -> int:
    """Do a job; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gristmill-trainer", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="JSON: datasets, config, output")
    given = parser.parse_args(arguments)
    try:
        return run(read_job(_read(given.job)))
    except Stopped:
        return STOPPED
    except TrainerError as error:
        print(f"gristmill-trainer: {error}", file=sys.stderr)
        return REFUSED


def _read(path: Path) -> Mapping[str, Any]:
    try:
        plain = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError("", f"{path} is no job that can be read: {error}") from None
    if not isinstance(plain, Mapping):
        raise ConfigError("", f"{path}: a job is an object with datasets, config and output")
    return plain


def run(job: Job) -> int:
    """Train, and write the model."""
    config = job.config
    be_deterministic(config.loop.deterministic)
    torch.manual_seed(config.loop.seed)
    kind = KINDS[config.stage]
    datasets = [
        open_dataset(d["location"], kind, d.get("manifest_digest"), config.data.check_digests) for d in job.datasets
    ]
    model = _model(job, datasets)
    documents = Documents([encoded(d, model.tokenizer, job.output / "tokens") for d in datasets], config.data.held_out)
    device = pick_device(config.loop.device)
    module = model.module.to(device)
    trunk = module.trunk if isinstance(module, ScalarHead) else module
    save_memory(trunk.blocks, config.loop.recompute)
    if config.loop.compile:
        for block in trunk.blocks:
            block.compile()
    objective, source, evaluate = _stage(job, model, documents, device)
    identity = {
        "config": digest(config),
        "datasets": [d.manifest_digest for d in datasets],
        "tokenizer": model.tokenizer.identity,
    }
    loop = Loop(config.loop, {"model": module}, objective, source, job.output, identity, device, evaluate, config.stage)
    loop.voice.log(
        f"{config.stage}: {len(documents.train()):,} entries, {len(documents.held_out()):,} held out, {device}"
    )
    figures = loop.run()
    given = [{name: dataset.get(name) for name in ("name", "version", "manifest_digest")} for dataset in job.datasets]
    facts = {
        "stage": config.stage, "steps": loop.step, "figures": figures, "start": config.start, "datasets": given
    }  # fmt: skip
    save_model(job.output / "final", Model(model.kind, model.settings, module, model.tokenizer, facts))
    loop.voice.say("result", model="final", stage=config.stage, steps=loop.step, **figures)
    return 0


def _model(job: Job, datasets: list[Dataset]) -> Model:
    """The model to train: a fresh one with its tokenizer, or the one to start from."""
    config = job.config
    if config.start is not None:
        start = load_model(Path(config.start))
        if config.stage == "reward" and start.kind == "language":
            return Model("reward", start.settings, ScalarHead(start.module, config.loop.seed), start.tokenizer, {})
        if config.stage != "reward" and start.kind == "reward":
            raise ConfigError(
                "/config/start", f"{config.start} is a reward model; {config.stage} starts from a language model"
            )
        return start
    assert config.model is not None
    tokenizer = _tokenizer(job, datasets)
    settings = {**config.model, "vocab": tokenizer.size}
    try:
        module: nn.Module = build(settings, config.loop.seed)
    except ConfigError as error:
        raise error.under("/config/model") from None
    if config.stage == "reward":
        return Model("reward", settings, ScalarHead(module, config.loop.seed), tokenizer, {})
    return Model("language", settings, module, tokenizer, {})


def _tokenizer(job: Job, datasets: list[Dataset]) -> Vocabulary:
    if job.config.tokenizer.kind == "bytes":
        return ByteTokenizer()
    return fit((text for dataset in datasets for text in dataset.texts()), job.config.tokenizer.size)


def _stage(
    job: Job, model: Model, documents: Documents, device: torch.device
) -> tuple[Objective, Source, Callable[[], Mapping[str, float]]]:
    config, module = job.config, model.module
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


if __name__ == "__main__":
    sys.exit(main())
