"""What tests of tasks that ask models share: models in folders, jobs, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.data.tokenizer import ByteTokenizer
from trainer.job import read_job
from trainer.main import run
from trainer.model_folder import Model, save_model
from trainer.models import build
from trainer.models.heads import ScalarHead

BYTES = ByteTokenizer()
TINY = {"family": "dense", "width": 16, "layers": 1, "heads": 2, "vocab": BYTES.size}


def saved(folder: Path, stage: str = "sft", seed: int = 0, *, scale: float = 4.0, reward: bool = False) -> Path:
    """A model with random weights; its head is scaled, so that it has opinions (0: none)."""
    module = build(TINY, seed)
    module.head.weight.data *= scale
    kind, module = ("reward", ScalarHead(module, seed)) if reward else ("language", module)
    save_model(folder, Model(kind, TINY, module, BYTES, {"stage": stage}))
    return folder


def asked(
    task: str, output: Path, models: Mapping[str, Path], datasets: tuple[Path, ...] = (), **config: Any
) -> dict[str, Any]:
    """The result of a job."""
    job = {
        "task": task, "output": str(output), "config": config,
        "models": [{"role": role, "location": str(folder)} for role, folder in models.items()],
        "datasets": [{"name": "d", "version": 1, "location": str(folder)} for folder in datasets],
    }  # fmt: skip
    result = run(read_job(job))
    assert json.loads((output / "result.json").read_text()) == result
    return dict(result)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
