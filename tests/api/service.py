"""The service as processes, for tests that speak HTTP to it and kill its parts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds that anything may take before a test gives up
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Every stage that needs no fitted model, and deduplication.
RECIPE = {
    "name": "walk",
    "stages": [
        {"stage": "extraction"},
        {"stage": "language", "keep": ["en", "zh"]},
        {"stage": "gopher-repetition"},
        {"stage": "gopher-quality"},
        {"stage": "fineweb"},
        {"stage": "personal-data"},
    ],
    "deduplication": {"threshold": 0.8},
}


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """Parts of the service on this machine, each in a process group of its own.

    Args:
        home: folder of the service.
        settings: by name, without the prefix.
    """

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "HOME": str(home), "PORT": str(self.port), "WORKERS": "1", "POLL_SECONDS": "0.1", "LEASE_SECONDS": "3",
            "RETRY_SECONDS": "0.1", "MAX_ATTEMPTS": "100", **{name.upper(): str(v) for name, v in settings.items()},
        }  # fmt: skip
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self) -> dict[str, str]:
        """Of every part."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GRISTMILL_")}
        return {**kept, **{f"GRISTMILL_{name}": value for name, value in self.settings.items()}}

    def start(self, part: str) -> None:
        """Start ``serve``, ``api``, ``controller`` or ``migrate``."""
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.home / f"{part}.log", "ab") as log:
            self.parts[part] = subprocess.Popen(
                [sys.executable, "-m", "cli.main", part], env=self.environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        if part in ("serve", "api"):
            self.until(lambda: self.call("GET", "/healthz")[0] == 200, f"{part} answers")

    def start_second(self, part: str) -> None:
        """Start another process of the same part."""
        first = self.parts.pop(part)
        self.start(part)
        self.parts |= {f"second {part}": self.parts[part], part: first}

    def kill(self, part: str, sig: int = signal.SIGKILL) -> None:
        """Kill a part, not its drivers, which are groups of their own."""
        with suppress(ProcessLookupError):
            os.killpg(self.parts[part].pid, sig)
        if sig == signal.SIGKILL:
            self.parts[part].wait()

    def close(self) -> None:
        """End everything that was started, drivers too."""
        for part in list(self.parts):
            self.kill(part)
        for driver in self.drivers():
            with suppress(ProcessLookupError):
                os.killpg(driver, signal.SIGKILL)

    def log(self) -> str:
        """What all parts have logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.home.glob("*.log")))

    # processes

    def drivers(self) -> list[int]:
        """Process ids of living drivers that this service started."""
        marker = f"GRISTMILL_PORT={self.port}".encode()
        return [pid for pid in processes() if _runs(pid, b"workers.attempt") and marker in _file(pid, "environ")]

    def workers_of(self, driver: int) -> list[int]:
        """Process ids of a driver's workers."""
        return [pid for pid in processes() if _group(pid) == driver and pid != driver]

    # HTTP

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request; status 0 where nobody answers."""
        request = urllib.request.Request(
            self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}},
        )  # fmt: skip
        try:
            with _DIRECT.open(request, timeout=60) as answer:
                data = answer.read()
                return answer.status, json.loads(data) if "json" in answer.headers["content-type"] else data
        except urllib.error.HTTPError as error:
            data = error.read()
            return error.code, json.loads(data) if data else None
        except (OSError, ValueError):
            return 0, None

    def get(self, path: str) -> Any:
        """The answer to a GET that must succeed."""
        status, answer = self.call("GET", f"/api/v1{path}")
        assert status == 200, (path, status, answer)
        return answer

    def post(self, path: str, body: Any = None, expect: int = 202, **headers: str) -> Any:
        """The answer to a POST that must succeed."""
        status, answer = self.call("POST", f"/api/v1{path}", body, **headers)
        assert status == expect, (path, status, answer)
        return answer

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor = ""
        while True:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=50{cursor}")
            yield from page["items"]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"

    def until(self, met: Callable[[], Any], what: str) -> Any:
        """Wait for a condition."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = met()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"never: {what}\n{self.log()[-4000:]}")

    def ended(self, run_id: str) -> dict[str, Any]:
        """A run, when it has come to an end."""

        def look() -> Any:
            status, run = self.call("GET", f"/api/v1/runs/{run_id}")
            return run if status == 200 and run["state"] in ("succeeded", "failed", "cancelled") else None

        found: dict[str, Any] = self.until(look, f"run {run_id} ends")
        return found

    def succeeded(self, run_id: str) -> dict[str, Any]:
        """A run that must succeed."""
        run = self.ended(run_id)
        assert run["state"] == "succeeded", (run["reason"], self.get(f"/runs/{run_id}/logs")["items"][-5:])
        return run

    def declare(self, name: str, root: Path) -> None:
        """Declare a source."""
        self.post("/sources", {"name": name, "root": str(root)}, expect=201)


@contextmanager
def running(home: Path, *parts: str, **settings: Any) -> Iterator[Service]:
    """A service that is ended at the end."""
    service = Service(home, **settings)
    try:
        for part in parts or ("serve",):
            service.start(part)
        yield service
    finally:
        service.close()


def processes() -> list[int]:
    """All process ids."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _file(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _runs(pid: int, word: bytes) -> bool:
    return word in _file(pid, "cmdline")


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def server_events(service: Service, run_id: str, last: int = 0, most: int | None = None) -> list[dict[str, Any]]:
    """Server-sent events of a run behind a number, up to the end of the stream or ``most`` of them."""
    request = urllib.request.Request(
        f"{service.url}/api/v1/runs/{run_id}/events",
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(last)},
    )
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    with _DIRECT.open(request, timeout=PATIENCE) as stream:
        for raw in stream:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if event.get("event") == "end":
                return found
            if "id" in event:
                found.append({"id": int(event["id"]), "event": event["event"], "data": json.loads(event["data"])})
                if most is not None and len(found) == most:
                    return found
            event = {}
    return found
