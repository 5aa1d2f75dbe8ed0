"""The inline backend: this process, or a pool of processes on this machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from workers.executor import Outcome, WorkerDied
from workers.tasks import Job, Task, perform

# One thread for each worker: more processes, not more threads, use the other cores.
SINGLE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
} | {"TOKENIZERS_PARALLELISM": "false"}


def single_threaded() -> None:
    """Make this process and its children use one thread each for number crunching."""
    for name, value in SINGLE_THREAD.items():
        os.environ.setdefault(name, value)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it dies (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() == 1:
            os._exit(1)


@dataclass(frozen=True, eq=False)
class Pending:
    """A task that waits for this process to do it."""

    job: Job
    task: Task


class ThisProcess:
    """Runs one task after another, here."""

    slots = 1

    def submit(self, job: Job, task: Task) -> Pending:
        """Remember the task; ``wait`` does it."""
        return Pending(job, task)

    def wait(self, handles: Sequence[Pending]) -> list[Outcome]:
        """Do the task."""
        handle = handles[0]
        try:
            return [Outcome(handle, perform(handle.job, handle.task))]
        except Exception as error:
            return [Outcome(handle, error=error)]

    def close(self) -> None:
        """Nothing to stop."""


class ProcessPool:
    """Runs tasks in processes of this machine; a killed process costs its task one attempt.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, job: Job, task: Task) -> Future[dict[str, Any]]:
        """Start a task, in a new pool when the last one broke."""
        for _ in range(3):
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.slots, mp_context=context, initializer=_initialise)
            try:
                return self._pool.submit(perform, job, task)
            except BrokenProcessPool:
                self._discard()
        raise WorkerDied("worker processes die as soon as they start")

    def wait(self, handles: Sequence[Future[dict[str, Any]]]) -> list[Outcome]:
        """Wait for the first tasks to end; all tasks of a broken pool end with it."""
        done, _ = wait(handles, return_when=FIRST_COMPLETED)
        outcomes = []
        for future in handles:
            if future in done:
                outcomes.append(self._outcome(future))
        return outcomes

    def _outcome(self, future: Future[dict[str, Any]]) -> Outcome:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._discard()
            return Outcome(future, error=WorkerDied("a worker process was killed"))
        return Outcome(future, error=error) if error else Outcome(future, future.result())

    def _discard(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        """Stop the processes, whatever they are doing: what is not committed does not count."""
        if self._pool is not None:
            processes = list((getattr(self._pool, "_processes", None) or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                with suppress(OSError, ValueError):
                    process.kill()
            self._pool = None


def _initialise() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what an interrupt means
