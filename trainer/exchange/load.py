"""A folder of Hugging Face as a model of ours.  Nothing in it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, StateError
from trainer.exchange.code import ARCHITECTURES, custom
from trainer.exchange.ernie import ARCHITECTURE as ERNIE
from trainer.exchange.ernie import assistant_settings, ernie_fields
from trainer.exchange.export import form_of
from trainer.exchange.form import RECORD, REWARD, Form, trunk
from trainer.exchange.llama import LANGUAGE_MODELS, REWARD_MODEL, dense_settings, llama_fields
from trainer.exchange.pieces import gather
from trainer.exchange.read import Weights, names_in, read_json, shards
from trainer.exchange.vocabulary import Found, read_tokenizer
from trainer.exchange.write import LEFT
from trainer.exchange.written import facts_of
from trainer.model_folder import Kind, Model
from trainer.models import FAMILIES, configure
from trainer.models.heads import ScalarHead

OWN = tuple(ARCHITECTURES.values())
"""Classes that come as code of ours."""
KNOWN = (*LANGUAGE_MODELS, REWARD_MODEL, ERNIE, *OWN)
REWARDS = (REWARD_MODEL, ARCHITECTURES[REWARD])
FIELDS: dict[str, Callable[[Any], dict[str, Any]]] = {"dense": llama_fields, "assistant": ernie_fields}
TIED = ("lm_head.weight", "model.embed_tokens.weight")


class Imported(NamedTuple):
    """A model that came from elsewhere.

    Attributes:
        model: ours.
        architecture: the class that it was there.
        added: special tokens that it lacked.
    """

    model: Model
    architecture: str
    added: tuple[str, ...]


def import_model(folder: Path) -> Imported:
    """Read a model from elsewhere, or one that was exported; weights become fp32.

    Raises:
        StateError: what is not known here, cut, or not meant well: naming the file, field or weight.
    """
    config = read_json(folder / "config.json")
    architecture = _architecture(config)
    kind: Kind = "reward" if architecture in REWARDS else "language"
    weights = Weights(shards(folder))
    left = Weights({name: folder / LEFT for name in names_in(folder / LEFT)} if (folder / LEFT).is_file() else {})
    settings = _settings(config, architecture, left)
    _check_counts(_configured(settings), len(weights), architecture)
    empty = _empty(settings, kind)
    form = custom(settings, empty, kind) if architecture in OWN else form_of(kind, settings, empty)
    ours = dict(empty.named_parameters())
    _check_names(weights, form, tied=settings.get("tie", False))
    found = gather(form.pieces, weights, ours)
    found |= _left(left, {name: shape for name, shape in ours.items() if name not in found})
    tokenizer = read_tokenizer(folder, len(ours[f"{trunk(kind)}embedding.weight"]), config)
    model = _made(kind, settings, found, tokenizer, _facts(folder, config, tokenizer))
    return Imported(model, architecture, tokenizer.added)


def _architecture(config: Mapping[str, Any]) -> str:
    """The class that a folder is of."""
    given = config.get("architectures")
    name = given[0] if isinstance(given, list) and len(given) == 1 else given
    if name not in KNOWN:
        raise StateError(f"config.json: architectures is {str(given)[:80]!r}; known here are {', '.join(KNOWN)}")
    return str(name)


def _settings(config: Mapping[str, Any], architecture: str, left: Weights) -> dict[str, Any]:
    """What ``trainer.models.build`` makes the model from.

    Fields of the class say what is computed.  The record of an export knows more, such as how much a loss counts; where
    the two differ, somebody has changed the fields.
    """
    record = config.get(RECORD)
    own = record.get("settings") if isinstance(record, Mapping) else None
    own = dict(own) if isinstance(own, Mapping) else {}
    if architecture in OWN:
        return own
    said = assistant_settings(config) if architecture == ERNIE else dense_settings(config, architecture)
    if own.get("family") == said["family"]:
        fields, merged = FIELDS[said["family"]], {**own, **said}
        said = own if fields(_configured(own)) == fields(_configured(merged)) else merged
    if architecture == ERNIE and not left and _configured(said).predicted:
        said = {**said, "prediction": "off"}
    if architecture == REWARD_MODEL and not left:
        said = {**said, "tie": True}  # nobody reads the head
    return said


def _configured(settings: Mapping[str, Any]) -> Any:
    """The checked configuration.

    Raises:
        StateError: there is no such model.
    """
    try:
        return configure(settings)
    except (ConfigError, TypeError, ValueError, OverflowError) as error:
        raise StateError(f"config.json describes no model of ours: {error}") from None


def _check_counts(config: Any, weights: int, architecture: str) -> None:
    """Refuse to begin with more than so many ``weights`` could fill."""
    counts = {"layers": config.layers, "experts": 0 if architecture != ERNIE else config.expert_layers * config.experts}
    for what, count in counts.items():
        if count > weights:
            raise StateError(f"config.json speaks of {count} {what}, and there are only {weights} weights")


def _empty(settings: Mapping[str, Any], kind: Kind) -> nn.Module:
    """The module, without values."""
    config = _configured(settings)
    try:
        with torch.device("meta"):
            module: nn.Module = FAMILIES[settings["family"]][1](config)
            return ScalarHead(module) if kind == REWARD else module
    except RuntimeError as error:
        raise StateError(f"config.json describes a model that is too large: {error}") from None


def _check_names(weights: Weights, form: Form, tied: bool) -> None:
    """Each weight has a place, and those that must have a certain value have it."""
    known = {piece.theirs for piece in form.pieces}
    for name in sorted(set(weights) - known):
        if name in form.constants:
            if not torch.equal(weights[name].reshape(-1), form.constants[name].reshape(-1)):
                raise StateError(f"the weight {name!r} is not {float(form.constants[name].max()):g} everywhere")
        elif tied and name == TIED[0]:
            if TIED[1] in weights and not torch.equal(weights[name], weights[TIED[1]]):
                raise StateError(f"config.json: tie_word_embeddings is true, and {TIED[0]!r} and {TIED[1]!r} differ")
        else:
            raise StateError(f"the weight {name!r} has no place in a model of this configuration")


def _left(weights: Weights, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that only we know."""
    found = {}
    for name, shape in wanted.items():
        if name not in weights:
            raise StateError(f"the weight {name!r} is missing")
        found[name] = weights[name]
        if found[name].shape != shape.shape:
            raise StateError(
                f"{LEFT}: {name!r} has the shape {tuple(found[name].shape)}; {tuple(shape.shape)} is needed"
            )
    return found


def _made(
    kind: Kind, settings: dict[str, Any], found: dict[str, Tensor], tokenizer: Found, facts: dict[str, Any]
) -> Model:  # fmt: skip
    """The model, with a row of the embedding and of the head for every token."""
    own, more = trunk(kind), len(tokenizer.added)
    if more:
        for name in (f"{own}embedding.weight", f"{own}head.weight"):
            if name in found:
                known, behind = found[name][: tokenizer.known], found[name][tokenizer.known + more :]
                found[name] = torch.cat((known, known.mean(0).expand(more, -1), behind))
        settings = {**settings, "vocab": len(found[f"{own}embedding.weight"])}
    module = _empty(settings, kind)
    module.load_state_dict(found, strict=False, assign=True)  # a shared weight has one name of two
    language = module.trunk if kind == REWARD else module
    if language.config.tie:
        language.head.weight = language.embedding.weight
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return Model(kind, settings, module, tokenizer.vocabulary, facts)


def _facts(folder: Path, config: Mapping[str, Any], tokenizer: Found) -> dict[str, Any]:
    """Where it comes from: what an export remembers, or that it was somewhere else.

    A model whose marks of turns are new has only seen text, as far as we can talk to it.
    """
    facts = facts_of(folder)
    if facts is not None:
        return facts
    said = {name: config[name] for name in ("architectures", "max_position_embeddings") if name in config}
    stage = "pretrain" if "<|assistant|>" in tokenizer.added else "imported"
    return {"stage": stage, "imported": {**said, "added_tokens": list(tokenizer.added)}}
