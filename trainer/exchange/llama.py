"""The dense family is ``LlamaForCausalLM``; its reward models are ``LlamaForSequenceClassification`` with one label.

Shapes: D width, H heads, K head width, G key heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.exchange.fields import Fields
from trainer.exchange.form import REWARD, Form, scored, trunk
from trainer.exchange.pieces import Piece, half
from trainer.models.dense import DenseConfig

LANGUAGE_MODELS = ("LlamaForCausalLM", "MistralForCausalLM")
REWARD_MODEL = "LlamaForSequenceClassification"
PROJECTIONS = (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out"))


def llama(config: DenseConfig, kind: str) -> Form:
    """The counterpart of a dense model."""
    pieces = ends(config.tie, kind)
    for layer in range(config.layers):
        theirs, ours = f"model.layers.{layer}", f"{trunk(kind)}blocks.{layer}"
        pieces += [
            *norms(theirs, ours),
            *(Piece(f"{theirs}.self_attn.{a}_proj.weight", f"{ours}.attention.{b}.weight") for a, b in PROJECTIONS),
            *swiglu(theirs, ours),
        ]
    return Form(
        REWARD_MODEL if kind == REWARD else LANGUAGE_MODELS[0], {**llama_fields(config), **scored(kind)}, pieces
    )


def llama_fields(config: DenseConfig) -> dict[str, Any]:
    """Fields of ``config.json`` that say what a dense model computes."""
    return {"model_type": "llama", **attention_fields(config), "intermediate_size": config.hidden_width,
            "rms_norm_eps": config.norm_eps, "attention_bias": False, "mlp_bias": False}  # fmt: skip


def attention_fields(config: Any) -> dict[str, Any]:
    """Fields that all counterparts share."""
    return {
        "vocab_size": config.vocab, "hidden_size": config.width, "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads, "num_key_value_heads": config.groups, "head_dim": config.head_width,
        "hidden_act": "silu", "rope_theta": config.rotary_base, "tie_word_embeddings": config.tie,
    }  # fmt: skip


def ends(tie: bool, kind: str) -> list[Piece]:
    """Embedding, last norm, head."""
    found = [Piece("model.embed_tokens.weight", f"{trunk(kind)}embedding.weight"),
             Piece("model.norm.weight", f"{trunk(kind)}norm.weight")]  # fmt: skip
    if kind == REWARD:
        return [*found, Piece("score.weight", "scalar.weight")]
    return found if tie else [*found, Piece("lm_head.weight", "head.weight")]


def norms(theirs: str, ours: str) -> list[Piece]:
    """The norms of a block."""
    return [Piece(f"{theirs}.input_layernorm.weight", f"{ours}.attention_norm.weight"),
            Piece(f"{theirs}.post_attention_layernorm.weight", f"{ours}.feed_norm.weight")]  # fmt: skip


def swiglu(theirs: str, ours: str) -> list[Piece]:
    """A feed-forward."""
    return [
        Piece(f"{theirs}.mlp.gate_proj.weight", f"{ours}.feed.gate_up.weight", half(0)),
        Piece(f"{theirs}.mlp.up_proj.weight", f"{ours}.feed.gate_up.weight", half(1)),
        Piece(f"{theirs}.mlp.down_proj.weight", f"{ours}.feed.down.weight"),
    ]


def dense_settings(config: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """What ``trainer.models.build`` makes such a model from.

    Args:
        config: of a folder with one of the classes above; fields that are not there have the class's defaults.
        architecture: the class.

    Raises:
        StateError: naming the field that a dense model of ours has no place for.
    """
    fields = Fields(config)
    mistral = architecture == "MistralForCausalLM"
    for name in ("attention_bias", "mlp_bias"):
        fields.must_be(name, False, (False, None), "there are no biases here")
    fields.must_be("sliding_window", 4096 if mistral else None, (None,), "every token sees all before it here")
    if architecture == REWARD_MODEL and fields.labels() != 1:
        raise fields.refusal("id2label", "one label is needed: a reward is one number", "two")
    settings = attention_settings(fields, "mistral" if mistral else "llama", 10_000.0)
    groups = fields.optional_whole("num_key_value_heads", 8 if mistral else None)
    return {
        "family": "dense", **settings, "kv_heads": groups or settings["heads"],
        "hidden": fields.whole("intermediate_size"), "norm_eps": fields.number("rms_norm_eps", 1e-6),
        "tie": fields.flag("tie_word_embeddings", False),
    }  # fmt: skip


def attention_settings(fields: Fields, model_type: str, rotary_base: float) -> dict[str, Any]:
    """Settings that all families with this attention share; refuses what it does not do."""
    fields.must_be("model_type", None, (model_type,), f"the class is one of {model_type!r}")
    fields.must_be("auto_map", None, (None,), "what code of its own computes is not known here")
    fields.must_be("hidden_act", "silu", ("silu", "swish"), "feed-forwards are gated by silu here")
    fields.must_be("quantization_config", None, (None,), "weights are bf16, fp16 or fp32 here")
    width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
    fields.must_be("head_dim", None, (None, width // heads), f"heads are hidden_size / num_attention_heads wide here "
                   f"({width // heads})")  # fmt: skip
    return {
        "vocab": fields.whole("vocab_size"), "width": width, "layers": fields.whole("num_hidden_layers"),
        "heads": heads, "rotary_base": fields.rotary_base(rotary_base),
    }  # fmt: skip
