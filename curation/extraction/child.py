"""The process in which pages are parsed: ``python -m curation.extraction.child SETTINGS``.

It reads a page, answers with its text, and waits for the next.  Its limits are enforced by the kernel, so
that no page can get around them: address space by ``RLIMIT_AS``, CPU time of each page by an interval timer
whose signal ends the process.  It ends when the pipe to its parent closes.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys

from curation.errors import DocumentError
from curation.extraction.engines import Extracted, Options, extract
from curation.extraction.frames import pack, unpack

_PARENT_CHECK_MS = 5000
OK, FAILED = b"ok", b"failed"


def main() -> None:
    """Serve pages until the parent is gone."""
    settings = json.loads(sys.argv[1])
    options = Options(**settings["options"])
    incoming, outgoing = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # a library that prints must not write into the answers
    _limit(settings["memory_bytes"], settings["parent"] if settings["die_with_parent"] else None)
    if options.engine == "trafilatura":
        import trafilatura  # noqa: F401  # a second that is not charged to the first page
    parent = settings["parent"]
    _send(outgoing, [OK])
    while True:
        content, content_type, charset = unpack(lambda size: _receive(incoming, size, parent))
        signal.setitimer(signal.ITIMER_PROF, settings["cpu_seconds"])
        answer = _answer(content, content_type.decode() or None, charset.decode() or None, options)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _send(outgoing, answer)


def _answer(content: bytes, content_type: str | None, charset: str | None, options: Options) -> list[bytes]:
    try:
        found: Extracted = extract(content, content_type, charset, options)
        return [OK, found.text.encode(), found.charset.encode(), (found.title or "").encode()]
    except DocumentError as error:
        return [FAILED, error.error_class.encode(), error.detail.encode("utf-8", "replace")]
    except MemoryError:
        return [FAILED, b"extraction-out-of-memory", b""]
    except BaseException as error:  # a panic inside the parser is not an Exception
        return [FAILED, b"extraction-failed", type(error).__name__.encode()]


def _limit(memory_bytes: int, parent: int | None) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        if parent is not None:
            _die_with(parent)
        with open("/proc/self/oom_score_adj", "w") as file:  # first to go when the machine is full
            file.write("1000")


def _die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the thread that started this process ends (prctl(2))."""
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _receive(descriptor: int, size: int, parent: int) -> bytes:
    """Exactly ``size`` bytes; ends the process when the parent is gone."""
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while filled < size:
        if not poll.poll(_PARENT_CHECK_MS):
            # Another child of the parent may hold the pipe open after the parent's death.
            if os.getppid() != parent:
                os._exit(0)
            continue
        count = os.readv(descriptor, [view[filled:]])
        if count == 0:
            os._exit(0)
        filled += count
    return bytes(buffer)


def _send(descriptor: int, fields: list[bytes]) -> None:
    for piece in pack(fields):
        while piece:
            piece = piece[os.write(descriptor, piece) :]


if __name__ == "__main__":
    main()
