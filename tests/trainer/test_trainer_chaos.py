"""Kills at random moments, also inside of saves and while tokens are written: the model is the undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.test_main import DENSE, job, published
from trainer.model_folder import model_digest

KILLS = int(os.environ.get("GRISTMILL_KILLS", "6"))
FAMILIES: dict[str, dict[str, Any]] = {
    "longdoc": {**DENSE, "family": "longdoc", "chunk": 16, "allow_beyond": ["chunk"]},
    "assistant": {
        **DENSE, "family": "assistant", "layers": 2, "kv_heads": 1, "experts": 4, "allow_beyond": ["experts"],
    },
}  # fmt: skip
LOOP = {"steps": 40, "checkpoint_every": 1, "log_every": 5, "optimizer": {"kind": "muon", "learning_rate": 0.01}}


def start(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "trainer", "--job", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)


def until(process: subprocess.Popen[bytes], word: bytes) -> None:
    """Read what it says up to a line with this word, or to its end."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("family", FAMILIES)
def test_kills_leave_no_trace_in_a_model(tmp_path: Path, family: str) -> None:
    pages = published(tmp_path / "pages", "pretrain")
    paths = [job(tmp_path / name, pages, "pretrain", model=FAMILIES[family], loop=LOOP) for name in ("whole", "killed")]
    began = time.monotonic()
    assert start(paths[0]).wait() == 0
    span, rng, kills, saves = time.monotonic() - began, random.Random(f"{family}-{KILLS}"), 0, 0
    output = tmp_path / "killed" / "model"
    while kills < KILLS:
        process = start(paths[1])
        if rng.random() < 0.5:  # somewhere, from the first import on
            time.sleep(rng.uniform(0, span))
        else:  # soon after a checkpoint was begun
            until(process, b'"checkpoint"')
            time.sleep(rng.uniform(0, 0.02))
        if process.poll() is None:
            process.kill()
            kills += 1
            saves += bool(list(output.glob("checkpoints/*.partial")))
        process.communicate()
        if kills < KILLS and (output / "result.json").exists():
            shutil.rmtree(output)  # finished all the same: once more from the begin
    assert start(paths[1]).wait() == 0
    wanted, found = (model_digest(tmp_path / name / "model" / "final") for name in ("whole", "killed"))
    print(f"{kills} kills, {saves} of them inside of a save")
    assert found == wanted
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(5, 41, 5))
