"""A model on disk: weights, what they are the weights of, and the tokenizer they were trained with.

MODEL/
  config.json           family and fields of its configuration; kind: language or reward
  model.safetensors     every weight, by name
  tokenizer.json
  gristmill.json        where it comes from: stage, datasets, the model it started from, last figures
  manifest.json         size and digest of each of these; its own digest is that of the model
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.data import tokenizer as tokenizers
from trainer.data.tokenizer import Vocabulary
from trainer.errors import StateError
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.train.checkpoint import load_weights

Kind = Literal["language", "reward"]
MANIFEST = "manifest.json"
NAMES = ("config.json", "gristmill.json", "model.safetensors", "tokenizer.json")


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


def save_model(folder: Path, model: Model) -> str:
    """Write a model; the folder is whole or not there.  Returns the model's digest."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(_weights(model.module), partial / "model.safetensors", metadata={"format": "pt"})
    config = {"kind": model.kind, "model_type": f"gristmill-{model.settings['family']}", **model.settings}
    (partial / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    (partial / "gristmill.json").write_text(json.dumps(dict(model.facts), indent=1, sort_keys=True) + "\n")
    model.tokenizer.save(partial)
    files = {file.name: _facts_of(file) for file in sorted(partial.iterdir())}
    (partial / MANIFEST).write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n")
    for file in partial.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return model_digest(folder)


def open_model(entry: Mapping[str, Any]) -> Model:
    """Read a model that a job was given.

    Args:
        entry: ``location``, and ``digest`` where it must be a certain one.

    Raises:
        StateError: for what is no model, or one that is not whole, or another one.
    """
    folder = Path(entry["location"])
    wanted = entry.get("digest")
    if wanted is not None and model_digest(folder) != wanted:
        raise StateError(f"{folder} is not the model that was registered: its manifest has another digest")
    return load_model(folder)


def model_digest(folder: Path) -> str:
    """What identifies a model: the digest of its manifest.

    Raises:
        StateError: there is no manifest.
    """
    try:
        return "blake2b:" + hashlib.blake2b((folder / MANIFEST).read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise StateError(f"{folder} holds no model that can be read: {error}") from None


def load_model(folder: Path) -> Model:
    """Read a model.

    Raises:
        StateError: for what is no model, or one whose files are not what was written.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())["files"]
        _check_files(folder, manifest)
        config = json.loads((folder / "config.json").read_text())
        facts = json.loads((folder / "gristmill.json").read_text())
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise StateError(f"{folder} holds no model that can be read: {error}") from None
    kind = config.pop("kind", "language")
    settings = {name: value for name, value in config.items() if name != "model_type"}
    module = build(settings, seed=0)
    if kind == "reward":
        module = ScalarHead(module)
    shared = {name: weights[first] for name, first in _shared(module).items() if first in weights}
    load_weights(module, {**shared, **weights}, str(folder))
    return Model(kind, settings, module, tokenizers.load(folder / "tokenizer.json"), facts)


def _weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every weight, shared ones under their first name."""
    own, shared = module.state_dict(), _shared(module)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in own.items() if name not in shared}


def _shared(module: nn.Module) -> dict[str, str]:
    """Further names of weights that have one already."""
    first: dict[int, str] = {}
    shared: dict[str, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            shared[name] = first[id(parameter)]
    return shared


def _check_files(folder: Path, manifest: Mapping[str, Mapping[str, Any]]) -> None:
    for name in NAMES:
        if name not in manifest:
            raise StateError(f"{folder / MANIFEST} does not speak of {name}; it is of no model")
        if _facts_of(folder / name) != dict(manifest[name]):
            raise StateError(f"{folder / name} is not what was written (cut or changed)")


def _facts_of(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return {"bytes": file.stat().st_size, "digest": f"blake2b:{digest}"}
