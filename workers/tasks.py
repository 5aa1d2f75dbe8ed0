"""What a worker can be asked to do.  A task is a name and a number; everything else is in the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import RunError
from pipelines.comparison import perform as perform_step
from pipelines.mill import mill_shard
from pipelines.plan import Plan, rebuild_plan
from pipelines.publish import publish_shard
from pipelines.storage import Storage


@dataclass(frozen=True)
class Task:
    """One unit of work, of retry and of commit.

    Attributes:
        kind: ``mill`` takes a shard through all stages, ``publish`` writes its parts of the corpus; anything else
            is a step of the comparison.
        part: place of the shard in the plan, or number of the step's part.
        name: for people.
        size: amount of work, for progress.
    """

    kind: str
    part: int
    name: str
    size: int


@dataclass(frozen=True)
class Job:
    """All that a worker must know of a run, as plain data.

    Attributes:
        run: ``Plan.plain``.
        models_root: folder of relative model paths, as it is on the worker.
        output: root of the run.
        cache_key: publication key; a worker builds the plan once for it.
    """

    run: dict[str, Any]
    models_root: str
    output: str
    cache_key: str


_plans: dict[str, Plan] = {}


def perform(job: Job, task: Task) -> dict[str, Any]:
    """Do a task; a plain function that knows nothing of where it runs.

    Returns:
        What a ``mill`` gave, as plain data; empty for all else.
    """
    plan = plan_of(job)
    storage = Storage(job.output)
    if task.kind == "mill":
        return mill_shard(plan, plan.shards[task.part], storage).plain()
    if task.kind == "publish":
        publish_shard(plan, plan.shards[task.part], storage)
    else:
        perform_step(plan, storage, task.kind, task.part)
    return {}


def plan_of(job: Job) -> Plan:
    """The job's plan, built once in each process."""
    if job.cache_key not in _plans:
        plan = rebuild_plan(job.run, Path(job.models_root))
        if plan.publication_key() != job.cache_key:
            raise RunError(
                "this worker would compute something else than was planned: its models or library versions differ "
                "from the driver's; install the same versions and the same model files everywhere"
            )
        _plans.clear()
        _plans[job.cache_key] = plan
    return _plans[job.cache_key]


def remember(job: Job, plan: Plan) -> None:
    """Let tasks in this very process use a plan that is built already."""
    _plans.clear()
    _plans[job.cache_key] = plan
