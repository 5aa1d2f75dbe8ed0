"""What tests of the model exchange share: small models of all families, and transformers as the oracle."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, dynamic_module_utils
from transformers.utils import logging

from tests.support.corpus import english
from tests.trainer.lively import lively
from trainer.data.tokenizer import ByteTokenizer, Vocabulary, fit
from trainer.exchange.export import export_model
from trainer.model_folder import Model
from trainer.models import build
from trainer.models.heads import ScalarHead

logging.disable_progress_bar()
_copies = tempfile.TemporaryDirectory(prefix="gristmill-")  # of code that folders bring along
dynamic_module_utils.HF_MODULES_CACHE = _copies.name

BYTES, BPE = ByteTokenizer(), fit([english(n) for n in range(60)], 400)
SMALL = {"width": 16, "heads": 4}
MODELS: dict[str, dict[str, Any]] = {
    "dense": {"family": "dense", "layers": 2, "kv_heads": 2, **SMALL},
    "dense-tied": {"family": "dense", "layers": 2, "kv_heads": 2, "tie": True, "rotary_base": 500.0, **SMALL},
    "assistant": {
        "family": "assistant", "layers": 3, "kv_heads": 2, "experts": 6, "allow_beyond": ["experts"], "tie": True,
        **SMALL,
    },
    "assistant-unbiased": {
        "family": "assistant", "layers": 3, "kv_heads": 2, "experts": 6, "allow_beyond": ["experts"], "bias": 0.0,
        **SMALL,
    },
    "longdoc": {
        "family": "longdoc", "layers": 2, "chunk": 8, "pairs": 4, "levels": 4, "allow_beyond": ["chunk"], **SMALL,
    },
}  # fmt: skip
CLASSES = {
    ("dense", "language"): "LlamaForCausalLM", ("dense", "reward"): "LlamaForSequenceClassification",
    ("dense-tied", "language"): "LlamaForCausalLM", ("dense-tied", "reward"): "LlamaForSequenceClassification",
    ("assistant-unbiased", "language"): "Ernie4_5_MoeForCausalLM",
}  # fmt: skip


def class_of(name: str, kind: str) -> str:
    """The class that a model becomes."""
    own = "GristmillForCausalLM" if kind == "language" else "GristmillForSequenceClassification"
    return CLASSES.get((name, kind), own)


def made(name: str, kind: Any = "language", tokenizer: Vocabulary = BYTES, **more: Any) -> Model:
    """A model whose every weight matters, in fp32."""
    settings = {**MODELS[name], "vocab": tokenizer.size, **more}
    module = lively(build(settings, 1)).float()
    module = lively(ScalarHead(module, 2)).float() if kind == "reward" else module
    return Model(kind, settings, module.eval(), tokenizer, {"stage": "sft", "steps": 3, "figures": {"loss": 1.5}})


def loaded(folder: Path, kind: str = "language", **options: Any) -> nn.Module:
    """The model that transformers makes of a folder; its own code is allowed where it brings some."""
    auto = AutoModelForCausalLM if kind == "language" else AutoModelForSequenceClassification
    return auto.from_pretrained(folder, trust_remote_code=bool(list(folder.glob("*.py"))), **options).eval()


def exported(model: Model, folder: Path, **options: Any) -> Path:
    export_model(model, folder, **options)
    return folder


def tokenizer_of(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=bool(list(folder.glob("*.py"))))


@torch.no_grad()
def answers(model: Model, tokens_BT: Tensor) -> Tensor:
    """Logits of a language model (B, T, V), or scores at the ends of rows (B, 1)."""
    if isinstance(model.module, ScalarHead):
        return model.module(tokens_BT, None, torch.full((len(tokens_BT), 1), tokens_BT.shape[1] - 1))
    return model.module.logits(model.module(tokens_BT).hidden_BTD)


def padded(rows: list[Tensor], padding: int, side: str) -> tuple[Tensor, Tensor]:
    """Rows of one length, and which of their tokens count (B, T)."""
    longest = max(map(len, rows))
    tokens_BT = torch.full((len(rows), longest), padding)
    for tokens_T, row in zip(tokens_BT, rows, strict=True):
        (tokens_T[: len(row)] if side == "right" else tokens_T[-len(row) :]).copy_(row)
    return tokens_BT, (tokens_BT != padding).long()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Bit for bit, under the same names."""
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)
