"""The seam between what a run does and where: submit tasks, wait for some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from curation.errors import GristmillError, RunError
from workers.tasks import Job, Task

MAX_ATTEMPTS = 5


class WorkerDied(Exception):
    """The process that worked on a task is gone: killed, out of memory, its node lost."""


@dataclass
class Outcome:
    """How one attempt at a task ended: with a result or an error."""

    handle: Any
    result: dict[str, Any] | None = None
    error: BaseException | None = None


class Executor(Protocol):
    """Runs tasks somewhere.

    Attributes:
        slots: how many tasks are usefully in flight at once.
    """

    slots: int

    def submit(self, job: Job, task: Task) -> Any:
        """Start a task; return a handle."""

    def wait(self, handles: Sequence[Any]) -> list[Outcome]:
        """Wait until at least one of the tasks in flight has ended."""

    def close(self) -> None:
        """Stop everything that was started."""


def run_tasks(
    executor: Executor,
    job: Job,
    tasks: Sequence[Task],
    on_done: Callable[[Task, dict[str, Any]], None],
    on_retry: Callable[[Task, int, str], None],
) -> None:
    """Run tasks with a bounded number in flight; attempts that the machine failed are made again.

    The order of completion does not matter to anyone: tasks commit on their own.

    Args:
        on_done: called with each task that is done and its result.
        on_retry: called with task, number of the attempt that failed, and why.

    Raises:
        GristmillError: the first error that trying again would not help; tasks in flight are abandoned,
            what was committed stays.
    """
    waiting = list(reversed(tasks))
    attempts: dict[Task, int] = {}
    flying: dict[Any, Task] = {}
    while waiting or flying:
        while waiting and len(flying) < executor.slots:
            task = waiting.pop()
            attempts[task] = attempts.get(task, 0) + 1
            flying[executor.submit(job, task)] = task
        for outcome in executor.wait(list(flying)):
            task = flying.pop(outcome.handle)
            if outcome.error is None:
                on_done(task, outcome.result or {})
            elif worth_another(outcome.error) and attempts[task] < MAX_ATTEMPTS:
                on_retry(task, attempts[task], describe(outcome.error))
                waiting.append(task)
            else:
                raise _final(task, outcome.error, attempts[task])


def describe(error: BaseException) -> str:
    """One line about an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def worth_another(error: BaseException) -> bool:
    """Whether the machine failed, not the work: lost workers, disks and networks, memory."""
    return isinstance(error, (WorkerDied, OSError, MemoryError)) and not isinstance(error, GristmillError)


def _final(task: Task, error: BaseException, attempts: int) -> BaseException:
    if isinstance(error, GristmillError):
        return error
    if isinstance(error, WorkerDied):
        message = f"{task.name}: the worker died {attempts} times at this shard ({error}); is memory short?"
        return RunError(message)
    if isinstance(error, MemoryError):
        message = f"{task.name}: not enough memory, {attempts} times ({describe(error)}); run fewer workers at once"
        return RunError(f"{message}, or lower read.max_record_bytes if it is one huge document")
    if isinstance(error, OSError):
        return RunError(f"{task.name}: {describe(error)}, after {attempts} attempts")
    return error
