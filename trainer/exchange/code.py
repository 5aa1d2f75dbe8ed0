"""Models that transformers has no class for bring their own: the files that compute them here, and a wrapper.

The folder then needs ``trust_remote_code=True``, torch and transformers, and nothing of ours.  Only the wrapper (in
``remote/``, text that this package never imports) knows transformers.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import nn

from trainer.exchange.form import REWARD, Form, scored, trunk
from trainer.exchange.pieces import Piece
from trainer.models import FAMILIES

CONFIGURATION, MODELING = "configuration_gristmill", "modeling_gristmill"
ARCHITECTURES = {"language": "GristmillForCausalLM", "reward": "GristmillForSequenceClassification"}
AUTO = {"language": "AutoModelForCausalLM", "reward": "AutoModelForSequenceClassification"}
OWN = re.compile(r"^from trainer\.(?:models\.)?(\w+) import (.+)$", re.MULTILINE)
WHOLE = re.compile(r"^from trainer\.models import (\w+)$", re.MULTILINE)


def custom(settings: Mapping[str, Any], module: nn.Module, kind: str) -> Form:
    """The form of any model, with the code that computes it."""
    language = module.trunk if kind == REWARD else module
    config = language.config
    code = sources(settings["family"])
    architecture = ARCHITECTURES[kind]
    fields = {
        "model_type": "gristmill", "vocab_size": config.vocab, "hidden_size": config.width,
        "num_hidden_layers": config.layers, "num_attention_heads": config.heads, "tie_word_embeddings": config.tie,
        "auto_map": {"AutoConfig": f"{CONFIGURATION}.GristmillConfig", AUTO[kind]: f"{MODELING}.{architecture}"},
        **scored(kind),
    }  # fmt: skip
    return Form(architecture, fields, custom_pieces(module, kind), code=code, wide=("router.",))


def custom_pieces(module: nn.Module, kind: str) -> list[Piece]:
    """Every weight under its own name, within the wrapper."""
    own, first = trunk(kind), {id(p) for _, p in module.named_parameters()}
    found = []
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if id(parameter) in first:
            first.remove(id(parameter))
            inside = name.removeprefix(own)
            found.append(Piece("score.weight" if name == "scalar.weight" else f"model.{inside}", name))
    return found


def sources(family: str) -> dict[str, str]:
    """Files of code for a family: its module, all that this needs, and the wrapper."""
    config, module = FAMILIES[family]
    name = Path(inspect.getfile(module)).stem
    needed = _needed(name)
    found = {f"gristmill_{each}.py": _moved(_text(each)) for each in needed}
    remote = files("trainer.exchange") / "remote"
    wrapper = (remote / f"{MODELING}.py.txt").read_text(encoding="utf-8")
    named = f"from .gristmill_{name} import {module.__name__} as MODULE\n"
    named += f"from .gristmill_{name} import {config.__name__} as CONFIG\n"
    found[f"{MODELING}.py"] = wrapper.replace("from .gristmill_FAMILY import CONFIG, MODULE\n", named)
    digest = hashlib.blake2b("\0".join(found[file] for file in sorted(found)).encode(), digest_size=16).hexdigest()
    configuration = (remote / f"{CONFIGURATION}.py.txt").read_text(encoding="utf-8")
    return {**found, f"{CONFIGURATION}.py": configuration.replace("DIGEST", digest)}


def _needed(name: str) -> list[str]:
    """A module of ``trainer.models`` and all of ours that it imports, by name."""
    found, open_ends = {name}, [name]
    while open_ends:
        text = _text(open_ends.pop())
        imported = {one for one, _ in OWN.findall(text) if one != "models"} | set(WHOLE.findall(text))
        open_ends += sorted(imported - found)
        found |= imported
    return sorted(found)


def _text(name: str) -> str:
    inside = files("trainer.models") / f"{name}.py"
    return (inside if inside.is_file() else files("trainer") / f"{name}.py").read_text(encoding="utf-8")


def _moved(text: str) -> str:
    """A source file whose imports are of files beside it.

    transformers copies the files that it finds named behind ``from .``, so a module that is imported as a whole is
    named once more.
    """
    text = WHOLE.sub(r"from . import gristmill_\1 as \1\nfrom .gristmill_\1 import __name__ as _", text)
    return OWN.sub(r"from .gristmill_\1 import \2", text)
