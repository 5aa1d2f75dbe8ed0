"""Published versions train with TRL as they are: the trainer's process gets a version's files and nothing else.

It runs here where ``trl`` is installed, or in the interpreter that ``GRISTMILL_TRL_PYTHON`` names.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.runs import rows, run_recipe, write_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "trl_train.py"
PAIRS = """
name: pairs
entries: {kind: preferences}
stages:
  - stage: pair
limits: {max_quarantined_share: 1}
"""
INSTRUCTIONS = PAIRS.replace("preferences", "instructions").replace("pair", "instruction")
PAIR_SETS = {"dpo-en-demo": 20, "dpo-zh-demo": 20, "pandalm-human-en": 240, "openassistant-ranked-zh": 30}
INSTRUCTION_SETS = {
    "alpaca-en-demo": 60,
    "alpaca-zh-demo": 60,
    "glaive-toolcall-en-demo": 60,
    "glaive-toolcall-zh-demo": 60,
}
WITH_TOOLS = {
    "prompt": [
        {"role": "user", "content": "How warm is it?"},
        {"role": "assistant", "content": '{"name": "weather"}'},
        {"role": "tool", "content": "21 °C"},
    ],
    "chosen": [{"role": "assistant", "content": "It is 21 °C."}],
    "rejected": [{"role": "assistant", "content": "I cannot know."}],
    "tools": [{"name": "weather", "description": "天气", "parameters": {}}],
}

Row = dict[str, Any]
Train = Callable[[str, Path, int], tuple[list[dict[str, str]], Row]]


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that has TRL."""
    named = os.environ.get("GRISTMILL_TRL_PYTHON")
    if not named and find_spec("trl") is None:
        pytest.skip("trl is not installed, and GRISTMILL_TRL_PYTHON names no interpreter that has it")
    return named or sys.executable


@pytest.fixture
def train(python: str, tmp_path: Path) -> Train:
    """Train in a process of its own; give what the trainer saw and what it reports."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRISTMILL", "PYTHON"))}
    environment = {**kept, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}

    def started(objective: str, version: Path, epochs: int) -> tuple[list[dict[str, str]], Row]:
        output = tmp_path / objective
        command = [python, "-I", str(SCRIPT), objective, str(version), str(output), "--epochs", str(epochs)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        seen = (output / "examples.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in seen], json.loads((output / "report.json").read_text())

    return started


def shortest(source: Path, count: int, folder: Path) -> Path:
    """The shortest records of a real set."""
    records = json.loads(gzip.decompress(source.read_bytes()))
    target = folder / source.name.removesuffix(".gz")
    target.write_text(json.dumps(sorted(records, key=lambda record: len(json.dumps(record)))[:count]))
    return target


def publish(folder: Path, recipe: str, inputs: list[Path]) -> Path:
    """Run a recipe; the files that its manifest names, in a folder that holds nothing else."""
    run_recipe(write_recipe(folder, recipe), inputs, folder / "run")
    for name in json.loads((folder / "run" / "manifest.json").read_text())["files"]:
        (folder / "version" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "run" / name, folder / "version" / name)
    return folder / "version"


@pytest.fixture(scope="module")
def pairs(real_data: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in both languages; with and without a margin, a ranking, tools."""
    folder = tmp_path_factory.mktemp("pairs")
    inputs = [
        shortest(real_data / "preferences" / f"{name}.json.gz", count, folder) for name, count in PAIR_SETS.items()
    ]
    (folder / "tools.json").write_text(json.dumps([WITH_TOOLS]))
    return publish(folder, PAIRS, [*inputs, folder / "tools.json"])


@pytest.fixture(scope="module")
def instructions(real_data: Path, python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Instructions in both languages, with and without tools."""
    folder = tmp_path_factory.mktemp("instructions")
    inputs = [
        shortest(real_data / "sft" / f"{name}.json.gz", count, folder) for name, count in INSTRUCTION_SETS.items()
    ]
    return publish(folder, INSTRUCTIONS, inputs)


def said(turns: list[Row], tools: str | None = None) -> str:
    """Turns as the example's chat template puts them."""
    told = f"<|tools|>{json.dumps(json.loads(tools), ensure_ascii=False)}<|end|>" if tools else ""
    return told + "".join(f"<|{turn['role']}|>{turn['content']}<|end|>" for turn in turns)


def answers(pair: Row, ask: str) -> dict[str, str]:
    """Both answers, each behind a prompt."""
    return {f"{side}_ids": ask + said(pair[side]) for side in ("chosen", "rejected")}


def test_the_pairs_are_of_all_kinds(pairs: Path) -> None:
    published = rows(pairs, "corpus")
    assert len(published) > 150
    for column in ("margin", "ranking_id", "tools"):
        assert {row[column] is None for row in published} == {True, False}


def test_a_reward_model_learns_the_pairs(pairs: Path, train: Train) -> None:
    seen, report = train("reward", pairs, 5)
    assert seen == [answers(row, said(row["prompt"], row["tools"])) for row in rows(pairs, "corpus")]
    assert report["before"]["eval_accuracy"] < 0.65
    assert report["after"]["eval_accuracy"] > 0.9
    assert report["after"]["eval_loss"] < 0.5 * report["before"]["eval_loss"]


def test_a_policy_learns_the_pairs(pairs: Path, train: Train) -> None:
    seen, report = train("dpo", pairs, 2)
    ask = [said(row["prompt"], row["tools"]) + "<|assistant|>" for row in rows(pairs, "corpus")]
    assert [example["prompt_ids"] for example in seen] == ask
    whole = [
        {side: example["prompt_ids"] + example[side] for side in ("chosen_ids", "rejected_ids")} for example in seen
    ]
    assert whole == [answers(row, said(row["prompt"], row["tools"])) for row in rows(pairs, "corpus")]
    assert report["before"]["eval_loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert report["after"]["eval_loss"] < 0.6


def test_a_model_learns_the_instructions(instructions: Path, train: Train) -> None:
    seen, report = train("sft", instructions, 3)
    published = rows(instructions, "corpus")
    assert len(published) > 150 and {row["tools"] is None for row in published} == {True, False}
    assert seen == [{"input_ids": said(row["messages"], row["tools"])} for row in published]
    assert report["after"]["eval_loss"] < 0.8 * report["before"]["eval_loss"]


def test_the_documentation_shows_the_example() -> None:
    script = SCRIPT.read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training-with-trl.md").read_text(), re.DOTALL)
    assert shown and all(block.rstrip() in script for block in shown)
