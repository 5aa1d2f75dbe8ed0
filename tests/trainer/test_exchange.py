"""Exported models compute over there what they compute here, and come back bit for bit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from tests.trainer.asking import asked
from tests.trainer.exchanged import (
    BPE,
    BYTES,
    MODELS,
    answers,
    class_of,
    exported,
    loaded,
    made,
    padded,
    same_weights,
    tokenizer_of,
)
from tests.trainer.lively import tokens_of
from trainer.data.tokenizer import Vocabulary
from trainer.errors import ConfigError, StateError
from trainer.exchange.load import import_model
from trainer.infer.engine import Engine
from trainer.infer.prompts import stops
from trainer.infer.sampling import Sampling
from trainer.model_folder import load_model, save_model

EVERY = pytest.mark.parametrize("name", MODELS)
KINDS = pytest.mark.parametrize("kind", ["language", "reward"])
OWN_CODE = pytest.mark.parametrize("name", ["assistant", "longdoc"])
TEXT = BYTES.size - 8  # numbers below are no special tokens


def close(one: Any, other: Any, tolerance: float = 5e-6) -> None:
    torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=tolerance)


# --- what transformers computes


@EVERY
@KINDS
def test_transformers_computes_the_same(tmp_path: Path, name: str, kind: str) -> None:
    model = made(name, kind)
    theirs = loaded(exported(model, tmp_path / "out"), kind)
    assert type(theirs).__name__ == class_of(name, kind)
    tokens_BT = tokens_of(2, 37, TEXT)
    with torch.no_grad():
        close(theirs(tokens_BT).logits, answers(model, tokens_BT))


@EVERY
@KINDS
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(tmp_path: Path, name: str, kind: str, side: str) -> None:
    model = made(name, kind)
    theirs = loaded(exported(model, tmp_path / "out"), kind)
    rows = [tokens_of(1, length, TEXT, seed=length)[0] for length in (3, 21, 8)]
    tokens_BT, mask_BT = padded(rows, BYTES.pad, side)
    with torch.no_grad():
        given = theirs(tokens_BT, attention_mask=mask_BT).logits
        for row, got, mask_T in zip(rows, given, mask_BT, strict=True):
            close(got if kind == "reward" else got[mask_T.bool()], answers(model, row[None])[0])
        if kind == "reward" and side == "right":  # without a mask, what is no padding counts
            close(theirs(tokens_BT).logits, given)


@EVERY
def test_greedy_answers_are_those_of_the_engine(tmp_path: Path, name: str) -> None:
    model = made(name, tokenizer=BPE)
    folder = exported(model, tmp_path / "out")
    texts = ["The miller", "A much longer text than the others are, by far and once more", "x"]
    given = tokenizer_of(folder)(texts, return_tensors="pt", padding=True)
    assert not given["attention_mask"].all() and given["attention_mask"][:, -1].all()  # on the left
    theirs, sampling = loaded(folder), Sampling(new_tokens=20, temperature=0)
    engine = Engine(model.module, stop=stops(BPE))
    for cached in (True, False):
        said_BT = theirs.generate(**given, max_new_tokens=20, do_sample=False, use_cache=cached)
        said_BT = said_BT[:, given["input_ids"].shape[1] :]
        for response in engine.generate([BPE.encode(text) for text in texts], sampling):
            said = said_BT[response.prompt].tolist()
            assert said[: len(response.tokens)] == response.tokens.tolist()
            assert set(said[len(response.tokens) :]) <= {BPE.pad}


@OWN_CODE
def test_beams_are_the_same_with_a_cache_and_without(tmp_path: Path, name: str) -> None:
    theirs = loaded(exported(made(name), tmp_path / "out"))
    tokens_BT, mask_BT = padded([tokens_of(1, 5, TEXT)[0], tokens_of(1, 11, TEXT)[0]], BYTES.pad, "left")
    options = {"attention_mask": mask_BT, "max_new_tokens": 9, "num_beams": 3, "do_sample": False}
    assert torch.equal(theirs.generate(tokens_BT, **options), theirs.generate(tokens_BT, **options, use_cache=False))


@OWN_CODE
def test_training_over_there(tmp_path: Path, name: str) -> None:
    """The loss is the cross-entropy of the next token, and while training the model's own losses come on top."""
    model = made(name)
    theirs = loaded(exported(model, tmp_path / "out"))
    tokens_BT, mask_BT = padded([tokens_of(1, 9, TEXT)[0], tokens_of(1, 14, TEXT)[0]], BYTES.pad, "left")
    labels_BT = tokens_BT.where(mask_BT.bool(), -100)
    out = theirs(tokens_BT, attention_mask=mask_BT, labels=labels_BT)
    close(out.loss, F.cross_entropy(out.logits[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten()))
    trained = theirs.train()(tokens_BT, attention_mask=mask_BT, labels=labels_BT).loss
    assert (trained > out.loss) == (name == "assistant")
    trained.backward()
    assert all(weight.grad is not None for weight in theirs.parameters() if weight.requires_grad)


@OWN_CODE
def test_what_the_code_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    theirs, tokens_BT = loaded(exported(made(name), tmp_path / "out")), tokens_of(1, 4, TEXT)
    for what in ({"output_hidden_states": True}, {"position_ids": tokens_BT}, {"output_attentions": True}):
        with pytest.raises(ValueError, match=next(iter(what))):
            theirs(tokens_BT, **what)
    with pytest.raises(ValueError, match="attention_mask"):
        theirs(tokens_BT, attention_mask=torch.zeros(1, 1, 4, 4))


ALONE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("trainer", "cli", "curation", "pipelines", "tests"):
            raise ImportError(name + " is not there")
sys.meta_path.insert(0, Absent())
from transformers import AutoModelForCausalLM, AutoTokenizer
for folder in sys.argv[1:]:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    given = tokenizer(["The miller grinds", "x"], return_tensors="pt", padding=True)
    print(model.generate(**given, max_new_tokens=12, do_sample=False).tolist())
"""


def test_the_code_needs_nothing_of_ours(tmp_path: Path) -> None:
    folders = [exported(made(name, tokenizer=BPE), tmp_path / name) for name in ("assistant", "longdoc")]
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *map(str, folders)], cwd=tmp_path, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for folder, answer in zip(folders, done.stdout.splitlines()[-2:], strict=True):
        given = tokenizer_of(folder)(["The miller grinds", "x"], return_tensors="pt", padding=True)
        assert json.loads(answer) == loaded(folder).generate(**given, max_new_tokens=12, do_sample=False).tolist()
        for file in folder.glob("*.py"):
            assert not re.search(r"^\s*(from|import) trainer", file.read_text(), re.MULTILINE)


# --- there and back


@EVERY
@KINDS
@pytest.mark.parametrize("tokenizer", [BYTES, BPE], ids=["bytes", "bpe"])
def test_there_and_back(tmp_path: Path, name: str, kind: str, tokenizer: Vocabulary) -> None:
    model = made(name, kind, tokenizer)
    back, architecture, added = import_model(exported(model, tmp_path / "out"))
    assert (back.kind, back.settings, back.facts) == (model.kind, model.settings, model.facts)
    assert same_weights(back.module, model.module) and back.tokenizer.identity == tokenizer.identity
    assert architecture == class_of(name, kind) and added == ()
    again = exported(back, tmp_path / "again")
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()
    }
    save_model(tmp_path / "model", back)
    assert same_weights(load_model(tmp_path / "model").module, model.module)


@EVERY
@KINDS
def test_what_was_trained_on_over_there(tmp_path: Path, name: str, kind: str) -> None:
    """Changed and saved by transformers: what its class has no place for is gone, and facts do not hold any more."""
    folder = exported(made(name, kind, BPE), tmp_path / "out")
    theirs, tokens_BT = loaded(folder, kind), tokens_of(2, 9, TEXT)
    with torch.no_grad():
        for weight in theirs.parameters():
            if weight.requires_grad and float(weight.abs().max()) > 0:  # not the biases that Ernie has and ours lacks
                weight.mul_(1.01)
        wanted = theirs(tokens_BT).logits
    theirs.save_pretrained(tmp_path / "tuned")
    tokenizer_of(folder).save_pretrained(tmp_path / "tuned")
    found = import_model(tmp_path / "tuned")
    close(answers(found.model, tokens_BT), wanted)
    assert found.model.facts["stage"] == "imported" and found.added == ()
    assert found.model.tokenizer.identity == BPE.identity
    settings = dict(found.model.settings)
    if class_of(name, kind).startswith("Ernie"):
        assert settings.pop("prediction") == "off"
    if class_of(name, kind) == "LlamaForSequenceClassification":
        assert settings.pop("tie") is True  # nobody reads the head
    assert settings.items() <= {**MODELS[name], "vocab": BPE.size}.items()


def test_what_ernie_has_no_place_for_is_kept_aside(tmp_path: Path) -> None:
    model = made("assistant-unbiased")
    folder = exported(model, tmp_path / "out")
    predictors = {name: weight for name, weight in model.module.named_parameters() if ".ahead." in name}
    kept = load_file(folder / "gristmill.safetensors")
    assert predictors and set(kept) == set(predictors)
    assert all(torch.equal(kept[name], weight) for name, weight in predictors.items())


@EVERY
def test_several_files_of_weights(tmp_path: Path, name: str) -> None:
    model = made(name)
    folder = exported(model, tmp_path / "out", shard_bytes=20_000)
    files = sorted(folder.glob("model-*.safetensors"))
    assert len(files) > 1 and not (folder / "model.safetensors").exists()
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    one = load_file(exported(model, tmp_path / "one") / "model.safetensors")
    assert set(index["weight_map"]) == set(one)
    assert index["metadata"]["total_size"] == sum(weight.nbytes for weight in one.values())
    tokens_BT = tokens_of(1, 12, TEXT)
    with torch.no_grad():
        close(loaded(folder)(tokens_BT).logits, answers(model, tokens_BT))
    assert same_weights(import_model(folder).model.module, model.module)


# --- types


@EVERY
@KINDS
def test_half_as_many_bits(tmp_path: Path, name: str, kind: str) -> None:
    model = made(name, kind)
    folder = exported(model, tmp_path / "out", dtype=torch.bfloat16)
    with safe_open(folder / "model.safetensors", "pt") as stream:
        types = {weight: stream.get_slice(weight).get_dtype() for weight in stream.keys()}  # noqa: SIM118
    routers = {weight for weight in types if "router." in weight or ".mlp.gate.weight" in weight or "statics" in weight}
    assert {types[weight] for weight in set(types) - routers} == {"BF16"}
    assert {types[weight] for weight in routers} == ({"F32"} if name.startswith("assistant") else set())
    theirs, tokens_BT = loaded(folder, kind, dtype="auto"), tokens_of(2, 24, TEXT)
    assert next(theirs.parameters()).dtype == torch.bfloat16
    for weight, value in theirs.named_parameters():
        if "router" in weight or "mlp.gate.weight" in weight:
            assert value.dtype == torch.float32
    rounded = import_model(folder).model
    with torch.no_grad():
        got, wanted = theirs(tokens_BT).logits.float(), answers(rounded, tokens_BT)
    assert float((got - wanted).norm() / wanted.norm()) < 0.1  # bf16 has 8 bits


def test_a_weight_that_the_type_does_not_hold(tmp_path: Path) -> None:
    model = made("dense")
    model.module.blocks[1].feed.down.weight.data[0, 0] = 1e6
    with pytest.raises(StateError, match=r"'blocks\.1\.feed\.down\.weight' .* float16"):
        exported(model, tmp_path / "out", dtype=torch.float16)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="float64 is none of"):
        exported(model, tmp_path / "out", dtype=torch.float64)


# --- folders


def test_an_export_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    model = made("dense")
    folder = exported(model, tmp_path / "out", shard_bytes=20_000)
    exported(model, folder)
    assert (folder / "model.safetensors").exists() and not list(folder.glob("model-*"))
    tuned = shutil.copytree(folder, tmp_path / "tuned")
    (tuned / "config.json").write_text((tuned / "config.json").read_text() + " ")
    other, single = tmp_path / "other", tmp_path / "file"
    save_model(other, model)
    single.write_text("mine")
    for place in (tuned, other, single, tmp_path):
        before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        with pytest.raises(StateError, match="it is not replaced"):
            exported(model, place)
        assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_the_card_says_where_a_model_comes_from(tmp_path: Path) -> None:
    model = made("longdoc")
    origin = [{"name": "we|b<img>`\n# big \ud800", "version": 3, "manifest_digest": "blake2b:01"}]
    model.facts.update(datasets=origin, models=[{"role": "start", "name": "base"}])
    text = (exported(model, tmp_path / "out") / "README.md").read_text()
    assert r"we\|b\<img\>\` \# big ?" in text and "blake2b:01" in text and "name base" in text
    assert "trust_remote_code=True" in text and "| loss | 1.5 |" in text and "GristmillForCausalLM" in text
    plain = (exported(made("dense"), tmp_path / "dense") / "README.md").read_text()
    assert "trust_remote_code" not in plain and "none are named" in plain


def test_the_tasks(tmp_path: Path) -> None:
    model = made("assistant-unbiased", tokenizer=BPE)
    save_model(tmp_path / "model", model)
    found = asked("export", tmp_path / "out", {"model": tmp_path / "model"}, dtype="bfloat16", context=99)
    files = list((tmp_path / "out" / "exported").iterdir())
    assert found == {
        "path": "exported", "architecture": "Ernie4_5_MoeForCausalLM", "code": False, "dtype": "bfloat16",
        "files": len(files), "bytes": sum(file.stat().st_size for file in files), "left": 6,
    }  # fmt: skip
    config = json.loads((tmp_path / "out" / "exported" / "config.json").read_text())
    assert config["max_position_embeddings"] == 99 and config["dtype"] == "bfloat16"
    assert asked("export", tmp_path / "out", {"model": tmp_path / "model"}, dtype="bfloat16", context=99) == found
    back = asked("import", tmp_path / "in", {"model": tmp_path / "out" / "exported"})
    weights = sum(weight.numel() for weight in model.module.parameters())
    assert {**back, "digest": ""} == {
        "model": "final", "digest": "", "family": "assistant", "kind": "language",
        "parameters": weights, "architecture": "Ernie4_5_MoeForCausalLM", "added_tokens": [],
    }  # fmt: skip
    assert load_model(tmp_path / "in" / "final").facts["steps"] == 3
    assert asked("import", tmp_path / "in", {"model": tmp_path / "out" / "exported"}) == back


def test_an_import_replaces_a_model_and_nothing_else(tmp_path: Path) -> None:
    folder = exported(made("dense"), tmp_path / "final")
    with pytest.raises(StateError, match="it is not replaced"):
        asked("import", tmp_path, {"model": folder})
    assert (folder / "generation_config.json").exists()


@pytest.mark.parametrize(
    ("config", "pointer"),
    [({"dtype": "int8"}, "/config/dtype"), ({"context": 0}, "/config/context"), ({"shard_gib": 0}, "/config/shard_gib"),
     ({"typo": 1}, "/config/typo")],
)  # fmt: skip
def test_what_the_export_refuses(tmp_path: Path, config: dict[str, Any], pointer: str) -> None:
    save_model(tmp_path / "model", made("dense"))
    with pytest.raises(ConfigError) as refused:
        asked("export", tmp_path / "out", {"model": tmp_path / "model"}, **config)
    assert refused.value.pointer == pointer and not (tmp_path / "out").exists()


def test_generation_ends_where_answers_end(tmp_path: Path) -> None:
    config = json.loads((exported(made("dense"), tmp_path / "out") / "generation_config.json").read_text())
    assert config["eos_token_id"] == sorted(BYTES.special.values()) and config["pad_token_id"] == BYTES.pad
