"""Extraction in a child process with limits of time and memory, so that one page costs one page."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from curation.errors import DocumentError, RunError
from curation.extraction.engines import Extracted, Options
from curation.extraction.frames import pack, unpack

_ROOT = str(Path(__file__).resolve().parents[2])
_START_SECONDS = 120.0
# So often a page is tried again when its child was killed from outside (by a person, or for want of memory).
_KILLS_SURVIVED = 3


@dataclass(frozen=True)
class Limits:
    """What one page may take.

    Attributes:
        cpu_seconds: CPU time of the child for one page.  CPU time and not time on the wall decides, so that
            a busy machine gives the same verdicts.
        wall_seconds: time on the wall after which a child is given up that uses no CPU; a safety net.
        memory_bytes: address space of the child.
        max_html_bytes: longest page that is tried.
    """

    cpu_seconds: float = 10.0
    wall_seconds: float = 120.0
    memory_bytes: int = 2 << 30
    max_html_bytes: int = 16 << 20


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    owner: int = field(default_factory=os.getpid)
    served: int = 0


class _Gone(Exception):
    """The child ended, or was ended, instead of answering."""

    def __init__(self, timed_out: bool = False) -> None:
        self.timed_out = timed_out


class ExtractionSandbox:
    """Extracts pages in a child process, started when first needed and again whenever a page broke it.

    May be used from several threads, which then wait for each other, and after a fork, where the new
    process starts a child of its own.

    Args:
        options: how text is extracted.
        limits: what a page may take.
    """

    def __init__(self, options: Options | None = None, limits: Limits | None = None) -> None:
        self.options = options or Options()
        self.limits = limits or Limits()
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._lock_owner = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def extract(self, content: bytes, content_type: str | None, charset: str | None) -> Extracted:
        """As ``engines.extract``, within the limits.

        Raises:
            DocumentError: what ``engines.extract`` raises, and ``html-too-large``, ``extraction-timeout``,
                ``extraction-out-of-memory``, ``extraction-crashed``, ``extraction-failed``.
            RunError: when no child can be started.
        """
        if len(content) > self.limits.max_html_bytes:
            raise DocumentError("html-too-large", f"more than {self.limits.max_html_bytes} bytes")
        if self._lock_owner != os.getpid():  # forked while another thread held the lock
            self._lock, self._lock_owner = threading.Lock(), os.getpid()
        with self._lock:
            for _ in range(_KILLS_SURVIVED):
                fresh = self._ready().served == 0
                try:
                    return self._attempt(content, content_type, charset)
                except DocumentError as error:
                    if not _blameless(error, fresh):
                        raise
                    self._stop()
            return self._attempt(content, content_type, charset)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._stop()

    def _attempt(self, content: bytes, content_type: str | None, charset: str | None) -> Extracted:
        child = self._ready()
        child.served += 1
        deadline = time.monotonic() + self.limits.wall_seconds
        try:
            _send(child, [content, (content_type or "").encode(), (charset or "").encode()], deadline)
            status, *fields = unpack(lambda size: _receive(child, size, deadline))
        except _Gone as gone:
            raise self._verdict(child, gone) from None
        except BaseException:
            self._stop()  # interrupted inside a message: the next answer would be this one's
            raise
        texts = [value.decode() for value in fields]
        if status == b"ok":
            return Extracted(texts[0], texts[1], texts[2] or None)
        if texts[0] == "extraction-out-of-memory":
            self._stop()
            texts[1] = self._memory_detail()
        raise DocumentError(texts[0], texts[1])

    def _verdict(self, child: _Child, gone: _Gone) -> DocumentError:
        """Why the child ended."""
        if gone.timed_out:
            self._stop()
            return DocumentError("extraction-timeout", f"no answer within {self.limits.wall_seconds:g} s")
        try:
            code = child.process.wait(5)
        except subprocess.TimeoutExpired:
            code = 0
        errors = _tail(child)
        self._stop()
        if code == -signal.SIGPROF:
            return DocumentError("extraction-timeout", f"more than {self.limits.cpu_seconds:g} s of CPU time")
        if b"memory allocation of" in errors:
            return DocumentError("extraction-out-of-memory", self._memory_detail())
        ending = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return DocumentError("extraction-crashed", ending)

    def _memory_detail(self) -> str:
        return f"more than {self.limits.memory_bytes >> 20} MiB of memory"

    def _ready(self) -> _Child:
        """The child of this process, started if there is none."""
        child = self._child
        if child is not None and child.owner != os.getpid():
            _release(child)  # it serves the process that forked this one
            child = None
        if child is None:
            self._child = child = self._start()
        return child

    def _start(self) -> _Child:
        settings = {
            "options": asdict(self.options),
            "memory_bytes": self.limits.memory_bytes,
            "cpu_seconds": self.limits.cpu_seconds,
            "parent": os.getpid(),
            # The kernel means the thread that started the child: only the main thread ends with the process.
            "die_with_parent": threading.current_thread() is threading.main_thread(),
        }
        path = os.pathsep.join(part for part in (_ROOT, os.environ.get("PYTHONPATH")) if part)
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "curation.extraction.child", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
            # A backtrace of an allocation that failed would need memory and count as the page's CPU time.
            env={**os.environ, "PYTHONPATH": path, "RUST_BACKTRACE": "0"},
        )
        assert process.stdin is not None and process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        child = _Child(process, errors)
        try:
            unpack(lambda size: _receive(child, size, time.monotonic() + _START_SECONDS))
        except _Gone:
            reason = _tail(child).decode(errors="replace").strip().rpartition("\n")[2]
            _end(child)
            raise RunError(f"the extraction process did not start: {reason or 'no answer'}") from None
        except BaseException:
            _end(child)
            raise
        return child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.owner == os.getpid():
            _end(child)
        else:
            _release(child)


def _blameless(error: DocumentError, fresh: bool) -> bool:
    """Whether a page may be innocent of its child's end.

    Nothing in a page sends SIGKILL: somebody else did.  And what earlier pages left behind in the memory of a
    child that is not fresh must not decide about this one.
    """
    if error.error_class == "extraction-crashed" and error.detail == signal.SIGKILL.name:
        return True
    return not fresh and error.error_class in ("extraction-out-of-memory", "extraction-crashed")


def _send(child: _Child, fields: list[bytes], deadline: float) -> None:
    assert child.process.stdin is not None
    descriptor = child.process.stdin.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    for piece in pack(fields):
        while piece:
            _wait(poll, deadline)
            try:
                piece = piece[os.write(descriptor, piece) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise _Gone from None


def _receive(child: _Child, size: int, deadline: float) -> bytes:
    assert child.process.stdout is not None
    descriptor = child.process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        _wait(poll, deadline)
        try:
            count = os.readv(descriptor, [view[filled:]])
        except BlockingIOError:
            continue
        if count == 0:
            raise _Gone
        filled += count
    return bytes(buffer)


def _wait(poll: select.poll, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise _Gone(timed_out=True)


def _tail(child: _Child) -> bytes:
    """The last of what the child said on its standard error."""
    size = child.errors.seek(0, os.SEEK_END)
    child.errors.seek(max(0, size - 4000))
    return child.errors.read()


def _end(child: _Child) -> None:
    child.process.kill()
    child.process.wait()
    _release(child)


def _release(child: _Child) -> None:
    """Close this process's ends of the pipes."""
    for stream in (child.process.stdin, child.process.stdout, child.errors):
        if stream is not None:
            stream.close()


_SHARED: dict[tuple[Options, Limits], ExtractionSandbox] = {}


def shared_sandbox(options: Options, limits: Limits) -> ExtractionSandbox:
    """The sandbox of this process for these settings; ends with the process."""
    key = (options, limits)
    if key not in _SHARED:
        _SHARED[key] = ExtractionSandbox(options, limits)
        atexit.register(_SHARED[key].close)
    return _SHARED[key]
