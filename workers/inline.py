"""The inline backend: this process, or a pool of processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any

from workers.executor import Outcome, WorkerDied, worth_another
from workers.process import serve
from workers.tasks import Job, Task, perform

# One thread for each worker: more processes, not more threads, use the other cores.
SINGLE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
} | {"TOKENIZERS_PARALLELISM": "false"}

_REAPED_WITHIN = 5.0  # seconds in which a process that has ended is found to have


def single_threaded() -> None:
    """Make this process and its children use one thread each for number crunching."""
    for name, value in SINGLE_THREAD.items():
        os.environ.setdefault(name, value)


@dataclass(frozen=True, eq=False)
class Pending:
    """A task in flight."""

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
    """Runs tasks in processes of this machine, each of which has one task at a time.

    A killed process costs the task it worked on one attempt, and no other task anything.  A job is pickled once
    and handed to each process once, however many tasks it does of it.

    Args:
        workers: number of processes; ``submit`` starts them as they are needed.
        perform: what a task means; a function that can be imported.
    """

    def __init__(self, workers: int, perform: Callable[[Job, Task], dict[str, Any]] = perform) -> None:
        self.slots = workers
        self._perform = perform
        self._idle: list[_Worker] = []
        self._busy: dict[Pending, _Worker] = {}
        self._job: Job | None = None
        self._packed = b""

    def submit(self, job: Job, task: Task) -> Pending:
        """Give a task to an idle process, or to a new one; no more tasks than slots may be in flight."""
        if self._job is not job:
            self._job, self._packed = job, pickle.dumps(job)
        handle = Pending(job, task)
        self._busy[handle] = self._employ(task)
        return handle

    def _employ(self, task: Task) -> _Worker:
        """A process that has got the task."""
        while self._idle:
            worker = self._idle.pop()
            if worker.give(self._perform, self._packed, task):
                return worker
            worker.end()  # it died while it had nothing to do: no task is to blame
        worker = _Worker()
        worker.give(self._perform, self._packed, task)  # if it is dead already, ``wait`` says so
        return worker

    def wait(self, handles: Sequence[Pending]) -> list[Outcome]:
        """Wait for the first tasks to end, or their processes."""
        lines = {self._busy[handle].line: handle for handle in handles}
        ready: list[Any] = connection.wait(list(lines))
        return [self._outcome(lines[line]) for line in ready]

    def _outcome(self, handle: Pending) -> Outcome:
        worker = self._busy.pop(handle)
        try:
            result, error, trace = worker.answer()
        except (EOFError, OSError):
            return Outcome(handle, error=WorkerDied(worker.ending()))
        if error is None:
            self._idle.append(worker)
            return Outcome(handle, result)
        error.add_note(f"In a worker process:\n{trace}")
        if worth_another(error):
            worker.end()  # what went wrong may sit in the process: memory in pieces, a GPU that gave up
        else:
            self._idle.append(worker)
        return Outcome(handle, error=error)

    def close(self) -> None:
        """Stop the processes, whatever they are doing: what is not committed does not count."""
        workers = [*self._idle, *self._busy.values()]
        self._idle, self._busy = [], {}
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.end()


class _Worker:
    """A process of the pool and the line to it.

    Only the process itself holds the other end of the line, so the line ends when the process does.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self._has: bytes | None = None

    def give(self, perform: Callable[[Job, Task], dict[str, Any]], job: bytes, task: Task) -> bool:
        """Send a task, with its job unless the process has it; whether there was somebody to take it."""
        try:
            self.line.send_bytes(pickle.dumps((perform, None if self._has is job else job, task)))
        except OSError:
            return False
        self._has = job
        return True

    def answer(self) -> Any:
        """Result, error, traceback of the task; raises when the process is gone."""
        return self.line.recv()

    def ending(self) -> str:
        """How the process ended; it is gone afterwards."""
        self._process.join(_REAPED_WITHIN)
        code = self._process.exitcode
        self.end()
        if code is None or code >= 0:
            return f"a worker process ended (status {code})"
        return f"a worker process was killed (signal {-code})"

    def kill(self) -> None:
        """Ask for the end of the process."""
        self._process.kill()

    def end(self) -> None:
        """End the process and wait until it has."""
        self._process.kill()
        self.line.close()
        self._process.join(_REAPED_WITHIN)
