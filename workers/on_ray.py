"""The Ray backend: the same tasks, as Ray tasks.

Paths, keys and counts travel through Ray; text does not.  Ray's own retries are off, so that every attempt is
ours and can be recorded.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curation.errors import InputError
from workers.classifiers import RemoteScorer, start_classifiers, use_classifiers
from workers.executor import Outcome, WorkerDied
from workers.inline import SINGLE_THREAD
from workers.tasks import Job, Task, perform, plan_of

OBJECT_STORE_BYTES = 200 << 20

START_VARIABLE = "GRISTMILL_RAY_START_SECONDS"
START_SECONDS = 120


class RayTasks:
    """Runs tasks on a Ray cluster, or on a small one that it starts on this machine.

    Args:
        workers: tasks in flight at once; for a local cluster also its number of processors.
        address: of a running cluster; None starts one here and stops it at the end.
    """

    def __init__(self, workers: int, address: str | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise InputError("the Ray backend needs the extra 'ray': pip install 'gristmill[ray]'") from None
        self.slots = workers
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            _start(ray, workers, address)
        self._perform = ray.remote(_perform).options(max_retries=0, num_cpus=1)
        self._prepared: tuple[str, Any] | None = None

    def submit(self, job: Job, task: Task) -> Any:
        """Start a task; what all tasks of a job share is put into the object store once."""
        if self._prepared is None or self._prepared[0] != job.cache_key:
            scorers = start_classifiers(self._ray, plan_of(job), max(1, self.slots // 4))
            self._prepared = (job.cache_key, self._ray.put((job, scorers)))
        return self._perform.remote(self._prepared[1], task)

    def wait(self, handles: Sequence[Any]) -> list[Outcome]:
        """Wait for the first tasks to end."""
        done, _ = self._ray.wait(list(handles), num_returns=1)
        return [self._outcome(handle) for handle in done]

    def _outcome(self, handle: Any) -> Outcome:
        exceptions = self._ray.exceptions
        try:
            return Outcome(handle, self._ray.get(handle))
        except exceptions.RayTaskError as error:
            return Outcome(handle, error=error.cause if isinstance(error.cause, Exception) else error)
        except exceptions.RayError as error:
            return Outcome(handle, error=WorkerDied(type(error).__name__))

    def close(self) -> None:
        """Leave the cluster; end it if it was started here."""
        self._prepared = None
        if self._started:
            self._ray.shutdown()


def _perform(shared: tuple[Job, dict[str, RemoteScorer]], task: Task) -> dict[str, Any]:
    job, scorers = shared
    use_classifiers(plan_of(job), scorers)
    return perform(job, task)


def _start(ray: Any, workers: int, address: str | None) -> None:
    environment = {"env_vars": {**SINGLE_THREAD, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}}
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": environment}
    if address is None:
        options |= {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        with _ended_if_stuck(float(os.environ.get(START_VARIABLE) or START_SECONDS)):
            ray.init(address=address, **options)
    except _refusals(ray) as error:
        raise InputError(f"cannot reach a Ray cluster: {error}", address) from None


def _refusals(ray: Any) -> tuple[type[Exception], ...]:
    """What Ray raises where a cluster is not there, or wants another token (in the versions that know tokens)."""
    kind: type[Exception] = getattr(ray.exceptions, "AuthenticationError", ConnectionError)
    return (ConnectionError, ValueError, OSError, kind)


@contextmanager
def _ended_if_stuck(seconds: float) -> Iterator[None]:
    """End this process if the block takes too long.

    When one of Ray's own processes dies while Ray starts, ``ray.init`` waits for it for ever, in native code that
    nothing can interrupt, and sometimes with Python's lock in its hands.  So a thread says what is wrong, and
    where even that cannot run, faulthandler's thread, which needs no lock, ends the process.
    """

    def give_up() -> None:
        print(
            f"gristmill: Ray did not start within {seconds:g} seconds (was one of its processes killed?); nothing "
            f"committed is lost, the same command goes on; {START_VARIABLE} sets another limit",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(seconds + 5, exit=True)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()
