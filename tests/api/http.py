"""What tests of the HTTP surface share: an application with a client, keys, requests for every route, real sockets."""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from api.access.principals import create_key
from api.access.roles import Role
from api.app import create_app
from api.problems import MEDIA_TYPE, TYPES
from api.runs import store
from api.settings import Settings
from api.store.database import Database
from api.store.migrate import upgrade
from api.store.tables import attempts, runs

BASE = "http://127.0.0.1:8321"
ADMIN_KEY = "admin-key-of-the-tests"
NOBODY = "00000000-0000-7000-8000-000000000000"  # an id that no row has


@functools.cache
def _migrated() -> bytes:
    """A SQLite database with the schema, so that not every test runs the migrations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "service.db"
        database = Database(f"sqlite:///{path}")
        upgrade(database)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return path.read_bytes()


def sqlite(folder: Path, **options: Any) -> Database:
    """A new migrated SQLite database in a folder."""
    path = folder / "service.db"
    path.write_bytes(_migrated())
    return Database(f"sqlite:///{path}", **options)


def bearer(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


def client_of(home: Path, database: Database, **settings: Any) -> TestClient:
    """A client of a new application, without a key; redirects are answers."""
    return TestClient(create_app(Settings(home=home, **settings), database), BASE, follow_redirects=False)


def locked(home: Path, database: Database, **settings: Any) -> TestClient:
    """A client of an application that wants keys; it has none itself."""
    return client_of(home, database, require_key=True, admin_key=ADMIN_KEY, **settings)


def make_key(database: Database, role: Role | str, scopes: list[str] | None = None, name: str = "k") -> tuple[str, str]:
    """Id and text of a new key."""
    with database.write() as connection:
        row, text = create_key(connection, name, Role(role), scopes, "test", database.now(connection))
        return row["id"], text


def problem(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of an answer, checked for its form.

    Args:
        code: of ``TYPES``; any of this status where it does not matter.
    """
    assert response.status_code == status, f"{response.status_code}: {response.text[:500]}"
    assert response.headers["content-type"] == MEDIA_TYPE
    found: dict[str, Any] = response.json()
    assert set(found) <= {"type", "title", "status", "detail", "instance", "errors"}
    named = found["type"].removeprefix("urn:gristmill:problem:")
    assert named in TYPES and TYPES[named] == (status, found["title"]), found
    assert found["status"] == status
    assert found["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    assert code is None or named == code, found
    return found


def pointers(response: Any) -> list[str]:
    """Where the faults of a 422 are."""
    return [error["pointer"] for error in problem(response, 422)["errors"]]


class Operation(NamedTuple):
    """A route of the application.

    Attributes:
        name: operation id.
        path: with its parameters in braces.
        public: whether the OpenAPI description has it.
    """

    name: str
    method: str
    path: str
    public: bool

    def url(self, **given: str) -> str:
        """The path with every parameter filled in; what is not given names nothing that is there."""
        plain = {"epoch": "1", "number": "1", "key_id": "a" * 16, "document_id": "0" * 32, "ref": "latest",
                 "file": "responses.jsonl"}  # fmt: skip
        named = {"name": "nothing", "alias": "nothing", "measure": "nothing", "path": "nothing"}
        values = {**plain, **named, **given}
        return re.sub(r"{(\w+)(?::path)?}", lambda found: values.get(found[1], NOBODY), self.path)


def operations(app: FastAPI) -> list[Operation]:
    """Every route with each of its methods, internal ones and those of the framework too; pages have tests of their
    own (``tests/pages``)."""
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if str(route.name).startswith("page_"):
            continue
        for method in sorted(getattr(route, "methods", None) or ("WEBSOCKET",)):
            found.append(Operation(str(route.name), method, str(context.path), bool(context.include_in_schema)))
    return found


# A body for each operation that takes one: valid as far as its form goes.
_JOB = {"recipe": "crawl", "inputs": [{"source": "nothing"}]}
_POLICY = {"cron": "0 3 * * *"}
BODIES: dict[str, Any] = {
    "validate_run": _JOB,
    "explain_recipe": {"recipe": "crawl"},
    "estimate_run": _JOB,
    "submit_run": _JOB,
    "change_run": {"note": "n"},
    "fork_run": {"thresholds": {}},
    "ask_what_if": {"thresholds": {"language.language-score": 0.5}},
    "start_training": {"name": "t", "datasets": [{"name": "nothing"}], "config": {}},
    "start_evaluation": {"name": "t", "task": "generate", "models": [{"name": "nothing"}]},
    "ask_advice": {"answers": {"task": "chat"}},
    "change_model": {"description": "d"},
    "set_model_alias": {"version": 1},
    "preview_policy": {"policy": _POLICY},
    "make_schedule": {"name": "nothing", "policy": _POLICY, "request": _JOB},
    "change_schedule": {"only_new": False},
    "backfill_schedule": {"first_date": "2026-01-01", "last_date": "2026-01-02"},
    "change_dataset": {"description": "d"},
    "publish_version": {"run": NOBODY},
    "set_alias": {"version": 1},
    "make_pipeline": {"name": "nothing", "recipe": {"name": "r", "stages": []}},
    "add_revision": {"recipe": {"name": "r", "stages": []}},
    "declare_source": {"name": "nothing", "root": "relative"},
    "make_webhook": {"url": "ftp://nothing"},
    "change_webhook": {"paused": True},
    "make_key": {"name": "nothing", "scopes": ["nothing"]},
    "begin": {},
    "heartbeat": {},
    "complete": {"outcome": "released"},
}


def ask(client: TestClient, operation: Operation, key: str | None = None, **given: str) -> Any:
    """Send a request that an operation understands, though it finds nothing."""
    queries = {"get_breakdown": {"by": "host"}, "list_groups": {"by": "source"},
               "diff_versions": {"first": "1", "second": "2"}}  # fmt: skip
    query = queries.get(operation.name)
    headers = {} if key is None else bearer(key)
    body = {"json": BODIES[operation.name]} if operation.name in BODIES else {}
    return client.request(operation.method, operation.url(**given), params=query, headers=headers, **body)


def queued_run(database: Database, request: dict[str, Any] | None = None, **changes: Any) -> str:
    """Id of a run that waits, or of whatever the changes make of it."""
    with database.write() as connection:
        now = database.now(connection)
        new = store.NewRun("curate", "a run", request or {"recipe": {"name": "r"}}, "/nowhere", "test")
        run_id: str = store.submit(connection, new, now)["id"]
        if changes:
            connection.execute(update(runs).where(runs.c.id == run_id).values(**changes))
    return run_id


def attempt_of(database: Database, run_id: str, token: str, epoch: int = 1, state: str = "starting") -> None:
    """Give a run an attempt whose driver has a token."""
    with database.write() as connection:
        now = database.now(connection)
        connection.execute(update(runs).where(runs.c.id == run_id).values(state=state, epoch=epoch))
        digest = hashlib.sha256(token.encode()).hexdigest()
        values = {"run_id": run_id, "epoch": epoch, "controller": "test", "token_digest": digest}
        connection.execute(insert(attempts).values(**values, lease_until=now + 60_000, started_at=now))


@contextmanager
def serving(app: FastAPI) -> Iterator[tuple[str, int]]:
    """The application behind a real socket, with the limits that the service sets; address and port."""
    from api import serve

    settings: Settings = app.state.context.settings
    made = serve._config(settings.model_copy(update={"port": 0}), app.state.context.database)
    made.app, made.host, made.port, made.timeout_graceful_shutdown = app, "127.0.0.1", 0, 1
    server = uvicorn.Server(made)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()
