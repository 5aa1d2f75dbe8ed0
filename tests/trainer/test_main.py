"""Jobs from published versions to models: each stage learns what is there to learn, and refuses what is wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.runs import run_recipe, write_recipe
from trainer.main import main
from trainer.model_folder import load_model

DENSE = {"family": "dense", "width": 32, "layers": 1, "heads": 2}
PAIRS = "name: p\nentries: {kind: preferences}\nstages: [{stage: pair}]\nhygiene: {held_out: {share: 0.2}}\n"
CHATS = "name: i\nentries: {kind: instructions}\nstages: [{stage: instruction}]\nhygiene: {held_out: {share: 0.1}}\n"
PAGES = "name: c\nstages: [{stage: extraction}]\n"
LIST = {"pretrain": PAGES, "sft": CHATS, "reward": PAIRS, "dpo": PAIRS}


def records(kind: str) -> list[dict[str, Any]]:
    """What can be learnt: letters in their order; answers that repeat a word; a kind word is better than a rude one."""
    rng = random.Random(kind)
    words = ["".join(rng.choices("abcdefgh", k=4)) for _ in range(60)]
    if kind == "pretrain":
        return [{"url": f"http://a.example/{n}", "text": " ".join(sorted(rng.choices(words, k=40)))} for n in range(40)]
    prompts = [" ".join(rng.choices(words, k=3)) for _ in range(120)]
    if kind == "sft":
        return [{"instruction": prompt, "input": "", "output": f"yes {prompt}"} for prompt in prompts]
    return [
        {"prompt": p, "chosen": f"kind {rng.choice(words)}", "rejected": f"rude {rng.choice(words)}"} for p in prompts
    ]


def published(folder: Path, kind: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shard = folder / "a.jsonl"
    shard.write_text("".join(json.dumps(record) + "\n" for record in records(kind)))
    run_recipe(write_recipe(folder, LIST[kind]), [shard], folder / "out")
    return folder / "out"


def job(folder: Path, dataset: Path, stage: str, **config: Any) -> Path:
    loop = {"steps": 60, "log_every": 20, "checkpoint_every": 20, "optimizer": {"learning_rate": 0.01}} | config.pop(
        "loop", {}
    )
    start = config.pop("start", None)
    given = {"stage": stage, "tokenizer": {"kind": "bytes"}, "data": {"tokens": 64, "rows": 8}, "loop": loop, **config}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    plain = {
        "datasets": [{"name": "d", "version": 1, "location": str(dataset)}],
        "models": [{"role": "start", "name": "m", "version": 1, "location": start}] if start else [],
        "config": given,
        "output": str(folder / "model"),
    }
    path.write_text(json.dumps(plain))
    return path


def said(capsys: pytest.CaptureFixture[str], kind: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, capsys.readouterr().out.splitlines()) if line["type"] == kind]


def test_from_pages_to_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = published(tmp_path / "pages", "pretrain")
    assert main(["--job", str(job(tmp_path / "1", pages, "pretrain", model=DENSE))]) == 0
    losses = [line["loss"] for line in said(capsys, "metrics") if "loss" in line]
    assert losses[-1] < losses[0] - 0.3
    base = tmp_path / "1" / "model" / "final"
    chats = published(tmp_path / "chats", "sft")
    assert main(["--job", str(job(tmp_path / "2", chats, "sft", start=str(base)))]) == 0
    assert said(capsys, "result")[0]["held_out_loss"] < 2.0
    tuned = tmp_path / "2" / "model" / "final"
    assert load_model(tuned).facts["models"] == [{"role": "start", "name": "m", "version": 1}]
    pairs = published(tmp_path / "pairs", "reward")
    assert main(["--job", str(job(tmp_path / "3", pairs, "dpo", start=str(tuned)))]) == 0
    metrics = said(capsys, "metrics")
    assert metrics[-1]["accuracy"] > 0.9 and metrics[-1]["loss"] < 0.3


@pytest.mark.parametrize("family", ["dense", "assistant", "longdoc"])
def test_a_reward_model_knows_what_is_better(tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {
        "dense": DENSE,
        "assistant": {
            **DENSE,
            "family": "assistant",
            "layers": 2,
            "kv_heads": 2,
            "experts": 8,
            "allow_beyond": ["experts"],
        },
        "longdoc": {**DENSE, "family": "longdoc", "chunk": 16, "allow_beyond": ["chunk"]},
    }[family]
    pairs = published(tmp_path / "pairs", "reward")
    assert main(["--job", str(job(tmp_path / "1", pairs, "reward", model=settings))]) == 0
    (result,) = said(capsys, "result")
    assert result["held_out_accuracy"] > 0.9 and result["held_out_pairs"] >= 10
    model = load_model(tmp_path / "1" / "model" / "final")
    assert model.kind == "reward" and model.settings["family"] == family


def test_the_same_job_gives_the_same_weights_and_is_done_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = published(tmp_path / "pages", "pretrain")
    models = []
    for name in ("1", "2", "1"):
        assert main(["--job", str(job(tmp_path / name, pages, "pretrain", model=DENSE, loop={"steps": 20}))]) == 0
        models.append(load_model(tmp_path / name / "model" / "final").module.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(models[0].values(), models[1].values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(models[0].values(), models[2].values(), strict=True))


@pytest.mark.parametrize(
    ("stage", "change", "expected"),
    [
        ("reward", {}, "preferences"),
        ("pretrain", {"model": {**DENSE, "widht": 3}}, "/config/model/widht"),
        ("pretrain", {"model": {"family": "dens"}}, "did you mean 'dense'"),
        ("pretrain", {"loop": {"steps": -1}}, "/config/loop/steps"),
        ("pretrain", {"loop": {"optimizer": {"learning_rate": 5}}}, "/config/loop/optimizer/learning_rate"),
        ("pretrain", {"start": "/nowhere"}, "give 'model'"),
        ("pretrain", {"model": None, "start": "/nowhere"}, "holds no model"),
        ("dpo", {}, "starts from a model that was tuned"),
        ("pretrain", {"data": {"weights": {"language": {"xx": 2}}}}, "xx"),
        ("poo", {}, "/config/stage"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    tmp_path: Path, stage: str, change: dict[str, Any], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = published(tmp_path / "pages", "pretrain")
    assert main(["--job", str(job(tmp_path / "1", pages, stage, **{"model": DENSE, **change}))]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1
    assert not (tmp_path / "1" / "model" / "final").exists()


def test_a_dataset_that_is_not_what_was_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = published(tmp_path / "pages", "pretrain")
    file = next((pages / "corpus").iterdir())
    file.write_bytes(file.read_bytes()[:-10])
    assert main(["--job", str(job(tmp_path / "1", pages, "pretrain", model=DENSE))]) == 2
    assert file.name in capsys.readouterr().err
