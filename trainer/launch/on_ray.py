"""``python -m trainer.launch.on_ray --job FILE``: the same job on a machine of a Ray cluster.

An actor there starts the trainer as a process, and hands on what it says; this process says it again, passes SIGTERM
on, and ends with the trainer's exit code.  So whoever starts this one sees a trainer (docs/trainings.md).  The folders
of the job must be there on all machines of the cluster.  An actor ends with this process, and its trainer with it.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import ray

OBJECT_STORE_BYTES = 100 << 20  # of a cluster that is started here: no more than lines go through it
WAIT_SECONDS = 0.25
AT_ONCE = 1000  # lines
OUT, ERRORS = 1, 2  # file descriptors


class Heard(NamedTuple):
    """What a trainer said since it was asked last.

    lines: with the descriptor that each was written to.
    code: when it has ended and all was heard.
    """

    lines: list[tuple[int, bytes]]
    code: int | None


class Host:
    """A trainer's process; as an actor, on whatever machine the cluster has chosen.

    Args:
        command: the trainer's.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=_dies_with(os.getpid()),
        )  # fmt: skip
        self._lines: queue.Queue[tuple[int, bytes]] = queue.Queue(maxsize=10 * AT_ONCE)
        pipes = ((OUT, self._process.stdout), (ERRORS, self._process.stderr))
        self._readers = [threading.Thread(target=self._read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, descriptor: int, pipe: IO[bytes]) -> None:
        for line in pipe:
            self._lines.put((descriptor, line))

    def hear(self) -> Heard:
        """What it said; waits a moment where it says nothing."""
        ended = not any(reader.is_alive() for reader in self._readers)  # before the last look, so that none is missed
        lines = []
        try:
            lines.append(self._lines.get(timeout=0.0 if ended else WAIT_SECONDS))
            while len(lines) < AT_ONCE:
                lines.append(self._lines.get_nowait())
        except queue.Empty:
            return Heard(lines, self._process.wait() if ended else None)
        return Heard(lines, None)

    def stop(self) -> None:
        """Let it save its state."""
        self._process.terminate()


def _dies_with(parent: int) -> Callable[[], None]:
    """For a new process: the kernel kills it when the one that started it dies (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def ask() -> None:
        if libc is not None:
            pr_set_pdeathsig = 1
            libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return ask


def follow(host: Any, asked_to_stop: threading.Event) -> int:
    """Say again what an actor hears, until its trainer has ended; returns the exit code."""
    passed_on = False
    while True:
        if asked_to_stop.is_set() and not passed_on:
            host.stop.remote()
            passed_on = True
        heard: Heard = ray.get(host.hear.remote())
        for descriptor, line in heard.lines:
            stream = sys.stdout.buffer if descriptor == OUT else sys.stderr.buffer
            stream.write(line)
            stream.flush()
        if heard.code is not None:
            return heard.code if heard.code >= 0 else 128 - heard.code  # as shells say that of a signal


def main(arguments: list[str] | None = None) -> int:
    """Do a job on the cluster; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.launch.on_ray", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="JSON: task, datasets, models, config, output")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="of a cluster; one is started without")
    parser.add_argument("--cpus", type=float, default=1.0, help="that the trainer is given")
    parser.add_argument("--gpus", type=float, help="default: one where the cluster has any")
    given = parser.parse_args(arguments)
    asked_to_stop = threading.Event()
    here: dict[str, Any] = {
        "num_cpus": max(1, math.ceil(given.cpus)), "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }  # fmt: skip
    ray.init(given.address, log_to_driver=False, logging_level="ERROR", **({} if given.address else here))
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())  # after Ray, which has one of its own
    try:
        gpus = min(1.0, ray.cluster_resources().get("GPU", 0.0)) if given.gpus is None else given.gpus
        actor = ray.remote(Host).options(num_cpus=given.cpus, num_gpus=gpus)
        command = [sys.executable, "-m", "trainer", "--job", str(given.job.absolute())]
        return follow(actor.remote(command), asked_to_stop)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
