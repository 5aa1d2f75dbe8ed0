"""Locks between processes of one machine.  The kernel holds them, so they end with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from curation.errors import RunError


class Busy(RunError):
    """Somebody else is at work there; later it may be free."""


@contextmanager
def locked(path: str, otherwise: str, text: bytes = b"") -> Iterator[None]:
    """Hold the kernel's lock on a file while the block runs.

    The file is made in place and never replaced: everybody locks the same one.

    Args:
        otherwise: said when somebody else holds it.
        text: what the file holds.

    Raises:
        Busy: when somebody else holds it.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(otherwise) from None
        if os.pread(descriptor, len(text) + 1, 0) != text:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)
        yield
    finally:
        os.close(descriptor)
