"""The driver of one attempt at a run of the service: ``python -m workers.attempt`` with a ticket on standard input.

The main thread does the work; another keeps the lease.  When the lease is refused the whole process group ends at
once: whatever it would still write is either the same bytes as anybody else's, or has no manifest.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

from curation.errors import GristmillError
from workers.progress import AT_ONCE, Progress
from workers.protocol import Line, Refused, Ticket, Unreachable

PATIENCE = 24 * 3600.0  # seconds that an end is kept for a service that cannot be reached


class Told(Exception):
    """The service told the driver to stop; what is committed stays."""


class Attempt:
    """One attempt: its line, its progress, and what it was told.

    Args:
        line: to the service.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.progress = Progress()
        self.progress.check = self.check
        self._command = "go"
        self._ended = threading.Event()
        self._speaking = threading.Lock()

    def check(self) -> None:
        """Between two shards: stop here if that was asked for."""
        if self._command != "go":
            raise Told(self._command)

    def keep_lease(self, every: float) -> None:
        """Beat until the end; the service answers each beat with what it wants."""
        more = False
        while not self._ended.wait(0.0 if more else every):
            with self._speaking:
                if self._ended.is_set():
                    return
                report = self.progress.report()
                try:
                    answer = self.line.say("heartbeat", report)
                except Unreachable:
                    more = False
                    continue  # the work goes on; commits need no service
                except Refused:
                    end_group()
                more = self.progress.heard(report)
            self._command = answer.get("command", "go")
            if self._command == "cancel":
                self.finish("released", "cancelled")
                end_group()

    def stop(self, *_: Any) -> None:
        """The machine wants the driver gone: give the run back."""
        threading.Thread(target=self._give_back, daemon=True).start()

    def _give_back(self) -> None:
        self.progress.before_end()
        self.finish("released", "the driver was asked to stop", patience=5.0)
        end_group()

    def finish(
        self, outcome: str, reason: str | None, result: dict[str, Any] | None = None, patience: float = PATIENCE
    ) -> None:
        """Say how the attempt ended, once."""
        with self._speaking:
            if self._ended.is_set():
                return
            self._ended.set()
            try:
                report = self.progress.report()
                while len(report["sayings"]) == AT_ONCE:  # all that was said is heard before the end
                    self.line.say("heartbeat", report, patience)
                    self.progress.heard(report)
                    report = self.progress.report()
                body = {"outcome": outcome, "reason": reason, "result": result, "progress": report}
                self.line.say("complete", body, patience)
            except (Refused, Unreachable) as error:
                print(f"gristmill: {error}", file=sys.stderr, flush=True)


def end_group() -> None:
    """End this process and all its workers now."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Begin, work, end."""
    ticket = Ticket(**json.loads(sys.stdin.readline()))
    line = Line(ticket)
    attempt = Attempt(line)
    signal.signal(signal.SIGTERM, attempt.stop)
    try:
        work = line.say("begin", {"process": os.getpid()}, patience=60.0)
    except (Refused, Unreachable) as error:
        sys.exit(f"gristmill: {error}")
    if work.get("stopped"):
        return
    keeper = threading.Thread(target=attempt.keep_lease, args=(work["lease_seconds"] / 6,), daemon=True)
    keeper.start()
    perform(attempt, work)


def perform(attempt: Attempt, work: dict[str, Any]) -> None:
    """Do the work and say how it ended."""
    from workers.kinds import KINDS

    try:
        result = KINDS[work["kind"]](work, attempt.progress)
        attempt.finish("succeeded", None, result)
    except Told as told:
        attempt.finish("released", f"stopped between two shards ({told})")
    except GristmillError as error:
        attempt.progress.log("error", str(error))
        attempt.finish("failed", str(error))
    except Exception as error:  # the machine's fault or ours: worth another attempt
        attempt.progress.log("error", traceback.format_exc(limit=20))
        attempt.finish("broken", f"{type(error).__name__}: {error}"[:2000])


if __name__ == "__main__":
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)  # the group that ``end_group`` ends is this driver and its workers, nobody else
    main()
