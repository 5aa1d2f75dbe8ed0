"""A question answered by a process of its own, with bounded memory and time.

What is asked comes from outside, and a run may be large: whoever asks waits so long and gives so much, no more.
The process reads one JSON object and writes one; it loads no model and no stage.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from curation.errors import InputError, RunError

# How a process says that its address space is full, when it can still say something.
_NO_MEMORY = ("MemoryError", "bad_alloc", "annot allocate memory", "out of memory", "failed to map", "start new thread")
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
_ERRORS = {"InputError": InputError, "RunError": RunError}


class TooSlowError(RunError):
    """There was no answer in the time given."""


class TooMuchMemoryError(RunError):
    """The answer needs more memory than was given."""


def ask_in_child(
    directory: str,
    thresholds: Mapping[str, Any],
    samples: int = 5,
    memory_bytes: int = 2 << 30,
    seconds: float = 30,
) -> dict[str, Any]:
    """What a finished run would have kept with other thresholds; see :func:`pipelines.what_if.answer.what_if`.

    Args:
        directory: of the run.
        memory_bytes: address space of the process.
        seconds: until there must be an answer, and as many of each processor.

    Raises:
        InputError: for a question that the run cannot have, or no finished run.
        RunError: for a run that cannot be read.
        TooSlowError, TooMuchMemoryError: beyond the limits.
    """
    question = {"directory": directory, "thresholds": dict(thresholds), "samples": samples, "memory": memory_bytes}
    question["seconds"] = math.ceil(seconds * (os.cpu_count() or 1))
    # Arrow's own allocators reserve address space far beyond what they use.
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "ARROW_DEFAULT_MEMORY_POOL": "system"}
    command = [sys.executable, "-m", "pipelines.what_if.child"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(question).encode(),
            capture_output=True,
            env=environment,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(seconds) from None
    if done.returncode == 0:
        return _answer(json.loads(done.stdout))
    said = done.stderr.decode(errors="replace")
    if done.returncode == -signal.SIGXCPU:
        raise _too_slow(seconds)
    if any(words in said for words in _NO_MEMORY):
        raise TooMuchMemoryError(f"the answer needs more than {memory_bytes >> 20} MiB of memory")
    last = said.strip().split("\n")[-1][:300]
    raise RunError(f"the question was not answered (exit status {done.returncode}): {last}")


def _too_slow(seconds: float) -> TooSlowError:
    return TooSlowError(f"there was no answer within {seconds:g} seconds")


def _answer(said: dict[str, Any]) -> dict[str, Any]:
    if "error" not in said:
        return said
    error = _ERRORS[said["error"]](said["message"])
    if isinstance(error, InputError) and said["where"] is not None:
        error = InputError(said["message"], said["where"])
    raise error


def main() -> None:
    """In the process: read the question, take the limits, write the answer."""
    question = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (question["memory"], question["memory"]))
    resource.setrlimit(resource.RLIMIT_CPU, (question["seconds"], question["seconds"] + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from pipelines.look import FinishedRun
    from pipelines.what_if.answer import what_if

    try:
        run = FinishedRun(question["directory"])
        answer = what_if(run, question["thresholds"], question["samples"]).plain()
    except InputError as error:
        answer = {"error": "InputError", "message": error.message, "where": error.where}
    except RunError as error:
        answer = {"error": "RunError", "message": str(error), "where": None}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
