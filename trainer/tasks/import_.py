"""A folder of Hugging Face as a model, written to ``final`` (``trainer.exchange``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import StateError
from trainer.exchange.load import import_model
from trainer.job import Job
from trainer.model_folder import MANIFEST, save_model
from trainer.ranges import Checked

FOLDER = "final"


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """There is nothing to choose: the folder says what it is."""


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Read it, and write the model."""
    job.check_roles(("model",))
    place = job.output / FOLDER
    if place.exists() and not (place / MANIFEST).is_file():
        raise StateError(f"{place} is there and is no model of ours; it is not replaced")
    model, architecture, added = import_model(Path(job.needed_model("model")["location"]))
    return {
        "model": FOLDER, "digest": save_model(place, model), "family": model.settings["family"], "kind": model.kind,
        "parameters": sum(weight.numel() for weight in model.module.parameters()), "architecture": architecture,
        "added_tokens": list(added),
    }  # fmt: skip
