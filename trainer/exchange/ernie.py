"""An assistant without routing biases is ``Ernie4_5_MoeForCausalLM``: softmax over all experts, the best few
renormalised, no shared experts, dense feed-forwards in the first blocks.

Its rotations pair neighbours, so rows of queries and keys are in another order.  Its bias, added to the softmax instead
of the logits, chooses otherwise than ours: a model that has biases is exported as code (``trainer.exchange.code``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from trainer.exchange.fields import Fields
from trainer.exchange.form import LANGUAGE, Form
from trainer.exchange.llama import PROJECTIONS, attention_fields, attention_settings, ends, norms, swiglu
from trainer.exchange.pieces import Piece, expert, interleaved
from trainer.models.assistant import AssistantConfig

ARCHITECTURE = "Ernie4_5_MoeForCausalLM"
EPS, LEAST = 1e-6, 1e-12


def fits(config: AssistantConfig, kind: str) -> bool:
    """Whether this class computes the same."""
    return config.bias == 0 and kind == LANGUAGE


def ernie(config: AssistantConfig) -> Form:
    """The counterpart of an assistant."""
    pieces, constants = ends(config.tie, LANGUAGE), {}
    for layer in range(config.layers):
        theirs, ours = f"model.layers.{layer}", f"blocks.{layer}"
        pieces += norms(theirs, ours)
        for a, b in PROJECTIONS:
            more = (interleaved(config.head_width),) if a in "qk" else ()
            pieces.append(Piece(f"{theirs}.self_attn.{a}_proj.weight", f"{ours}.attention.{b}.weight", *more))
        if layer < config.dense_layers:
            pieces += swiglu(theirs, ours)
        else:
            pieces += _experts(theirs, ours, config.experts)
            constants[f"{theirs}.mlp.moe_statics.e_score_correction_bias"] = torch.zeros(1, config.experts)
    return Form(ARCHITECTURE, ernie_fields(config), pieces, constants, wide=("mlp.gate.", "mlp.moe_statics."))


def ernie_fields(config: AssistantConfig) -> dict[str, Any]:
    """Fields of ``config.json`` that say what such an assistant computes."""
    return {
        "model_type": "ernie4_5_moe", **attention_fields(config), "intermediate_size": config.dense_width,
        "moe_intermediate_size": config.expert_width, "moe_num_experts": config.experts, "moe_k": config.active,
        "moe_num_shared_experts": 0, "moe_layer_start_index": config.dense_layers,
        "moe_layer_end_index": config.layers - 1, "moe_layer_interval": 1, "moe_norm_min": LEAST,
        "rms_norm_eps": EPS, "use_bias": False,
    }  # fmt: skip


def _experts(theirs: str, ours: str, experts: int) -> list[Piece]:
    found = [Piece(f"{theirs}.mlp.gate.weight", f"{ours}.feed.router.gate.weight")]
    for number in range(experts):
        theirs_of, ours_of = f"{theirs}.mlp.experts.{number}", f"{ours}.feed.experts"
        found += [
            Piece(f"{theirs_of}.gate_proj.weight", f"{ours_of}.gate_up_EDF", expert(number, 0)),
            Piece(f"{theirs_of}.up_proj.weight", f"{ours_of}.gate_up_EDF", expert(number, 1)),
            Piece(f"{theirs_of}.down_proj.weight", f"{ours_of}.down_EFD", expert(number)),
        ]
    return found


def assistant_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What ``trainer.models.build`` makes such a model from.

    Raises:
        StateError: naming the field that an assistant has no place for.
    """
    fields = Fields(config)
    fields.must_be("use_bias", False, (False, None), "there are no biases here")
    fields.must_be("moe_num_shared_experts", 2, (0,), "there are no shared experts here")
    fields.must_be("moe_layer_interval", 1, (1,), "experts are in every block behind the first ones here")
    fields.must_be("rms_norm_eps", 1e-5, (EPS,), "norms of this family add 1e-06")
    fields.must_be("moe_norm_min", LEAST, (LEAST,), f"shares of experts are divided by {LEAST:g} at least here")
    settings = attention_settings(fields, "ernie4_5_moe", 500_000.0)
    last = settings["layers"] - 1
    fields.must_be("moe_layer_end_index", -1, (-1, last), "experts are in every block behind the first ones here")
    return {
        "family": "assistant", **settings, "kv_heads": fields.optional_whole("num_key_value_heads", 4),
        "dense_hidden": fields.whole("intermediate_size"), "expert_hidden": fields.whole("moe_intermediate_size"),
        "experts": fields.whole("moe_num_experts"), "active": fields.whole("moe_k"),
        "dense_layers": fields.count("moe_layer_start_index", 1), "tie": fields.flag("tie_word_embeddings", True),
        "bias": 0.0, "allow_beyond": ["experts", "active"],
    }  # fmt: skip
