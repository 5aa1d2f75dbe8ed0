"""Models of transformers become ours and compute the same; what is not known, cut or meant to harm is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    Ernie4_5_MoeConfig,
    Ernie4_5_MoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
)

from tests.trainer.asking import asked
from tests.trainer.exchanged import BPE, answers, exported, loaded, made, same_weights, tokenizer_of
from tests.trainer.lively import tokens_of
from tests.trainer.test_exchange_tokenizer import folder_of, foreign
from trainer.data import chat
from trainer.errors import StateError
from trainer.exchange.load import Imported, import_model
from trainer.exchange.read import INDEX
from trainer.model_folder import load_model, save_model

SIZE = 322
SEEDS = 25
SMALL: dict[str, Any] = {
    "vocab_size": SIZE, "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 320, "eos_token_id": 321,
    "pad_token_id": None,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 8, "moe_k": 2, "moe_num_experts": 5, "moe_num_shared_experts": 0, "rms_norm_eps": 1e-6,
    "num_hidden_layers": 3,
}  # fmt: skip
FROM: dict[str, Callable[[], nn.Module]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, rms_norm_eps=1e-5)),
    "llama-tied": lambda: LlamaForCausalLM(
        LlamaConfig(**SMALL, rms_norm_eps=0.1, tie_word_embeddings=True,
                    rope_parameters={"rope_type": "default", "rope_theta": 777.0})),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, rms_norm_eps=1e-5, sliding_window=None)),
    "ernie": lambda: Ernie4_5_MoeForCausalLM(Ernie4_5_MoeConfig(**{**SMALL, **EXPERTS})),
    "reward": lambda: LlamaForSequenceClassification(LlamaConfig(**SMALL, num_labels=1)),
}  # fmt: skip


def theirs_in(folder: Path, name: str = "llama", **options: Any) -> nn.Module:
    """A model of transformers with a tokenizer of its own, saved by it."""
    torch.manual_seed(0)
    model = FROM[name]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if float(weight.abs().max()) > 0:  # not the biases of Ernie, which ours has not
                weight.copy_(torch.randn(weight.shape) * weight.shape[-1] ** -0.5 + (weight.dim() == 1))
    model.save_pretrained(folder, **options)
    folder_of(foreign(), folder, bos_token="<s>", eos_token="</s>")
    return model


def edited(file: Path, **fields: Any) -> None:
    """Fields of a JSON file with other values; ``...`` takes one away."""
    plain = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({name: value for name, value in plain.items() if value is not ...}))


# --- what becomes ours


@pytest.mark.parametrize("name", FROM)
def test_models_of_others_compute_the_same(tmp_path: Path, name: str) -> None:
    theirs = theirs_in(tmp_path, name)
    ours, architecture, added = import_model(tmp_path)
    assert architecture == type(theirs).__name__
    assert added == ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>")
    tokens_BT = tokens_of(2, 23, SIZE)
    with torch.no_grad():
        wanted = torch.cat([theirs(tokens_T[None]).logits for tokens_T in tokens_BT])
    got = answers(ours, tokens_BT)
    assert float((got[..., : wanted.shape[-1]] - wanted).abs().max()) < 5e-6
    assert ours.facts["stage"] == "pretrain" and ours.facts["imported"]["architectures"] == [architecture]
    save_model(tmp_path / "model", ours)
    assert same_weights(load_model(tmp_path / "model").module, ours.module)
    back = import_model(exported(ours, tmp_path / "out")).model
    assert same_weights(back.module, ours.module) and back.settings == ours.settings
    assert back.tokenizer.identity == ours.tokenizer.identity


def test_tokens_of_others_stay_and_ours_get_rows_of_their_own(tmp_path: Path) -> None:
    theirs, (ours, _, added) = theirs_in(tmp_path), import_model(tmp_path)
    tokenizer, embedding = tokenizer_of(tmp_path), theirs.model.embed_tokens.weight
    for text in ("The miller grinds, 1234 times.\n\n  Don't 磨坊!", "<|user|> is not <|end|>", " "):
        tokens = ours.tokenizer.encode(text).tolist()
        assert tokens == tokenizer(text, add_special_tokens=False)["input_ids"] and max(tokens) < SIZE
    assert ours.module.config.vocab == SIZE + len(added) == ours.tokenizer.size
    assert torch.equal(ours.module.embedding.weight[:SIZE], embedding)
    for rows, known in ((ours.module.embedding.weight, embedding), (ours.module.head.weight, theirs.lm_head.weight)):
        assert all(torch.equal(row, known.mean(0)) for row in rows[SIZE:])


def test_rows_that_nobody_used_are_taken_first(tmp_path: Path) -> None:
    """Embeddings are often longer than the vocabulary, by what makes a round number."""
    theirs = theirs_in(tmp_path)
    theirs.resize_token_embeddings(SIZE + 14, mean_resizing=False)
    theirs.save_pretrained(tmp_path)
    ours, _, added = import_model(tmp_path)
    assert ours.module.config.vocab == SIZE + 14 and ours.tokenizer.size == SIZE + len(added)
    assert torch.equal(ours.module.embedding.weight[SIZE], theirs.model.embed_tokens.weight[:SIZE].mean(0))
    assert torch.equal(ours.module.head.weight[SIZE + 6 :], theirs.lm_head.weight[SIZE + 6 :])
    assert same_weights(import_model(exported(ours, tmp_path / "out")).model.module, ours.module)


def test_an_imported_model_talks_over_there_as_it_does_here(tmp_path: Path) -> None:
    theirs_in(tmp_path)
    ours = import_model(tmp_path).model
    folder = exported(ours, tmp_path / "out")
    messages = [{"role": "user", "content": "Tea?"}]
    given = tokenizer_of(folder).apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert given["input_ids"][0].tolist() == chat.prompt(messages, ours.tokenizer).tolist()
    with torch.no_grad():
        got = loaded(folder)(**given).logits
    assert float((got - answers(ours, given["input_ids"])).abs().max()) < 5e-6
    assert (
        "split_special_tokens" in (folder / "README.md").read_text() and r"\<s\>" in (folder / "README.md").read_text()
    )


@pytest.mark.parametrize("name", ["llama", "ernie"])
def test_several_files_and_fewer_bits(tmp_path: Path, name: str) -> None:
    theirs = theirs_in(tmp_path / "one", name).to(torch.bfloat16)
    theirs.save_pretrained(tmp_path / "two", max_shard_size="20KB")
    folder_of(foreign(), tmp_path / "two", bos_token="<s>", eos_token="</s>")
    assert len(list((tmp_path / "two").glob("model-*.safetensors"))) > 1
    (tmp_path / "two" / "pytorch_model.bin").write_bytes(b"no matter")
    theirs.float().save_pretrained(tmp_path / "one")
    one, two = (import_model(tmp_path / folder).model for folder in ("one", "two"))
    assert same_weights(one.module, two.module)
    assert all(weight.dtype == torch.float32 for weight in two.module.parameters())


def test_older_folders(tmp_path: Path) -> None:
    """A base beside the other fields, buffers among the weights, a head that is written twice."""
    theirs = theirs_in(tmp_path, "llama-tied")
    edited(tmp_path / "config.json", rope_parameters=..., rope_theta=777.0, rope_scaling=None, torch_dtype="float32")
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(weights, tmp_path / "model.safetensors")
    tokens_BT = tokens_of(1, 9, SIZE)
    with torch.no_grad():
        wanted = theirs(tokens_BT).logits
    assert float((answers(import_model(tmp_path).model, tokens_BT)[..., :SIZE] - wanted).abs().max()) < 5e-6
    weights["lm_head.weight"][0] += 1
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(StateError, match="tie_word_embeddings is true"):
        import_model(tmp_path)


# --- what is refused


def refuses(folder: Path, why: str) -> None:
    """It says what and where, and writes nothing."""
    with pytest.raises(StateError, match=why):
        asked("import", folder.parent / "to", {"model": folder})
    assert not (folder.parent / "to").exists()


def weights_of(folder: Path, **changes: Any) -> None:
    """Weights with other values; ``...`` takes one away."""
    weights = {**load_file(folder / "model.safetensors"), **changes}
    save_file({name: value for name, value in weights.items() if value is not ...}, folder / "model.safetensors")


UP, DOWN = "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.down_proj.weight"
FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "another class": ({"architectures": ["GPT2LMHeadModel"]}, "architectures is .*GPT2LMHeadModel"),
    "no class": ({"architectures": ...}, "architectures is 'None'"),
    "two classes": ({"architectures": ["LlamaForCausalLM", "LlamaModel"]}, "architectures is"),
    "no text for a class": ({"architectures": [["LlamaForCausalLM"]]}, "architectures is"),
    "a class of another type": ({"model_type": "gemma"}, "model_type is 'gemma'"),
    "code of its own": ({"auto_map": {"AutoModelForCausalLM": "m.M"}}, "auto_map is"),
    "scaled positions": ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}},
                         "rope_parameters is .*only plain"),
    "scaled positions, as older folders say it": ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling"),
    "half of a head": ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary"),
    "half of a head, beside": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    "two bases": ({"rope_theta": 5.0}, "rope_theta is 5.0; rope_parameters says another base: 10000"),
    "no base": ({"rope_parameters": {"rope_theta": 0}}, "rope_theta is 0; a positive number"),
    "positions of no object": ({"rope_parameters": 3}, "rope_parameters is 3; an object"),
    "biases": ({"attention_bias": True}, "attention_bias is True; there are no biases"),
    "biases of feed-forwards": ({"mlp_bias": True}, "mlp_bias is True"),
    "a window": ({"sliding_window": 16}, "sliding_window is 16"),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "wide heads": ({"head_dim": 8}, "head_dim is 8; .*wide here"),
    "quantized": ({"quantization_config": {"bits": 4}}, "quantization_config"),
    "odd heads": ({"num_attention_heads": 3, "head_dim": None}, "describes no model of ours: /heads"),
    "no divisor": ({"num_key_value_heads": 3}, "describes no model of ours: /kv_heads"),
    "no width": ({"hidden_size": ...}, "hidden_size is not there"),
    "a width in words": ({"hidden_size": "16"}, "hidden_size is '16'; a positive whole number"),
    "a negative width": ({"intermediate_size": -1}, "intermediate_size is -1"),
    "a very large width": ({"intermediate_size": 10**400}, "intermediate_size is 1000"),
    "layers that are true": ({"num_hidden_layers": True}, "num_hidden_layers is True"),
    "layers without end": ({"num_hidden_layers": 2_000_000_000}, "2000000000 layers, and there are only 21 weights"),
    "too much": ({"hidden_size": 2**30, "intermediate_size": 2**31 - 1, "head_dim": None}, "too large"),
    "much": ({"hidden_size": 2**20, "head_dim": None}, "the weight 'model.embed_tokens.weight' has the shape"),
    "a layer more": ({"num_hidden_layers": 3}, r"the weight 'model\.layers\.2\.\S+' is missing"),
    "a layer less": ({"num_hidden_layers": 1}, r"the weight 'model\.layers\.1\.\S+' has no place"),
    "more words": ({"vocab_size": SIZE + 1}, "'model.embed_tokens.weight' has the shape"),
    "no number to add": ({"rms_norm_eps": 0}, "rms_norm_eps is 0; a positive number"),
    "an infinite one": ({"rms_norm_eps": float("inf")}, "rms_norm_eps is inf"),
    "one beyond all": ({"rms_norm_eps": 10**400}, "rms_norm_eps is 1000"),
    "tied": ({"tie_word_embeddings": True}, "tie_word_embeddings is true"),
    "tied perhaps": ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'; true or false"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_fields_that_are_refused(tmp_path: Path, name: str) -> None:
    changes, why = FIELDS[name]
    theirs_in(tmp_path / "from")
    edited(tmp_path / "from" / "config.json", **changes)
    refuses(tmp_path / "from", f"config.json.*{why}" if "the weight" not in why and "'model" not in why else why)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [("mistral", {"sliding_window": ...}, "sliding_window is not there, which means 4096"),
     ("ernie", {"moe_num_shared_experts": 2}, "moe_num_shared_experts is 2"),
     ("ernie", {"moe_num_shared_experts": ...}, "which means 2"),
     ("ernie", {"use_bias": True}, "use_bias is True"),
     ("ernie", {"rms_norm_eps": 1e-5}, "rms_norm_eps is 1e-05"),
     ("ernie", {"moe_layer_interval": 2}, "moe_layer_interval is 2"),
     ("ernie", {"moe_layer_end_index": 1}, "moe_layer_end_index is 1"),
     ("ernie", {"moe_norm_min": 0.5}, "moe_norm_min is 0.5"),
     ("ernie", {"moe_k": 9}, "/active"),
     ("ernie", {"moe_num_experts": 2_000_000_000}, "4000000000 experts, and there are only"),
     ("ernie", {"moe_layer_start_index": False}, "moe_layer_start_index is False"),
     ("reward", {"id2label": {"0": "bad", "1": "good"}}, "id2label is .*one label is needed"),
     ("reward", {"id2label": ...}, "id2label is not there, .*one label is needed"),
     ("reward", {"id2label": 1}, "id2label is 1; an object")],
)  # fmt: skip
def test_fields_of_other_classes_that_are_refused(tmp_path: Path, name: str, changes: dict[str, Any], why: str) -> None:
    theirs_in(tmp_path / "from", name)
    edited(tmp_path / "from" / "config.json", **changes)
    refuses(tmp_path / "from", why)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({UP: ...}, f"the weight '{UP}' is missing"), ({UP: torch.zeros(40, 15)}, rf"'{UP}' has the shape \(40, 15\)"),
     ({UP: torch.zeros(640)}, rf"'{UP}' has the shape \(640,\)"),
     ({UP: torch.zeros(())}, rf"'{UP}' has the shape \(\)"),
     ({"model.layers.0.self_attn.q_proj.bias": torch.zeros(16)}, "q_proj.bias' has no place"),
     ({DOWN: torch.full((16, 40), float("nan"))}, f"'{DOWN}' holds numbers that are none"),
     ({DOWN: torch.full((16, 40), float("inf"))}, f"'{DOWN}' holds numbers that are none"),
     ({DOWN: torch.zeros(16, 40, dtype=torch.int8)}, f"'{DOWN}' is stored as I8"),
     ({DOWN: torch.zeros(16, 40).to(torch.float8_e4m3fn)}, f"'{DOWN}' is stored as F8_E4M3")],
)  # fmt: skip
def test_weights_that_are_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    theirs_in(tmp_path / "from")
    weights_of(tmp_path / "from", **changes)
    refuses(tmp_path / "from", why)


def test_a_bias_that_ours_has_not(tmp_path: Path) -> None:
    theirs_in(tmp_path / "from", "ernie")
    name = "model.layers.2.mlp.moe_statics.e_score_correction_bias"
    weights_of(tmp_path / "from", **{name: torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.0]])})
    refuses(tmp_path / "from", f"the weight '{name}' is not 0 everywhere")


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_weights_that_are_cut(tmp_path: Path, cut: int) -> None:
    theirs_in(tmp_path / "from")
    file = tmp_path / "from" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    refuses(tmp_path / "from", "model.safetensors holds no weights that can be read")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\x00\xff", '{"a": 1' + "0" * 5000 + "}"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
def test_files_that_are_no_json(tmp_path: Path, name: str, text: str) -> None:
    theirs_in(tmp_path / "from")
    (tmp_path / "from" / name).write_bytes(text.encode("latin-1"))
    refuses(tmp_path / "from", f"{re.escape(name)} (cannot be read|holds no object)")


class Harm:
    """What a pickle may do."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_pickles_are_not_opened(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    theirs_in(tmp_path / "from")
    (tmp_path / "from" / "model.safetensors").unlink()
    refuses(tmp_path / "from", "has neither model.safetensors nor")
    (tmp_path / "from" / name).write_bytes(pickle.dumps(Harm()))
    refuses(tmp_path / "from", f"its weights in {name}: a pickle can run any code")
    assert not (tmp_path / "harm").exists()


ELSEWHERE = [
    "../model.safetensors",
    "/etc/x.safetensors",
    "a/b.safetensors",
    "..",
    "",
    "x.bin",
    7,
    None,
    "\x00.safetensors",
]


@pytest.mark.parametrize("file", ELSEWHERE, ids=repr)
def test_an_index_that_leads_elsewhere(tmp_path: Path, file: Any) -> None:
    theirs_in(tmp_path / "from", max_shard_size="20KB")
    index = tmp_path / "from" / "model.safetensors.index.json"
    edited(index, weight_map={**json.loads(index.read_text())["weight_map"], UP: file})
    refuses(tmp_path / "from", f"index.json: .* \\(of '{UP}'\\) is no name of a file beside it")


def test_an_index_that_does_not_say_what_is_there(tmp_path: Path) -> None:
    theirs_in(tmp_path / "from", max_shard_size="20KB")
    index = tmp_path / "from" / "model.safetensors.index.json"
    names = json.loads(index.read_text())["weight_map"]
    first = sorted(set(names.values()))[0]
    edited(index, weight_map={**names, "absent.weight": first})
    refuses(tmp_path / "from", f"{first} should hold 'absent.weight'")
    edited(index, weight_map={name: file for name, file in names.items() if name != UP})
    refuses(tmp_path / "from", f"{names[UP]} holds '{UP}', and .* says otherwise")
    edited(index, weight_map={})
    refuses(tmp_path / "from", "weight_map is missing")
    edited(index, weight_map=names)
    (tmp_path / "from" / names[UP]).unlink()
    refuses(tmp_path / "from", f"{names[UP]} is missing")


def test_a_json_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs_in(tmp_path / "from")
    monkeypatch.setattr("trainer.exchange.read.LARGEST_JSON", 1000)
    refuses(tmp_path / "from", "tokenizer.json has .* bytes; no more than 1,000 are read")


def test_a_record_that_does_not_fit(tmp_path: Path) -> None:
    """What is said beside the fields is not believed where it is no model, or another one."""
    exported(made("longdoc", tokenizer=BPE), tmp_path / "from")
    config = json.loads((tmp_path / "from" / "config.json").read_text())
    for settings, why in [
        (None, "describes no model of ours: /family"), ({"family": "dense"}, "is missing|has no place|layers"),
        ({**config["gristmill"]["settings"], "chunk": 0}, "/chunk"),
        ({"family": "longdoc", "layers": 10**400}, "no model of ours"),
        ({**config["gristmill"]["settings"], "layers": 10**9}, "1000000000 layers, and there are only"),
        ({**config["gristmill"]["settings"], "width": 10**12, "heads": 1}, "too large|has the shape"),
    ]:  # fmt: skip
        edited(tmp_path / "from" / "config.json", gristmill={"settings": settings})
        refuses(tmp_path / "from", why)


def test_what_is_kept_aside_is_looked_at(tmp_path: Path) -> None:
    folder = exported(made("assistant-unbiased", tokenizer=BPE), tmp_path / "from")
    kept = load_file(folder / "gristmill.safetensors")
    first = sorted(kept)[0]
    save_file({**kept, first: torch.zeros(3)}, folder / "gristmill.safetensors")
    refuses(folder, rf"gristmill.safetensors: '{re.escape(first)}' has the shape \(3,\)")
    save_file({name: weight for name, weight in kept.items() if name != first}, folder / "gristmill.safetensors")
    refuses(folder, f"'{re.escape(first)}' is missing")


def test_changed_fields_count_more_than_the_record(tmp_path: Path) -> None:
    folder = exported(made("dense", tokenizer=BPE), tmp_path / "from")
    edited(folder / "config.json", rms_norm_eps=0.01)
    found: Imported = import_model(folder)
    assert found.model.settings["norm_eps"] == 0.01 == found.model.module.norm.eps
    tokens_BT = tokens_of(1, 9, BPE.size)
    with torch.no_grad():
        assert float((loaded(folder)(tokens_BT).logits - answers(found.model, tokens_BT)).abs().max()) < 5e-6


STRANGE = [
    None, True, False, -1, 0, 1, 3, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x", "\ud800", [], {},
    [[]], {"type": "default"}, "<|user|>",
]  # fmt: skip


def spoiled(value: Any, random: Random) -> Any:
    """JSON with one thing in it that is something else, or gone."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.15:
        return random.choice(STRANGE)
    copied = dict(value) if isinstance(value, dict) else list(value)
    at: Any = random.choice(list(copied)) if isinstance(copied, dict) else random.randrange(len(copied))
    if random.random() < 0.1:
        del copied[at]
    else:
        copied[at] = spoiled(copied[at], random)
    return copied


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", INDEX, "gristmill.json"])
@pytest.mark.parametrize("kind", ["llama", "ernie", "longdoc"])
def test_whatever_is_spoiled_is_refused_or_does_no_harm(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "longdoc" or name == "gristmill.json":
        model = "longdoc" if kind == "longdoc" else "assistant-unbiased" if kind == "ernie" else "dense"
        exported(made(model, tokenizer=BPE), tmp_path, shard_bytes=10_000)
    else:
        theirs_in(tmp_path, kind, max_shard_size="10KB")
    plain = json.loads((tmp_path / name).read_text())
    for seed in range(SEEDS):
        (tmp_path / name).write_text(json.dumps(spoiled(plain, Random(seed))))
        try:
            found = import_model(tmp_path).model
        except StateError as refused:
            assert len(str(refused)) < 2000
        else:
            save_model(tmp_path / "saved", found)
            assert answers(load_model(tmp_path / "saved"), tokens_of(1, 5, 256)).isfinite().all()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refuses(tmp_path / "from", "config.json is missing")
