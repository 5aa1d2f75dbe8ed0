"""A model as a folder of Hugging Face.

FOLDER/
  config.json, generation_config.json
  model.safetensors, or several and model.safetensors.index.json
  tokenizer.json, tokenizer_config.json     with the chat template
  *.py                                      where transformers has no class that computes the same
  gristmill.safetensors                     weights that the class has no place for, if any: for the way back
  gristmill.json                            where the model comes from, and what was written
  README.md                                 a model card
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.data.tokenizer import Vocabulary
from trainer.errors import ConfigError, StateError
from trainer.exchange.card import card
from trainer.exchange.code import custom
from trainer.exchange.ernie import ernie, fits
from trainer.exchange.form import RECORD, REWARD, Form
from trainer.exchange.llama import llama
from trainer.exchange.tokenizer import tokenizer_files
from trainer.exchange.write import TYPES, write_weights
from trainer.exchange.written import FACTS, facts_of, sizes
from trainer.infer.prompts import stops
from trainer.model_folder import Model
from trainer.whole import whole_folder

SHARD_BYTES = 5 << 30
CONTEXT = 4096


def export_model(
    model: Model, folder: Path, dtype: torch.dtype = torch.float32, *, context: int = CONTEXT,
    shard_bytes: int = SHARD_BYTES,
) -> Form:  # fmt: skip
    """Write a model; the folder is whole or not there.

    Args:
        model: what to write.
        folder: a new one, or that of an export, which is replaced.
        dtype: of the weights; routers stay in fp32.
        context: what ``max_position_embeddings`` says, for programs that make room by it; nothing here ends there.
        shard_bytes: a file of weights has no more, unless a single weight does.

    Returns:
        What it is over there.

    Raises:
        ConfigError: a type that is none of fp32, bf16, fp16.
        StateError: the folder holds something else, or a weight is too large for the type.
    """
    if dtype not in TYPES:
        raise ConfigError("/dtype", f"{dtype} is none of {', '.join(TYPES.values())}")
    _check_free(folder)
    form = form_of(model.kind, model.settings, model.module)
    with whole_folder(folder) as partial:
        write_weights(partial, form, model.module, dtype, shard_bytes)
        for name, text in {**_described(model, form, dtype, context), **form.code}.items():
            (partial / name).write_text(text, encoding="utf-8")
        facts = {"architecture": form.architecture, "dtype": TYPES[dtype], "facts": dict(model.facts)}
        (partial / FACTS).write_text(_json({**facts, "files": sizes(partial)}))
    return form


def form_of(kind: str, settings: Mapping[str, Any], module: nn.Module) -> Form:
    """What a model is over there: the class that computes the same, or else its own code."""
    config = (module.trunk if kind == REWARD else module).config
    if settings["family"] == "dense":
        return llama(config, kind)
    if settings["family"] == "assistant" and fits(config, kind):
        return ernie(config)
    return custom(settings, module, kind)


def _described(model: Model, form: Form, dtype: torch.dtype, context: int) -> dict[str, str]:
    """Texts that say what the model is and how it is used."""
    numbers = _numbers(model.tokenizer)
    config = {
        "architectures": [form.architecture], "dtype": TYPES[dtype], "max_position_embeddings": context,
        "use_cache": True, **numbers, RECORD: {"kind": model.kind, "settings": dict(model.settings)}, **form.config,
    }  # fmt: skip
    generation = {**numbers, "eos_token_id": sorted(stops(model.tokenizer)), "do_sample": True, "temperature": 1.0}
    plain = {"config.json": _json(config), "generation_config.json": _json(generation)}
    return {**plain, **tokenizer_files(model.tokenizer), "README.md": card(model, form, TYPES[dtype])}


def _numbers(tokenizer: Vocabulary) -> dict[str, int]:
    return {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos, "pad_token_id": tokenizer.pad}


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _check_free(folder: Path) -> None:
    """Refuse to replace anything but an export as it was written: a model may have been trained on in its folder."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and facts_of(folder) is None)):
        raise StateError(f"{folder} is there and is no export as it was written; it is not replaced")
