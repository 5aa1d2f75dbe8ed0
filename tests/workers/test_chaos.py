"""Kill any process at any moment, go on, and find no byte of difference to an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.corpus import chinese, english, write_jsonl
from tests.support.runs import tree, write_recipe

KILLS = int(os.environ.get("GRISTMILL_KILLS", "6"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for number in range(6):
        texts = [english(number * 40 + i % 37) for i in range(120)] + [chinese(number * 40 + i) for i in range(20)]
        objects = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
        write_jsonl(folder / f"s{number}.jsonl.gz", objects)
    return folder


def command(recipe: Path, shards: Path, output: Path, backend: str) -> list[str]:
    arguments = ["run", str(recipe), str(shards), "--output", str(output), "--backend", backend, "--workers", "2"]
    return [sys.executable, "-m", "cli.main", *arguments, "--quiet"]


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that what is left of it can be ended by its id."""
    environment = {**os.environ, "GRISTMILL_RAY_START_SECONDS": "20"}
    with open(log, "ab") as stream:
        return subprocess.Popen(arguments, stdout=stream, stderr=stream, env=environment, start_new_session=True)


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stream:
                    fields = stream.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found, ahead = [], [root]
    while ahead:
        process = ahead.pop()
        found.append(process)
        ahead += parents.get(process, [])
    return found


def kill_at_random(process: subprocess.Popen[bytes], rng: random.Random, within: float) -> bool:
    """Kill one random process of the run at a random moment; False when the run was over before."""
    deadline = time.monotonic() + rng.uniform(0.05, within)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    victims = family(process.pid)
    try:
        os.kill(rng.choice(victims), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def finish(process: subprocess.Popen[bytes]) -> int:
    """Wait for a run, then end whatever of its group is left."""
    try:
        return process.wait(timeout=180)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.chaos
@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_kills_leave_no_trace(backend: str, shards: Path, tmp_path: Path) -> None:
    if backend == "ray":
        pytest.importorskip("ray")
    recipe, log = write_recipe(tmp_path), tmp_path / "log"
    began = time.monotonic()
    assert finish(start(command(recipe, shards, tmp_path / "undisturbed", "inline"), log)) == 0, log.read_text()
    span = (time.monotonic() - began) * (1.2 if backend == "inline" else 2.5)
    rng = random.Random(f"{backend}-{KILLS}")
    arguments = command(recipe, shards, tmp_path / "disturbed", backend)
    killed = 0
    while killed < KILLS:
        process = start(arguments, log)
        killed += kill_at_random(process, rng, span)
        if finish(process) == 0 and killed < KILLS:
            # Finished all the same: take the finish away, so that there is something to disturb again.
            for name in rng.sample(sorted(tree(tmp_path / "disturbed")), 3):
                (tmp_path / "disturbed" / name).unlink()
            (tmp_path / "disturbed" / "manifest.json").unlink(missing_ok=True)
    assert finish(start(arguments, log)) == 0, log.read_text()
    assert tree(tmp_path / "disturbed") == tree(tmp_path / "undisturbed")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of which deduplication takes longer than milling: copies, near-copies, and a template."""
    folder = tmp_path_factory.mktemp("many")
    rng = random.Random(1)
    for number in range(4):
        texts = []
        for row in range(1500):
            text = english(rng.randrange(900), 16)
            texts.append(text.replace("on day", "by day", rng.randrange(4)) + f" {rng.randrange(3)}")
            if row % 3 == 0:
                texts.append(english(5000, 40) + " " + english(rng.randrange(10**6), 4))
        write_jsonl(folder / f"m{number}.jsonl.gz", [{"id": str(i), "text": text} for i, text in enumerate(texts)])
    return folder


STEPS = """
name: steps
stages:
  - stage: extraction
deduplication:
  memory_mib: 16
"""


@pytest.mark.chaos
@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_kills_in_the_steps_of_deduplication(backend: str, many: Path, tmp_path: Path) -> None:
    if backend == "ray":
        pytest.importorskip("ray")
    recipe, log = write_recipe(tmp_path, STEPS), tmp_path / "log"
    whole, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert finish(start(command(recipe, many, whole, "inline"), log)) == 0, log.read_text()

    def only_milled() -> None:
        shutil.rmtree(disturbed, ignore_errors=True)
        shutil.copytree(whole / "shards", disturbed / "shards")

    only_milled()
    arguments = command(recipe, many, disturbed, backend)
    began = time.monotonic()
    assert finish(start(arguments, log)) == 0, log.read_text()
    span, rng, killed = time.monotonic() - began, random.Random(f"steps-{backend}-{KILLS}"), 0
    only_milled()
    while killed < KILLS:
        process = start(arguments, log)
        killed += kill_at_random(process, rng, span)
        if finish(process) == 0:
            assert tree(disturbed) == tree(whole)
            only_milled()
    assert finish(start(arguments, log)) == 0, log.read_text()
    assert tree(disturbed) == tree(whole)
