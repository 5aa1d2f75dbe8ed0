"""The process behind a slot of the pool: it does one task after another for the driver, and dies with it.

This module imports nothing heavy: a driver that hands over a large job waits until the new process reads it.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the one that started it dies (Linux).

    Args:
        parent: process id of the one that started it.  In a container that is often 1, so 1 does not tell an
            orphan; another parent than the expected one does.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def serve(line: Connection, parent: int) -> None:
    """Do what comes down the line until its other end closes.

    A message is a function, a pickled job or None for the one that is here already, and a task.  The answer is
    a result, or an error and its traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what an interrupt means
    die_with_parent(parent)
    job: Any = None
    while True:
        try:
            message = line.recv_bytes()
        except EOFError:
            return
        try:
            perform, packed, task = pickle.loads(message)
            job = job if packed is None else pickle.loads(packed)
            answer = pickle.dumps((perform(job, task), None, ""))
        except BaseException as error:  # a panic of a native library is not an Exception
            answer = _failure(error)
        line.send_bytes(answer)


def _failure(error: BaseException) -> bytes:
    """The error as the driver can load it: some cannot be pickled, some cannot be made again from their pickle."""
    trace = traceback.format_exc()
    if isinstance(error, Exception):
        try:
            packed = pickle.dumps((None, error, trace))
            pickle.loads(packed)
            return packed
        except Exception:
            trace += "(this error could not be sent as it was)\n"
    return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), trace))
