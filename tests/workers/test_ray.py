"""The Ray backend gives the bytes of the inline one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.corpus import english, write_jsonl
from tests.support.runs import gristmill, tree, write_recipe


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
