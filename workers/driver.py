"""The driver: one attempt at a run, from plan to manifest, on whatever executor it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from curation.errors import RunError
from pipelines.comparison import phases
from pipelines.estimate import disk_free, disk_need
from pipelines.output import FOLDERS, check_output, held
from pipelines.plan import Plan
from pipelines.publish import begin_publication, finish_publication, finished
from pipelines.storage import Storage
from workers.executor import Executor, run_tasks
from workers.inline import ProcessPool, ThisProcess, single_threaded
from workers.tasks import Job, Task, remember


class Watcher(Protocol):
    """Is told how a run goes on."""

    def disk(self, low: int, high: int, free: int | None) -> None:
        """Before anything is written: bytes that the run needs, and that are there (None where unknown)."""

    def phase(self, name: str, total: int) -> None:
        """A phase begins; ``total`` units of work lie ahead."""

    def advance(self, amount: int, what: str) -> None:
        """Some of it is done."""

    def milled(self, result: dict[str, Any]) -> None:
        """A shard went through all stages; what it gave, as ``Milled.plain`` has it."""

    def retry(self, what: str, attempt: int, why: str) -> None:
        """An attempt failed and is made again."""


class Silent:
    """Watches without a word."""

    def disk(self, low: int, high: int, free: int | None) -> None:
        """Says nothing."""

    def phase(self, name: str, total: int) -> None:
        """Says nothing."""

    def advance(self, amount: int, what: str) -> None:
        """Says nothing."""

    def milled(self, result: dict[str, Any]) -> None:
        """Says nothing."""

    def retry(self, what: str, attempt: int, why: str) -> None:
        """Says nothing."""


@dataclass
class RunResult:
    """How a run ended.

    Attributes:
        manifest: of the finished run.
        did_nothing: whether it had been finished before.
        computed: how many results of each stage were computed now.
    """

    manifest: dict[str, Any]
    did_nothing: bool = False
    computed: dict[str, int] = field(default_factory=dict)


def make_executor(backend: Literal["inline", "ray"], workers: int, address: str | None = None) -> Executor:
    """The executor of a backend.

    Args:
        workers: tasks at once; 1 on the inline backend means this very process.
        address: of a Ray cluster.
    """
    single_threaded()
    if backend == "ray":
        from workers.on_ray import RayTasks

        return RayTasks(workers, address)
    return ThisProcess() if workers == 1 else ProcessPool(workers)


def run(
    plan: Plan,
    output: str,
    start: Callable[[], Executor],
    watcher: Watcher | None = None,
    inputs: Sequence[str] = (),
) -> RunResult:
    """Run a plan, or go on with it, or find that it is finished.

    Args:
        output: root of the run.
        start: makes the executor; not called when there is nothing to do.
        inputs: as the user named them, to see that the output is not among them.

    Raises:
        InputError: for an output that is not a run's.
        RunError: when the run cannot keep its promise.  What was committed stays for the next attempt.
    """
    watcher = watcher or Silent()
    storage = Storage(output)
    check_output(storage, plan.shards, inputs)
    with held(storage):
        storage.sweep(FOLDERS)
        manifest = finished(plan, storage)
        if manifest is not None:
            return RunResult(manifest, did_nothing=True)
        watcher.disk(*disk_need(plan.shards), disk_free(storage))
        milled = _work(plan, storage, output, start, watcher)
        manifest = finish_publication(plan, storage)
        storage.sweep(FOLDERS)
    computed: dict[str, int] = {}
    for result in milled:
        for stage in result["computed"]:
            computed[stage] = computed.get(stage, 0) + 1
    return RunResult(manifest, computed=computed)


def _work(
    plan: Plan, storage: Storage, output: str, start: Callable[[], Executor], watcher: Watcher
) -> list[dict[str, Any]]:
    """Everything up to the last part; returns what milling gave."""
    models_root = os.path.abspath(plan.recipe.models_root)
    job = Job(plan.plain(), models_root, _absolute(output), plan.publication_key())
    remember(job, plan)
    executor = start()
    try:
        milled = _mill(executor, job, plan, watcher)
        _check_quarantine(plan, milled)
        for phase in phases(plan, storage):
            tasks = [Task(phase.step, part, f"{phase.step} {part}", 1) for part in range(phase.parts)]
            _run_phase(executor, job, phase.title, tasks, watcher)
        begin_publication(plan, storage)
        tasks = [Task("publish", number, shard.name, 1) for number, shard in enumerate(plan.shards)]
        _run_phase(executor, job, "publishing", tasks, watcher)
    finally:
        executor.close()
    return milled


def _run_phase(executor: Executor, job: Job, title: str, tasks: list[Task], watcher: Watcher) -> None:
    watcher.phase(title, len(tasks))
    run_tasks(
        executor, job, tasks,
        lambda task, _: watcher.advance(1, task.name),
        lambda task, attempt, why: watcher.retry(task.name, attempt, why),
    )  # fmt: skip


def _mill(executor: Executor, job: Job, plan: Plan, watcher: Watcher) -> list[dict[str, Any]]:
    tasks = [Task("mill", number, shard.name, shard.size) for number, shard in enumerate(plan.shards)]
    # Large shards first: the last worker to finish should not have begun with the largest.
    tasks.sort(key=lambda task: (-task.size, task.part))
    watcher.phase("milling", sum(task.size for task in tasks))
    results: list[dict[str, Any]] = []

    def done(task: Task, result: dict[str, Any]) -> None:
        results.append(result)
        watcher.milled(result)
        watcher.advance(task.size, task.name)

    run_tasks(executor, job, tasks, done, lambda task, attempt, why: watcher.retry(task.name, attempt, why))
    return results


def _check_quarantine(plan: Plan, milled: list[dict[str, Any]]) -> None:
    limit = plan.recipe.recipe.limits.max_quarantined_share
    records = sum(result["records"] for result in milled)
    errors: dict[str, int] = {}
    for result in milled:
        for name, count in result["errors"].items():
            errors[name] = errors.get(name, 0) + count
    total = sum(errors.values())
    if limit is None or total <= limit * records:
        return
    worst = max(milled, key=lambda result: sum(result["errors"].values()))
    name = next(shard.name for shard in plan.shards if shard.identity == worst["identity"])
    classes = ", ".join(f"{error} {count}" for error, count in sorted(errors.items(), key=lambda e: (-e[1], e[0])))
    raise RunError(
        f"{total} of {records} records are quarantined, more than limits.max_quarantined_share = {limit} allows "
        f"({classes}; most of them in {name}); nothing was published"
    )


def _absolute(output: str) -> str:
    return output if "://" in output else os.path.abspath(os.path.expanduser(output))
