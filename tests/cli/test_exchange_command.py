"""``gristmill export`` and ``gristmill import``, end to end: what transformers loads, what a training goes on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.cli.test_train_command import config_file, corpus, says
from tests.trainer.test_exchange_tokenizer import folder_of, foreign

__all__ = ["corpus"]  # a fixture


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    small = LlamaConfig(
        vocab_size=322, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        bos_token_id=320, eos_token_id=321,
    )  # fmt: skip
    LlamaForCausalLM(small).save_pretrained(tmp_path / "llama")
    return folder_of(foreign(), tmp_path / "llama", bos_token="<s>", eos_token="</s>")


@pytest.mark.slow
def test_from_a_llama_over_a_training_back_to_transformers(
    tmp_path: Path, llama: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRISTMILL_TRAINER_COMMAND", raising=False)
    shown = says("import", llama, "-o", tmp_path / "base", "-q")
    base = tmp_path / "base" / "final"
    assert f"model  {base}" in shown and "LlamaForCausalLM" in shown and "<|assistant|>" in shown
    loop = {"steps": 2, "log_every": 1}
    config = config_file(tmp_path, stage="pretrain", data={"tokens": 32, "rows": 2}, loop=loop)
    says("train", config, "-d", corpus, "--start", base, "-o", tmp_path / "more", "-q")
    options = ("--dtype", "bfloat16", "--context", 77, "--set", "shard_gib=0.00001", "--json", "-q")
    found = json.loads(says("export", tmp_path / "more" / "final", "-o", tmp_path / "out", *options))
    assert found["architecture"] == "LlamaForCausalLM" and found["path"] == "exported" and not found["code"]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "exported")
    assert theirs.dtype == torch.bfloat16 and theirs.config.max_position_embeddings == 77
    assert len(list((tmp_path / "out" / "exported").glob("model-*.safetensors"))) > 1
    assert f"path  {tmp_path / 'out' / 'exported'}" in says("export", base, "-o", tmp_path / "out", "-q")


def test_what_is_no_model(tmp_path: Path, llama: Path) -> None:
    said = says("import", tmp_path, "-o", tmp_path / "out", check=2)
    assert said == f"gristmill: {tmp_path}: is no folder of Hugging Face: it has no config.json"
    assert "holds no model" in says("export", llama, "-o", tmp_path / "out", check=2)
    (llama / "manifest.json").write_text("{}")
    assert "is a model already, which --start takes" in says("import", llama, "-o", tmp_path / "out", check=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_the_trainer_refuses(tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRISTMILL_TRAINER_COMMAND", raising=False)
    plain = json.loads((llama / "config.json").read_text())
    (llama / "config.json").write_text(json.dumps({**plain, "attention_bias": True}))
    said = says("import", llama, "-o", tmp_path / "out", check=2)
    assert "config.json: attention_bias is True; there are no biases here" in said
    assert not (tmp_path / "out" / "final").exists()
    (llama / "config.json").write_text(json.dumps(plain))
    says("import", llama, "-o", tmp_path / "out", "-q")
    said = says("export", tmp_path / "out" / "final", "-o", tmp_path / "to", "--dtype", "int4", check=2)
    assert "/config/dtype" in said and "float32, bfloat16, float16" in said
