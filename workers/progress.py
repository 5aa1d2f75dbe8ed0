"""What a driver can say of a run while it goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

MOST_WAITING = 2000  # sayings that wait to be heard; more are counted, not kept
AT_ONCE = 200  # sayings of one report
CELLS = 120  # stretches of shards whose progress is told apart


class Progress:
    """A ``Watcher`` that remembers; read by the thread that keeps the lease.

    Attributes:
        check: called between two units of work; may raise to stop the run there.
        before_end: called before the whole process group is ended from outside of the work.
    """

    def __init__(self) -> None:
        self.check: Callable[[], None] = lambda: None
        self.before_end: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._state: dict[str, Any] = {
            "phase": "starting", "done": 0, "total": 0, "shards": 0, "shards_total": 0, "records": 0, "bytes": 0,
            "left": 0, "computed": 0, "quarantined": 0, "retries": 0, "stages": {}, "strip": [], "phases": [],
        }  # fmt: skip
        self._places: dict[str, int] = {}
        self._phase_began = self._began
        self._waiting: list[dict[str, Any]] = []
        self._said = 0
        self._missed = 0

    def disk(self, low: int, high: int, free: int | None) -> None:
        """The disk that the run needs."""
        with self._lock:
            self._state["disk"] = {"low": low, "high": high, "free": free}
        self.log(
            "info", f"disk needed: about {low:,} to {high:,} bytes; free: {free if free is not None else 'unknown'}"
        )
        if free is not None and free < low:
            self.log("warning", "that is not enough; the run will end with an error and go on where there is room")

    def shards(self, identities: Sequence[str]) -> None:
        """Which shards there are, in order; ``strip`` counts those that are done in equal stretches of them."""
        cells = min(CELLS, len(identities))
        with self._lock:
            self._places = {identity: n * cells // len(identities) for n, identity in enumerate(identities)}
            self._state |= {"shards_total": len(identities), "strip": [0] * cells}

    def phase(self, name: str, total: int) -> None:
        """A phase begins."""
        now = time.monotonic()
        with self._lock:
            self._state |= {"phase": name, "done": 0, "total": total}
            self._phase_began = now
            self._state["phases"] = [*self._state["phases"], {"phase": name, "at": round(now - self._began, 1)}]
        self.log("info", f"{name}: {total:,} to do")
        self.check()

    def advance(self, amount: int, what: str) -> None:
        """Some of it is done."""
        with self._lock:
            self._state["done"] += amount
            if self._state["phase"] == "milling":
                self._state["shards"] += 1
                self._state["bytes"] += amount
        self.check()

    def milled(self, result: dict[str, Any]) -> None:
        """A shard went through all stages."""
        with self._lock:
            self._state["records"] += result["records"]
            self._state["left"] += result["left"]
            place = self._places.pop(result["identity"], None)
            if place is not None:
                self._state["strip"][place] += 1
            self._state["computed"] += bool(result["computed"])  # the others were there from an earlier attempt
            self._state["quarantined"] += sum(result["errors"].values())
            for stage, seconds in result["seconds"].items():
                there = self._state["stages"].setdefault(stage, {"seconds": 0.0, "records": 0})
                there["seconds"] = round(there["seconds"] + seconds, 3)
                there["records"] += result["records"]

    def retry(self, what: str, attempt: int, why: str) -> None:
        """A task failed and is tried again."""
        with self._lock:
            self._state["retries"] += 1
        self.log("warning", f"{what}: attempt {attempt} failed ({why}); trying again")

    def log(self, level: str, text: str) -> None:
        """A line for the attempt's log."""
        self._say({"kind": "log", "level": level, "text": text[:4000]})

    def metrics(self, values: dict[str, Any]) -> None:
        """A point of a training's curves."""
        self._say({"kind": "metrics", "values": values})

    def checkpoint(self, values: dict[str, Any]) -> None:
        """A state that a training can be taken up from."""
        self._say({"kind": "checkpoint", "values": values})

    def state(self, **values: Any) -> None:
        """Set parts of the state."""
        with self._lock:
            self._state |= values

    def _say(self, saying: dict[str, Any]) -> None:
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._missed += 1
                return
            if self._missed:
                self._append({"kind": "log", "level": "warning", "text": f"{self._missed} more lines were not kept"})
                self._missed = 0
            self._append(saying)

    def _append(self, saying: dict[str, Any]) -> None:
        self._said += 1
        self._waiting.append({"number": self._said, **saying})

    def report(self) -> dict[str, Any]:
        """The state now, and what waits to be heard; it waits until ``heard`` says that it was."""
        with self._lock:
            return {"state": {**self._state, **self._estimates()}, "sayings": self._waiting[:AT_ONCE]}

    def heard(self, report: dict[str, Any]) -> bool:
        """A report has arrived; whether there is more to say at once."""
        with self._lock:
            last = report["sayings"][-1]["number"] if report["sayings"] else 0
            self._waiting = [saying for saying in self._waiting if saying["number"] > last]
            return len(self._waiting) > AT_ONCE // 2

    def _estimates(self) -> dict[str, Any]:
        """Seconds so far, and to the end of this phase at the pace of this phase."""
        now, state = time.monotonic(), self._state
        spent = now - self._phase_began
        left = None
        if 0 < state["done"] < state["total"] and spent > 1:
            left = round(spent * (state["total"] - state["done"]) / state["done"], 1)
        elapsed = now - self._began
        rate = round(state["records"] / elapsed, 1) if elapsed > 0 else 0.0
        return {"seconds": round(elapsed, 1), "phase_seconds_left": left, "records_per_second": rate}
