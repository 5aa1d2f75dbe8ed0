"""The pool of processes: a killed one costs its own task an attempt, and nothing else; all end with the driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.errors import RunError
from tests.support.corpus import english, write_jsonl
from tests.support.runs import tree, write_recipe
from workers.executor import MAX_ATTEMPTS, Executor, run_tasks
from workers.inline import ProcessPool
from workers.tasks import Job, Task


def job_in(folder: Path) -> Job:
    return Job({"said": "once"}, ".", str(folder), "key")


def tasks(*names: str) -> list[Task]:
    return [Task("mill", number, name, 1) for number, name in enumerate(names)]


def note(job: Job, task: Task) -> int:
    """Write down an attempt: a file with the process id.  Returns the number of the attempt."""
    number = len(list(Path(job.output).glob(f"{task.name}.*"))) + 1
    half = Path(job.output) / f".{task.name}"
    half.write_text(str(os.getpid()))
    half.rename(Path(job.output) / f"{task.name}.{number}")
    return number


def process_of(folder: Path, name: str, attempt: int = 1) -> int:
    """The process that makes an attempt, once it does."""
    path = folder / f"{name}.{attempt}"
    wait_until(path.exists)
    return int(path.read_text())


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    """Whether a process has ended; a zombie has, though nobody asked how."""
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_for_go(job: Job, task: Task) -> dict[str, Any]:
    number = note(job, task)
    wait_until((Path(job.output) / "go").exists)
    return {"attempt": number, "said": job.run["said"]}


def say_process(job: Job, task: Task) -> dict[str, Any]:
    note(job, task)
    return {"process": os.getpid(), "said": job.run["said"]}


class Stubborn(Exception):
    """Cannot be made again from its pickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def fail(job: Job, task: Task) -> dict[str, Any]:
    number = note(job, task)
    if task.name == "hungry" and number < 3:
        raise MemoryError("no room")
    if task.name == "stubborn":
        raise Stubborn("what it said", "more")
    if task.name == "wrong":
        raise ZeroDivisionError("division by naught")
    if task.name == "leaving":
        sys.exit(0)
    if task.name == "dying":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"process": os.getpid()}


Retries = list[tuple[str, int, str]]


def run_all(pool: Executor, job: Job, wanted: list[Task]) -> tuple[dict[str, dict[str, Any]], Retries]:
    results: dict[str, dict[str, Any]] = {}
    retries: Retries = []
    try:
        run_tasks(
            pool, job, wanted,
            lambda task, result: results.update({task.name: result}),
            lambda task, attempt, why: retries.append((task.name, attempt, why)),
        )  # fmt: skip
    finally:
        pool.close()
    return results, retries


def test_a_killed_worker_costs_only_its_own_task(tmp_path: Path) -> None:
    def disturb() -> None:
        victim, other = process_of(tmp_path, "a"), process_of(tmp_path, "b")
        assert victim != other
        os.kill(victim, signal.SIGKILL)
        process_of(tmp_path, "a", attempt=2)  # b is still at it while a is tried again
        (tmp_path / "go").touch()

    killer = threading.Thread(target=disturb)
    killer.start()
    results, retries = run_all(ProcessPool(2, wait_for_go), job_in(tmp_path), tasks("a", "b"))
    killer.join()
    assert results == {"a": {"attempt": 2, "said": "once"}, "b": {"attempt": 1, "said": "once"}}
    assert [(name, attempt) for name, attempt, _ in retries] == [("a", 1)]
    assert "signal 9" in retries[0][2]


def test_a_worker_killed_while_idle_costs_nothing(tmp_path: Path) -> None:
    pool, job = ProcessPool(1, say_process), job_in(tmp_path)
    first, second = tasks("first", "second")
    [outcome] = pool.wait([pool.submit(job, first)])
    assert outcome.result is not None
    victim = outcome.result["process"]
    os.kill(victim, signal.SIGKILL)
    os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)  # with all its threads, so that its end of the line is closed
    results, retries = run_all(pool, job, [second])
    assert results["second"]["process"] != victim and results["second"]["said"] == "once"
    assert retries == []


class Counted(Job):
    """Counts how often it is pickled."""

    pickled = 0

    def __reduce__(self) -> Any:
        Counted.pickled += 1
        return (Job, (self.run, self.models_root, self.output, self.cache_key))


def test_a_job_is_pickled_once_and_two_jobs_are_not_mixed_up(tmp_path: Path) -> None:
    pool = ProcessPool(2, say_process)
    job = Counted({"said": "first"}, ".", str(tmp_path), "key")
    Counted.pickled = 0
    said = []
    for given, names in ((job, "abcdefgh"), (Job({"said": "second"}, ".", str(tmp_path), "key"), "ij")):
        waiting, flying = tasks(*names), []
        while waiting or flying:
            while waiting and len(flying) < pool.slots:
                flying.append(pool.submit(given, waiting.pop()))
            for outcome in pool.wait(flying):
                flying.remove(outcome.handle)
                assert outcome.result is not None, outcome.error
                said.append(outcome.result["said"])
    pool.close()
    assert said == ["first"] * 8 + ["second"] * 2
    assert Counted.pickled == 1


def test_short_memory_is_tried_again_in_a_fresh_process(tmp_path: Path) -> None:
    results, retries = run_all(ProcessPool(1, fail), job_in(tmp_path), tasks("hungry"))
    assert retries == [("hungry", 1, "MemoryError: no room"), ("hungry", 2, "MemoryError: no room")]
    assert len({process_of(tmp_path, "hungry", attempt) for attempt in (1, 2, 3)}) == 3
    assert results["hungry"]["process"] == process_of(tmp_path, "hungry", 3)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("wrong", ZeroDivisionError, "^division by naught\nIn a worker process:\nTraceback"),
        ("stubborn", RuntimeError, "Stubborn: what it said"),
        ("leaving", RuntimeError, "SystemExit: 0"),
        ("dying", RunError, rf"dying: the worker died {MAX_ATTEMPTS} times .*signal 9"),
    ],
)
def test_errors_arrive_as_they_are(name: str, kind: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message) as caught:
        run_all(ProcessPool(1, fail), job_in(tmp_path), tasks(name))
    if kind is not RunError:
        assert any("test_pool.py" in note and "in fail" in note for note in caught.value.__notes__)


def test_close_ends_busy_and_idle_processes(tmp_path: Path) -> None:
    pool, job = ProcessPool(2, wait_for_go), job_in(tmp_path)
    pool.submit(job, tasks("a")[0])
    pool.submit(job, tasks("b")[0])
    processes = [process_of(tmp_path, "a"), process_of(tmp_path, "b")]
    pool.close()
    assert all(is_gone(process) for process in processes)


def test_an_orphan_is_told_by_its_parent_not_by_the_number_one() -> None:
    code = "import sys; from workers.process import die_with_parent; die_with_parent(int(sys.argv[1])); print('lives')"
    for parent, said in ((os.getpid(), "lives"), (1, ""), (os.getppid(), "")):
        command = [sys.executable, "-c", code, str(parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.returncode) == (said, 0 if said else 1), done.stderr


def own_process_namespace() -> list[str]:
    """What makes a command process 1; the test is skipped where the kernel does not let us."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no process namespaces here")
    return command


@pytest.mark.slow
def test_the_driver_may_be_process_one(tmp_path: Path) -> None:
    shards = [write_jsonl(tmp_path / f"s{n}.jsonl", [{"text": english(n * 9 + i)} for i in range(5)]) for n in (0, 1)]
    run = [sys.executable, "-m", "cli.main", "run", str(write_recipe(tmp_path)), *map(str, shards), "--quiet"]
    for name, prefix in (("one", own_process_namespace()), ("plain", [])):
        command = [*prefix, *run, "--output", str(tmp_path / name), "--workers", "2"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
    assert tree(tmp_path / "one") == tree(tmp_path / "plain")
