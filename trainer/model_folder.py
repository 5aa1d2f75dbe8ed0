"""A model on disk: weights, what they are the weights of, and the tokenizer they were trained with.

MODEL/
  config.json           family and fields of its configuration; kind: language, reward or tokenizer
  model.safetensors     every weight, by name; a tokenizer that was fitted by itself has none
  tokenizer.json
  gristmill.json        where it comes from: stage, datasets, the model it started from, last figures
  manifest.json         size and digest of each of these; its own digest is that of the model
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
from trainer.whole import whole_folder

Kind = Literal["language", "reward"]
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer"
WEIGHTS = "model.safetensors"
DESCRIBED = ("config.json", "gristmill.json", tokenizers.FILE)
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError)


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


class Description(NamedTuple):
    """What a folder says of itself.

    config: kind, family and fields of its configuration.
    facts: where it comes from.
    files: size and digest of each, by name.
    """

    config: dict[str, Any]
    facts: dict[str, Any]
    files: Mapping[str, Mapping[str, Any]]


def save_model(folder: Path, model: Model) -> str:
    """Write a model; the folder is whole or not there.  Returns the model's digest."""
    config = {"kind": model.kind, "model_type": f"gristmill-{model.settings['family']}", **model.settings}
    return _save(folder, config, model.facts, model.tokenizer, _weights(model.module))


def save_tokenizer(folder: Path, tokenizer: Vocabulary, facts: Mapping[str, Any]) -> str:
    """Write a tokenizer by itself, as a model without weights; returns its digest."""
    return _save(folder, {"kind": TOKENIZER, "vocab": tokenizer.size}, facts, tokenizer)


def _save(
    folder: Path, config: Mapping[str, Any], facts: Mapping[str, Any], tokenizer: Vocabulary,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> str:  # fmt: skip
    with whole_folder(folder) as partial:
        if weights is not None:
            save_file(dict(weights), partial / WEIGHTS, metadata={"format": "pt"})
        (partial / "config.json").write_text(json.dumps(dict(config), indent=1, sort_keys=True) + "\n")
        (partial / "gristmill.json").write_text(json.dumps(dict(facts), indent=1, sort_keys=True) + "\n")
        tokenizer.save(partial)
        files = {file.name: _facts_of(file) for file in sorted(partial.iterdir())}
        (partial / MANIFEST).write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n")
    return model_digest(folder)


def open_model(entry: Mapping[str, Any]) -> Model:
    """Read a model that a job was given.

    Args:
        entry: ``location``, and ``digest`` where it must be a certain one.

    Raises:
        StateError: for what is no model, or one that is not whole, or another one.
    """
    return load_model(_registered(entry))


def open_tokenizer(entry: Mapping[str, Any]) -> Vocabulary:
    """The tokenizer of a model, or one by itself, that a job was given; weights are not looked at.

    Args:
        entry: as for ``open_model``.

    Raises:
        StateError: for what holds none, or one that is not whole, or another one.
    """
    folder = _registered(entry)
    describe(folder)
    return tokenizers.load(folder)


def _registered(entry: Mapping[str, Any]) -> Path:
    folder, wanted = Path(entry["location"]), entry.get("digest")
    if wanted is not None and model_digest(folder) != wanted:
        raise StateError(f"{folder} is not the model that was registered: its manifest has another digest")
    return folder


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
    config, facts, files = describe(folder)
    kind = config.pop("kind", "language")
    if kind == TOKENIZER:
        raise StateError(
            f"{folder} is a tokenizer, no model; give it the role {TOKENIZER!r} in a training that starts from nothing"
        )
    try:
        _check_file(folder, files, WEIGHTS)
        weights = load_file(folder / WEIGHTS)
    except _UNREADABLE as error:
        raise _unreadable(folder, error) from None
    settings = {name: value for name, value in config.items() if name != "model_type"}
    module = build(settings, seed=0)
    if kind == "reward":
        module = ScalarHead(module)
    shared = {name: weights[first] for name, first in _shared(module).items() if first in weights}
    load_weights(module, {**shared, **weights}, str(folder))
    return Model(kind, settings, module, tokenizers.load(folder), facts)


def describe(folder: Path) -> Description:
    """What a folder says of itself, whose files but the weights are what was written.

    Raises:
        StateError: they are not, or there is none.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        for name in DESCRIBED:
            _check_file(folder, files, name)
        config, facts = (json.loads((folder / name).read_text()) for name in ("config.json", "gristmill.json"))
    except _UNREADABLE as error:
        raise _unreadable(folder, error) from None
    return Description(config, facts, files)


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


def _check_file(folder: Path, files: Mapping[str, Mapping[str, Any]], name: str) -> None:
    if name not in files:
        raise StateError(f"{folder / MANIFEST} does not speak of {name}; it is of no model")
    if _facts_of(folder / name) != dict(files[name]):
        raise StateError(f"{folder / name} is not what was written (cut or changed)")


def _unreadable(folder: Path, error: Exception) -> StateError:
    return StateError(f"{folder} holds no model that can be read: {error}")


def _facts_of(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return {"bytes": file.stat().st_size, "digest": f"blake2b:{digest}"}
