"""A model on disk: weights, what they are the weights of, and the tokenizer they were trained with.

MODEL/
  config.json           family and fields of its configuration; kind: language or reward
  model.safetensors     every weight, by name
  tokenizer.json
  gristmill.json        where it comes from: stage, datasets, the model it started from, last figures
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.data import tokenizer as tokenizers
from trainer.data.tokenizer import Vocabulary
from trainer.errors import StateError
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.train.checkpoint import load_weights

Kind = Literal["language", "reward"]


@dataclass(frozen=True)
class Model:
    """A model as it is used.

    Attributes:
        kind: ``reward`` has a scalar head around its trunk.
        settings: what ``build`` makes it from.
        module: with its weights.
        tokenizer: it was trained with.
        facts: where it comes from.
    """

    kind: Kind
    settings: Mapping[str, Any]
    module: nn.Module
    tokenizer: Vocabulary
    facts: Mapping[str, Any]


def save_model(folder: Path, model: Model) -> None:
    """Write a model; the folder is whole or not there."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.module.state_dict().items()}
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    config = {"kind": model.kind, "model_type": f"gristmill-{model.settings['family']}", **model.settings}
    (partial / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (partial / "gristmill.json").write_text(json.dumps(dict(model.facts), indent=1, sort_keys=True) + "\n")
    model.tokenizer.save(partial)
    for file in partial.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def load_model(folder: Path) -> Model:
    """Read a model.

    Raises:
        StateError: for what is no model, or one whose weights are not whole.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        facts = json.loads((folder / "gristmill.json").read_text())
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise StateError(f"{folder} holds no model that can be read: {error}") from None
    kind = config.pop("kind", "language")
    settings = {name: value for name, value in config.items() if name != "model_type"}
    module = build(settings, seed=0)
    if kind == "reward":
        module = ScalarHead(module)
    load_weights(module, weights, str(folder))
    return Model(kind, settings, module, tokenizers.load(folder / "tokenizer.json"), facts)
