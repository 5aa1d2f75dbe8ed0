"""Lost workers cost attempts, errors end the run, and no more than the slots are ever in flight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from curation.errors import InputError, RunError
from workers.executor import MAX_ATTEMPTS, Outcome, WorkerDied, run_tasks
from workers.tasks import Job, Task

JOB = Job({}, ".", "out", "key")


class Scripted:
    """Ends each task as its script says: a list of errors, then a result."""

    def __init__(self, script: dict[str, list[BaseException]], slots: int = 2) -> None:
        self.slots, self.script, self.flying, self.most = slots, script, 0, 0
        self.count = 0

    def submit(self, job: Job, task: Task) -> Any:
        self.flying += 1
        self.most = max(self.most, self.flying)
        self.count += 1
        return (self.count, task)

    def wait(self, handles: Sequence[Any]) -> list[Outcome]:
        handle = handles[-1]
        self.flying -= 1
        errors = self.script.get(handle[1].name, [])
        return [Outcome(handle, error=errors.pop(0))] if errors else [Outcome(handle, {"shard": handle[1].name})]

    def close(self) -> None:
        pass


def tasks(count: int) -> list[Task]:
    return [Task("mill", i, f"s{i}", 1) for i in range(count)]


def test_every_task_is_done_once_with_bounded_flight() -> None:
    executor, done = Scripted({}, slots=3), []
    run_tasks(executor, JOB, tasks(20), lambda task, _: done.append(task.name), lambda *_: None)
    assert sorted(done) == sorted(f"s{i}" for i in range(20))
    assert executor.most == 3


def test_a_lost_worker_costs_an_attempt() -> None:
    retries: list[tuple[str, int]] = []
    done: list[str] = []
    script = {"s1": [WorkerDied("killed"), OSError("disk")]}
    run_tasks(
        Scripted(script), JOB, tasks(3),
        lambda task, _: done.append(task.name), lambda task, n, why: retries.append((task.name, n)),
    )  # fmt: skip
    assert sorted(done) == ["s0", "s1", "s2"]
    assert retries == [("s1", 1), ("s1", 2)]


def test_a_shard_that_kills_its_workers_ends_the_run() -> None:
    script: dict[str, list[BaseException]] = {"s0": [WorkerDied("killed") for _ in range(9)]}
    with pytest.raises(RunError, match=rf"s0: the worker died {MAX_ATTEMPTS} times"):
        run_tasks(Scripted(script), JOB, tasks(1), lambda *_: None, lambda *_: None)


def test_bad_input_is_not_tried_again() -> None:
    script: dict[str, list[BaseException]] = {"s0": [InputError("no text column", "x.parquet")]}
    with pytest.raises(InputError, match=r"x\.parquet: no text column"):
        run_tasks(Scripted(script), JOB, tasks(1), lambda *_: None, lambda *_: pytest.fail("no retry"))


def test_short_memory_is_tried_again_and_then_named() -> None:
    done: list[str] = []
    script: dict[str, list[BaseException]] = {"s0": [MemoryError("no room"), pa.ArrowMemoryError("malloc failed")]}
    run_tasks(Scripted(script), JOB, tasks(1), lambda task, _: done.append(task.name), lambda *_: None)
    assert done == ["s0"]
    script = {"s0": [MemoryError("no room") for _ in range(9)]}
    with pytest.raises(RunError, match=rf"s0: not enough memory, {MAX_ATTEMPTS} times .*no room.*fewer workers"):
        run_tasks(Scripted(script), JOB, tasks(1), lambda *_: None, lambda *_: None)
