"""A model on disk is what was written, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.data.tokenizer import ByteTokenizer
from trainer.errors import StateError
from trainer.model_folder import Model, load_model, open_model, save_model
from trainer.models import build
from trainer.models.heads import ScalarHead

TOKENIZER = ByteTokenizer()


def made(kind: Any = "language", **settings: Any) -> Model:
    settings = {"family": "dense", "width": 16, "layers": 1, "heads": 2, "vocab": TOKENIZER.size, **settings}
    module = build(settings, 1)
    return Model(kind, settings, ScalarHead(module, 2) if kind == "reward" else module, TOKENIZER, {"stage": "sft"})


@pytest.mark.parametrize("kind", ["language", "reward"])
@pytest.mark.parametrize("tie", [False, True])
def test_what_is_read_is_what_was_written(tmp_path: Path, kind: str, tie: bool) -> None:
    model = made(kind, tie=tie)
    digest = save_model(tmp_path / "m", model)
    found = open_model({"location": str(tmp_path / "m"), "digest": digest})
    assert (found.kind, found.settings, found.facts) == (kind, model.settings, {"stage": "sft"})
    assert found.tokenizer.identity == TOKENIZER.identity
    wanted, got = model.module.state_dict(), found.module.state_dict()
    assert list(wanted) == list(got) and all(torch.equal(wanted[name], got[name]) for name in wanted)
    trunk = found.module.trunk if kind == "reward" else found.module
    assert (trunk.head.weight is trunk.embedding.weight) == tie


def test_the_same_model_has_the_same_digest_and_another_one_another(tmp_path: Path) -> None:
    one, two = save_model(tmp_path / "1", made()), save_model(tmp_path / "2", made())
    other = save_model(tmp_path / "3", made(rotary_base=500.0))
    assert one == two != other
    with pytest.raises(StateError, match="not the model that was registered"):
        open_model({"location": str(tmp_path / "3"), "digest": one})


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "gristmill.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_seen(tmp_path: Path, name: str, damage: str) -> None:
    save_model(tmp_path / "m", made())
    file = tmp_path / "m" / name
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StateError, match=name):
        load_model(tmp_path / "m")
