"""The README of an exported model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.exchange.form import REWARD, Form
from trainer.exchange.tokenizer import library_form, spellings
from trainer.model_folder import Model

USE = """```python
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER"{trust})
model = {auto}.from_pretrained("FOLDER"{trust})
```"""
SPECIAL = """Text that spells a special token (such as {mark}) becomes one unless the tokenizer is called with
`split_special_tokens=True`; encode text that you did not write yourself that way. The chat template refuses contents
that spell one. Documents were read as {bos} text {eos}; the tokenizer adds neither by itself."""
MARKS = {"mark": "<|assistant|>", "bos": "<|bos|>", "eos": "<|eos|>"}
TRUST = """The folder brings its own code (`*.py`), because transformers has no class that computes this model: read it,
then load with `trust_remote_code=True`."""


def card(model: Model, form: Form, dtype: str) -> str:
    """Markdown: what the model is, where it comes from, how it is used."""
    facts, reward = model.facts, model.kind == REWARD
    auto = "AutoModelForSequenceClassification" if reward else "AutoModelForCausalLM"
    module = model.module.trunk if reward else model.module
    words = spellings(model.tokenizer, library_form(model.tokenizer))
    counted = sum(weight.numel() for weight in model.module.parameters())
    rows = {
        "kind": model.kind, "family": model.settings["family"], "class": form.architecture,
        "weights": f"{counted:,} ({module.config.active_parameters():,} work on a token), {dtype}",
        "vocabulary": f"{model.tokenizer.size:,} ({model.tokenizer.kind})",
        "stage": facts.get("stage", "unknown"), "steps": facts.get("steps", "unknown"),
    }  # fmt: skip
    parts = [
        "---\nlibrary_name: transformers\n"
        f"pipeline_tag: {'text-classification' if reward else 'text-generation'}\ntags:\n- gristmill\n---",
        f"# A {model.settings['family']} {'reward' if reward else 'language'} model",
        _table(("", ""), rows.items()),
        "## Where it comes from",
        _origins("Datasets", facts.get("datasets")), _origins("Models", facts.get("models")),
        "## Figures", _table(("figure", "value"), _figures(facts.get("figures"))),
        "## Use", USE.format(auto=auto, trust=", trust_remote_code=True" if form.code else ""),
        *([TRUST] if form.code else []), *(["The score is read at a row's last token."] if reward else []),
        SPECIAL.format(**{part: _safe(words[name]) for part, name in MARKS.items()}),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _origins(title: str, given: Any) -> str:
    if not isinstance(given, list) or not given:
        return f"{title}: none are named."
    lines = [", ".join(f"{name} {value}" for name, value in one.items()) for one in given if isinstance(one, Mapping)]
    return f"{title}:\n\n" + "\n".join(f"- {_safe(line)}" for line in lines)


def _figures(figures: Any) -> list[tuple[str, Any]]:
    return list(figures.items()) if isinstance(figures, Mapping) and figures else [("none", "")]


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {_safe(name)} | {_safe(value)} |" for name, value in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines])


def _safe(value: Any) -> str:
    """Text that stays text in a cell, whatever somebody has called their dataset."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    text = text.encode("utf-8", "replace").decode()
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|!" else " " if c.isspace() else c for c in text)
