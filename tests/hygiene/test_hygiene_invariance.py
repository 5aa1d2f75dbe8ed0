"""The same set gives the same bytes, however it is cut, wherever it runs and whatever dies on the way."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import RunError
from pipelines import comparison
from pipelines.deduplication import order, work
from pipelines.deduplication.records import StepWriter
from pipelines.hygiene import gather, judging
from pipelines.verify import verify_run
from tests.hygiene.sets import recipe, records, run, shards_of
from tests.hygiene.twin import Policies
from tests.support.runs import run_recipe, tree
from tests.workers.test_chaos import KILLS, command, finish, kill_at_random, start
from workers import tasks

BALANCED = Policies(share="0.3", length_balance=("0.45", "0.55"))
KINDS = ["preferences", "instructions"]


def large_set(kind: str, count: int = 400, seed: str = "large") -> list[dict[str, Any]]:
    """Many small sets together; margins and names all differ."""
    rng = random.Random(f"{seed}-{kind}")
    found = [record for _ in range(count // 40) for record in records(rng, kind, 40)]
    margins = rng.sample(range(len(found)), len(found))
    named = [record | {"id": f"n{number}"} for number, record in enumerate(found)]
    if kind == "instructions":
        return named
    return [record | {"margin": margin / 8} for record, margin in zip(named, margins, strict=True)]


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several ranges, partitions and blocks; many buckets, each a task of its own."""
    monkeypatch.setattr(work, "LEAST_PART", 1)
    monkeypatch.setattr(work, "CHUNK", 7)
    monkeypatch.setattr(order, "CHUNK", 7)
    monkeypatch.setattr(work.Work, "memory", property(lambda _: 200_000))
    monkeypatch.setattr(gather, "_BUCKET_ENTRIES", 40)
    monkeypatch.setattr(judging, "_TASK_BYTES", 1 << 12)


@pytest.mark.parametrize("kind", KINDS)
def test_however_it_is_cut(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, chosen = shards_of(tmp_path, large_set(kind, 160), 4), recipe(tmp_path, kind, BALANCED, recall=0.998)
    run(chosen, shards, tmp_path / "whole")
    verify_run(str(tmp_path / "whole"))
    run(chosen, shards[::-1], tmp_path / "workers", workers=2)
    assert tree(tmp_path / "workers") == tree(tmp_path / "whole")
    cut_small(monkeypatch)
    tasks_seen: set[tuple[str, int]] = set()
    perform = comparison.perform

    def watched(plan: Any, storage: Any, name: str, part: int) -> None:
        tasks_seen.add((name, part))
        perform(plan, storage, name, part)

    monkeypatch.setattr(tasks, "perform_step", watched)
    run(chosen, shards, tmp_path / "cut")
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    assert all((name, 1) in tasks_seen for name in ("order", "copies", "pairs", "merge", "verify", "judge"))


@pytest.mark.parametrize("kind", KINDS)
def test_memory_decides_nothing(kind: str, tmp_path: Path) -> None:
    shards = shards_of(tmp_path, large_set(kind), 2)
    for mebibytes in (16, 1024):
        small = recipe(tmp_path, kind, BALANCED, name=f"memory{mebibytes}", memory_mib=mebibytes)
        small.write_text(small.read_text().replace(f"name: memory{mebibytes}", "name: memory"))
        run(small, shards, tmp_path / str(mebibytes))
    found, other = tree(tmp_path / "16"), tree(tmp_path / "1024")
    assert {name for name in {*found, *other} if found.get(name) != other.get(name)} <= {"run.json", "manifest.json"}


DECISIONS = ("verdict", "rule", "value", "cluster_size", "copies", "split", "contradiction", "shared_shingles")
WITNESSES = ("witness", "contradicts", "cluster")


def by_record(ledger: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Decisions with records' own names in the place of ids, which tell of the file."""
    names = {row["id"]: row["record_id"] for row in ledger} | {None: None}
    return {
        row["record_id"]: {name: row[name] for name in DECISIONS} | {name: names[row[name]] for name in WITNESSES}
        for row in ledger
    }


def test_records_may_lie_in_any_files_in_any_order(tmp_path: Path) -> None:
    """Where the order of staying is settled without ids, and nothing is balanced by them."""
    found, priority = large_set("preferences"), [{"column": "preference_margin"}]
    chosen = recipe(tmp_path, "preferences", Policies(share="0.3"), priority=priority)
    results = []
    for number, files in enumerate((1, 3, 7)):
        random.Random(number).shuffle(found)
        folder = tmp_path / str(number)
        results.append(by_record(run(chosen, shards_of(folder, found, files), folder / "out")))
    assert results[0] == results[1] == results[2]
    assert {row["rule"] for row in results[0].values()} >= {"exact", "near", "label-conflict", "preference-cycle"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ray_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    shards, chosen = shards_of(tmp_path, large_set(kind), 3), recipe(tmp_path, kind, BALANCED)
    run(chosen, shards, tmp_path / "inline")
    run(chosen, shards, tmp_path / "ray", workers=2, backend="ray")
    assert tree(tmp_path / "ray") == tree(tmp_path / "inline")


@pytest.mark.parametrize("step", ["clusters", "gather", "judge"])
def test_a_damaged_step_is_noticed_and_made_again(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, chosen = shards_of(tmp_path, large_set("preferences"), 2), recipe(tmp_path, "preferences", BALANCED)
    run(chosen, shards, tmp_path / "whole")
    damaged: list[Path] = []
    perform = comparison.perform

    def damage_one(plan: Any, storage: Any, name: str, part: int) -> None:
        perform(plan, storage, name, part)
        if name.partition("-")[0] == step and not damaged:
            path = max((tmp_path / "out").rglob(f"{step}/00000/*.records"), key=lambda file: file.stat().st_size)
            path.write_bytes(bytes(byte ^ 8 for byte in path.read_bytes()))
            damaged.append(path)

    monkeypatch.setattr(tasks, "perform_step", damage_one)
    with pytest.raises(RunError, match=r"digest differs\); run again"):
        run_recipe(chosen, shards, tmp_path / "out")
    assert damaged and not (tmp_path / "out" / "manifest.json").exists()
    run(chosen, shards, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_damaged_decisions_are_noticed_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, chosen = shards_of(tmp_path, large_set("preferences"), 2), recipe(tmp_path, "preferences", BALANCED)
    run(chosen, shards, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    for name in ("manifest.json", "corpus", "ledger", "dropped"):  # as if it had died before it published
        path = tmp_path / "out" / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    outcome = next((tmp_path / "out" / "deduplication").rglob("outcome.records"))
    outcome.write_bytes(outcome.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RunError, match="digest differs"):
        run_recipe(chosen, shards, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    run(chosen, shards, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("step", ["clusters", "gather", "judge", "settle"])
def test_a_full_disk_ends_the_run_and_commits_nothing(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, chosen = shards_of(tmp_path, large_set("preferences"), 2), recipe(tmp_path, "preferences", BALANCED)
    run(chosen, shards, tmp_path / "whole")
    write, perform, steps_running = StepWriter.write, comparison.perform, [""]

    def full(self: StepWriter, name: str, dtype: np.dtype, parts: Any) -> None:
        if steps_running[-1].startswith(step):
            with self._storage.writer(f"{self._folder}/{name}.records") as stream, open("/dev/full", "wb", 0) as disk:
                stream.write(b"half")
                disk.write(b"x")  # No space left on device
        write(self, name, dtype, parts)

    def watched(plan: Any, storage: Any, name: str, part: int) -> None:
        steps_running.append(name)
        perform(plan, storage, name, part)

    with monkeypatch.context() as patched:
        patched.setattr(StepWriter, "write", full)
        patched.setattr(tasks, "perform_step", watched)
        with pytest.raises(RunError, match="No space left on device; nothing was committed"):
            run_recipe(chosen, shards, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").rglob("*.tmp-*"))
    run(chosen, shards, tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_what_an_interrupted_run_left_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards, chosen = shards_of(tmp_path, large_set("preferences"), 2), recipe(tmp_path, "preferences", BALANCED)
    run(chosen, shards, tmp_path / "whole")
    perform = comparison.perform
    stops: list[str] = []

    def stopped(plan: Any, storage: Any, name: str, part: int) -> None:
        if name == "settle" and not stops:
            stops.append(name)
            raise KeyboardInterrupt
        perform(plan, storage, name, part)

    monkeypatch.setattr(tasks, "perform_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(chosen, shards, tmp_path / "out")
    made_again: list[str] = []
    monkeypatch.setattr(StepWriter, "write", watching(StepWriter.write, made_again))
    run(chosen, shards, tmp_path / "out")
    assert set(made_again) == {"outcome", "split"}
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def watching(write: Any, seen: list[str]) -> Any:
    """A writer that tells what it writes."""

    def watched(self: StepWriter, name: str, dtype: np.dtype, parts: Any) -> None:
        seen.append(name)
        write(self, name, dtype, parts)

    return watched


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_kills_in_the_steps_of_hygiene(backend: str, kind: str, tmp_path: Path) -> None:
    if backend == "ray":
        pytest.importorskip("ray")
    folder, log = tmp_path / "shards", tmp_path / "log"
    shards_of(folder, large_set(kind, 8000, "kills"), 6)
    chosen = recipe(tmp_path, kind, BALANCED, memory_mib=16, recall=0.998)
    whole, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert finish(start(command(chosen, folder, whole, "inline"), log)) == 0, log.read_text()
    verify_run(str(whole))

    def only_milled() -> None:
        shutil.rmtree(disturbed, ignore_errors=True)
        shutil.copytree(whole / "shards", disturbed / "shards")

    only_milled()
    arguments = command(chosen, folder, disturbed, backend)
    began = time.monotonic()
    assert finish(start(arguments, log)) == 0, log.read_text()
    span, rng, killed = time.monotonic() - began, random.Random(f"hygiene-{backend}-{KILLS}"), 0
    only_milled()
    while killed < KILLS:
        process = start(arguments, log)
        killed += kill_at_random(process, rng, span)
        if finish(process) == 0:
            assert tree(disturbed) == tree(whole)
            only_milled()
    assert finish(start(arguments, log)) == 0, log.read_text()
    assert tree(disturbed) == tree(whole)
