"""The Ray backend gives the bytes of the inline one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.domain.conftest import write_model
from tests.support.corpus import english, write_jsonl
from tests.support.runs import gristmill, rows, tree, write_recipe


@pytest.mark.slow
def test_same_bytes_on_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    recipe = write_recipe(tmp_path)
    shards = [
        write_jsonl(tmp_path / f"s{n}.jsonl", [{"text": english(n * 9 + i % 7)} for i in range(12)]) for n in range(3)
    ]
    gristmill("run", recipe, *shards, "-o", tmp_path / "inline", "--workers", "1")
    gristmill("run", recipe, *shards, "-o", tmp_path / "ray", "--workers", "2", "--backend", "ray")
    assert tree(tmp_path / "ray") == tree(tmp_path / "inline")


@pytest.mark.slow
def test_a_classifier_on_sides_of_pairs(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    write_model(tmp_path / "model")
    stages = "[{stage: pair}, {stage: domain, model: model, sides: [prompt, chosen]}]"
    recipe = write_recipe(tmp_path, f"name: sides\nentries: {{kind: preferences}}\nstages: {stages}\n")
    pairs = [{"prompt": english(n), "chosen": english(n + 50), "rejected": english(n + 100)} for n in range(12)]
    shard = write_jsonl(tmp_path / "pairs.jsonl", pairs)
    for backend in ("inline", "ray"):
        gristmill("run", recipe, shard, "-o", tmp_path / backend, "--workers", "2", "--backend", backend)
    assert tree(tmp_path / "ray") == tree(tmp_path / "inline")
    assert all(row["chosen_domain"] for row in rows(tmp_path / "ray"))
