"""Starting a driver, knowing whether it lives, ending it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

TAIL_BYTES = 4000


class Launcher(Protocol):
    """Starts drivers somewhere."""

    def launch(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Start a driver; returns its handle, plain data that any controller can use."""

    def is_gone(self, handle: dict[str, Any]) -> bool:
        """Whether a driver has certainly ended; False where that cannot be told."""

    def end(self, handle: dict[str, Any]) -> None:
        """End a driver and its workers, if they can be reached from here."""

    def stop(self, handles: Sequence[dict[str, Any]], seconds: float) -> None:
        """Ask drivers to give their runs back; end those that have not after so many seconds."""

    def last_words(self, handle: dict[str, Any]) -> str:
        """What a driver wrote before it died."""


class LocalLauncher:
    """Drivers are processes of this machine, each in a group of its own; they outlive the controller.

    Args:
        folder: for what they write to standard error.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def launch(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Start ``python -m workers.attempt``; the ticket goes through a pipe, so no process list shows it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{ticket['run_id']}-{ticket['epoch']}.stderr"
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "workers.attempt"], stdin=subprocess.PIPE, stdout=stream, stderr=stream,
                start_new_session=True, env=clean_environment(),
            )  # fmt: skip
        _children.append(process)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(ticket).encode() + b"\n")
        return {"host": _host(), "process": process.pid, "started": _started(process.pid), "log": str(log)}

    def is_gone(self, handle: dict[str, Any]) -> bool:
        """A process of this boot of this machine that is not there, or is another by now."""
        _reap()
        return handle.get("host") == _host() and not _is_there(handle)

    def end(self, handle: dict[str, Any]) -> None:
        """Kill its group, unless the number belongs to somebody else by now."""
        if _is_there(handle):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(handle["process"]), signal.SIGKILL)
        _reap()

    def stop(self, handles: Sequence[dict[str, Any]], seconds: float) -> None:
        """SIGTERM to all of them at once; SIGKILL to the groups of those that are still there afterwards."""
        for handle in handles:
            if _is_there(handle):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(handle["process"]), signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(map(_is_there, handles)) and time.monotonic() < deadline:
            time.sleep(0.05)
            _reap()
        for handle in handles:
            self.end(handle)

    def last_words(self, handle: dict[str, Any]) -> str:
        """The end of its standard error."""
        try:
            with open(handle["log"], "rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - TAIL_BYTES))
                return stream.read().decode("utf-8", "replace").strip()
        except (OSError, KeyError):
            return ""


SECRETS = ("GRISTMILL_DATABASE_URL", "GRISTMILL_ADMIN_KEY")
_children: list[subprocess.Popen[bytes]] = []


def clean_environment() -> dict[str, str]:
    """The environment without what a driver must not know."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def _reap() -> None:
    """Let children that have ended go, so that they are not taken for living ones."""
    _children[:] = [child for child in _children if child.poll() is None]


def _is_there(handle: dict[str, Any]) -> bool:
    """Whether a driver of this machine lives."""
    return handle.get("host") == _host() and _started(int(handle["process"])) == handle["started"]


def _started(process: int) -> str | None:
    """When a process started, in ticks since the boot; None where there is none, or only its remains."""
    try:
        with open(f"/proc/{process}/stat") as stream:
            fields = stream.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _host() -> str:
    """This boot of this machine and, in it, this namespace of processes: a container numbers its own anew."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {_started(1)}"
    except OSError:
        return os.uname().nodename
