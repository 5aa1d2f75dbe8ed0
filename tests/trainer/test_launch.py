"""The same job by other launchers: torchrun, and an actor of Ray; what is said, how it ends, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.published import publish
from trainer.errors import ConfigError
from trainer.launch.world import check_alone
from trainer.main import main

ON_RAY = [sys.executable, "-m", "trainer.launch.on_ray"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def job(folder: Path, steps: int = 4, **changes: Any) -> Path:
    """A small training; returns the file of the job."""
    rows = [{"id": f"{n:032x}", "text": f"the {n}th line of a small text", "language": "en"} for n in range(40)]
    corpus = publish(folder / "corpus", "corpus", rows)
    config = {
        "stage": "pretrain", "model": {"family": "dense", "width": 16, "layers": 1, "heads": 2},
        "tokenizer": {"kind": "bytes"}, "data": {"tokens": 32, "rows": 4},
        "loop": {"steps": steps, "log_every": 1, "checkpoint_every": 2}, **changes,
    }  # fmt: skip
    path = folder / "job.json"
    datasets = [{"name": "c", "version": 1, "location": str(corpus)}]
    path.write_text(json.dumps({"datasets": datasets, "config": config, "output": str(folder / "out")}))
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def done(command: list[str], check: int) -> tuple[list[dict[str, Any]], str]:
    """Lines that a command said on standard output, each of the protocol, and its standard error."""
    found = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)
    assert found.returncode == check, found.stderr[-4000:]
    return [json.loads(line) for line in found.stdout.splitlines()], found.stderr


def digest_of(folder: Path) -> str:
    """Of the model that a job makes when nothing stands between."""
    assert main(["--job", str(job(folder))]) == 0
    return str(json.loads((folder / "out" / "result.json").read_text())["digest"])


def test_one_of_several_processes_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("1", None):
        monkeypatch.delenv("WORLD_SIZE", raising=False) if size is None else monkeypatch.setenv("WORLD_SIZE", size)
        check_alone()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"WORLD_SIZE is 2.*one process"):
        check_alone()


@pytest.mark.slow
def test_torchrun_with_one_process_does_the_job(tmp_path: Path) -> None:
    said, _ = done([*TORCHRUN, "1", "-m", "trainer", "--job", str(job(tmp_path / "a"))], check=0)
    assert [line["step"] for line in said if line["type"] == "metrics" and "learning_rate" in line] == [1, 2, 3, 4]
    (result,) = [line for line in said if line["type"] == "result"]
    assert result["digest"] == digest_of(tmp_path / "b")


@pytest.mark.slow
def test_torchrun_with_two_is_refused(tmp_path: Path) -> None:
    said, errors = done([*TORCHRUN, "2", "-m", "trainer", "--job", str(job(tmp_path))], check=1)
    assert said == [] and "WORLD_SIZE is 2: a job is done by one process" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_ray_does_the_job_and_says_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    said, _ = done([*ON_RAY, "--job", str(job(tmp_path / "a"))], check=0)
    assert [line["step"] for line in said if line["type"] == "metrics" and "learning_rate" in line] == [1, 2, 3, 4]
    assert [line["type"] for line in said][-1] == "result"
    assert said[-1]["digest"] == digest_of(tmp_path / "b")


@pytest.mark.slow
def test_ray_ends_as_the_trainer_does(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    said, errors = done([*ON_RAY, "--job", str(job(tmp_path, stage="cooking"))], check=2)
    assert said == [] and errors.splitlines()[-1].startswith("gristmill-trainer: /config/stage")


@pytest.mark.slow
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_ray_passes_the_end_on(tmp_path: Path, sig: int) -> None:
    """SIGTERM lets the trainer save; what is killed leaves no trainer behind."""
    pytest.importorskip("ray")
    file = job(tmp_path, steps=100_000)
    process = subprocess.Popen([*ON_RAY, "--job", str(file)], env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == "checkpoint":
            break
    trainers = working_on(file) - {process.pid}
    assert trainers
    process.send_signal(sig)
    rest = process.stdout.read()
    assert process.wait(120) == {signal.SIGTERM: 75, signal.SIGKILL: -signal.SIGKILL}[sig]
    if sig == signal.SIGTERM:
        assert json.loads(rest.splitlines()[-1])["type"] == "checkpoint"
    deadline = time.monotonic() + 60
    while working_on(file):
        assert time.monotonic() < deadline, "a trainer is left"
        time.sleep(0.1)


def working_on(file: Path) -> set[int]:
    """Processes that were told this job."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(file).encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found
