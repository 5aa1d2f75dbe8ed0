"""Runs for tests: a recipe without models, and what a run's folder holds."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.inputs import find_shards
from pipelines.plan import Plan, make_plan, plan_for
from pipelines.recipe import load_recipe
from workers.driver import RunResult, make_executor, run

PLAIN = """
name: plain
stages:
  - stage: extraction
  - stage: language
    keep: [en, zh]
    min_score: 0.5
limits:
  max_quarantined_share: null
"""


def write_recipe(folder: Path, text: str = PLAIN, name: str = "recipe.yaml") -> Path:
    """A recipe file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def plan_of(recipe: Path, *inputs: Path) -> Plan:
    """The plan of a recipe over some shards."""
    return make_plan(load_recipe(recipe), find_shards([str(path) for path in inputs]))


def run_recipe(recipe: Path, inputs: list[Path], output: Path, workers: int = 1, backend: str = "inline") -> RunResult:
    """Run in this process (or with workers) and return how it ended."""
    loaded = load_recipe(recipe)
    shards = find_shards([str(path) for path in inputs])
    plan = plan_for(loaded, shards, str(output))
    return run(plan, str(output), lambda: make_executor(backend, workers))  # type: ignore[arg-type]


def rows(output: Path, folder: str = "ledger") -> list[dict]:
    """All rows of one kind of output."""
    files = sorted((output / folder).glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def tree(output: Path) -> dict[str, str]:
    """Digest of every file below a folder, by its name."""
    found = {}
    for path in sorted(output.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(output))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def gristmill(*arguments: str | Path, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    """The command line, as a user runs it."""
    command = [sys.executable, "-m", "cli.main", *(str(argument) for argument in arguments)]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done
