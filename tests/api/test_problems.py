"""Every error is a problem document (RFC 9457) that says what is wrong and nothing of how things are made."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from fastapi import Response
from starlette.testclient import TestClient

import api.sources.routes
from api.app import create_app
from api.http.guard import Body, Guard
from api.problems import MEDIA_TYPE, TYPES, Problem, document, pointer
from api.settings import Settings
from api.store.database import Database
from tests.api.http import BASE, BODIES, NOBODY, ask, client_of, operations, pointers, problem, sqlite


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    home = tmp_path_factory.mktemp("problems")
    return client_of(home, sqlite(home), requests_per_minute=0)


def test_an_unknown_path_is_a_problem(client: TestClient) -> None:
    for path in (
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/runs",
        "/internal/v1",
    ):
        for method in ("GET", "POST", "DELETE"):
            found = problem(client.request(method, path), 404, "not-found")
            assert path.strip("/") not in json.dumps(found)


def test_a_method_that_a_path_has_not_is_a_problem(client: TestClient) -> None:
    there: dict[str, set[str]] = {}
    for operation in operations(client.app):  # type: ignore[arg-type]
        there.setdefault(operation.url(), set()).add(operation.method)
    for path, methods in there.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROBNICATE"} - methods:
            answer = client.request(method, path)
            problem(answer, 405, "method-not-allowed")
            assert answer.headers["allow"], path


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "",
     "application/jsonx", "application/octet-stream", "text/json", "application/json, text/plain", None],
)  # fmt: skip
def test_a_body_that_is_no_json_is_unsupported(client: TestClient, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    for operation in operations(client.app):  # type: ignore[arg-type]
        if operation.name in BODIES:
            answer = client.request(operation.method, operation.url(), content=b'{"name": "a"}', headers=headers)
            problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8",
     "application/merge-patch+json", "application/vnd.api+json"],
)  # fmt: skip
def test_json_by_any_name_is_read(client: TestClient, media_type: str) -> None:
    answer = client.post("/api/v1/keys", content=b'{"name": "a"}', headers={"Content-Type": media_type})
    assert answer.status_code == 201


def test_no_body_needs_no_media_type(client: TestClient) -> None:
    problem(client.post(f"/api/v1/runs/{NOBODY}/pause"), 404, "not-found")
    problem(client.post(f"/api/v1/runs/{NOBODY}/pause", headers={"Content-Type": "text/plain"}), 404, "not-found")
    assert pointers(client.post("/api/v1/keys")) == [""]


MALFORMED = [
    b"{", b'{"name": }', b"{'name': 'a'}", b'{"name": "a"} {}', b"\xff\xfe\xfd", b'{"name": "\xff"}', b"nul",
    b'{"name": "a\n"}', b'{"name": "\\u12"}', b" ", b'{"name": 01}', b"[1,]",
    b'{"limit": ' + b"9" * 5000 + b"}", '{"name": "a"}'.encode("utf-16"), '{"name": "a"}'.encode("utf-32-be"),
    b'{"name": "a\x00"}',
]  # fmt: skip


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_not_json_is_malformed(client: TestClient, content: bytes) -> None:
    answer = client.post("/api/v1/keys", content=content, headers={"Content-Type": "application/json"})
    problem(answer, 400, "malformed-request")


@pytest.mark.parametrize("content", [b"null", b"[]", b"1", b'"text"', b"true", b"[[]]"])
def test_json_of_another_shape_is_invalid(client: TestClient, content: bytes) -> None:
    for operation in operations(client.app):  # type: ignore[arg-type]
        if operation.name in BODIES:
            headers = {
                "Content-Type": "application/json",
                "Authorization": "Bearer x" * operation.path.startswith("/i"),
            }
            headers = {name: value for name, value in headers.items() if value}
            answer = client.request(operation.method, operation.url(), content=content, headers=headers)
            if operation.name == "ask_what_if" and answer.status_code == 404:
                continue  # the run is looked for first
            assert problem(answer, 422, "invalid")["errors"], operation


def test_each_fault_has_its_pointer(client: TestClient) -> None:
    body: dict[str, Any] = {
        "recipe": "unknown", "inputs": [{"source": "s"}, {"source": "NOT A NAME", "path": 1, "a/b~c": 2}],
        "tags": ["fine", "NOT FINE"], "priority": 101,
    }  # fmt: skip
    found = pointers(client.post("/api/v1/runs", json=body))
    assert {"/inputs/1/source", "/inputs/1/path", "/inputs/1/a~1b~0c", "/tags/1", "/priority"} <= set(found)
    assert any(place.startswith("/recipe") for place in found)
    assert pointers(client.get("/api/v1/runs", params={"limit": "x"})) == ["query/limit"]
    assert pointers(client.get("/api/v1/runs/no-id")) == ["path/run_id"]
    assert pointers(client.post("/api/v1/runs", json=BODIES["submit_run"], headers={"Idempotency-Key": "a b"})) == [
        "header/Idempotency-Key"
    ]


def test_pointers_are_escaped() -> None:
    assert pointer(["a/b", "c~d", 0, ""]) == "/a~1b/c~0d/0/"


def test_an_id_of_a_problem_is_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gristmill.access"):
        found = problem(client.get(f"/api/v1/runs/{NOBODY}"), 404)
    assert found["instance"].removeprefix("urn:uuid:") in caplog.text
    assert found["instance"] != problem(client.get(f"/api/v1/runs/{NOBODY}"), 404)["instance"]


# --- the database is away


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(params=["postgresql", "a-folder", "no-database"])
def away(request: pytest.FixtureRequest, tmp_path: Path) -> TestClient:
    """A client of an application whose database cannot be used."""
    if request.param == "postgresql":
        url = f"postgresql+psycopg://user:password@127.0.0.1:{closed_port()}/nothing"
    elif request.param == "a-folder":
        (tmp_path / "folder.db").mkdir()
        url = f"sqlite:///{tmp_path / 'folder.db'}"
    else:
        (tmp_path / "text.db").write_text("this is no database" * 100)
        url = f"sqlite:///{tmp_path / 'text.db'}"
    return TestClient(create_app(Settings(home=tmp_path), Database(url)), BASE)


def test_without_a_database_every_route_is_unavailable(away: TestClient) -> None:
    for operation in operations(away.app):  # type: ignore[arg-type]
        if operation.name in ("healthz", "get_service_version", "openapi", "get_metrics", "get_self"):
            continue
        if operation.name in ("list_questions", "ask_advice"):
            continue  # answered from what the trainer knows; no database is asked
        answer = ask(away, operation, "x" if operation.path.startswith("/internal") else None)
        if operation.name in ("declare_source", "make_key", "make_webhook") and answer.status_code == 422:
            continue  # refused before the database is asked
        assert answer.status_code == 503, f"{operation}: {answer.text}"
        assert answer.headers["retry-after"].isdigit()
        if operation.method != "HEAD":
            problem(answer, 503, "unavailable")
    assert away.get("/healthz").status_code == 200  # the process is there
    assert away.get("/version").status_code == 200
    assert "gristmill_database_up 0.0" in away.get("/metrics").text
    problem(away.get("/readyz"), 503, "unavailable")


def test_a_key_cannot_be_checked_without_a_database(away: TestClient) -> None:
    """Neither let in nor told that the key is wrong."""
    key = "gm_" + "a" * 16 + "_" + "A" * 43
    problem(away.get("/api/v1/self", headers={"Authorization": f"Bearer {key}"}), 503, "unavailable")


def test_an_old_schema_is_not_ready(tmp_path: Path) -> None:
    client = client_of(tmp_path, Database(f"sqlite:///{tmp_path / 'empty.db'}"))
    found = problem(client.get("/readyz"), 503, "unavailable")
    assert "gristmill migrate" in found["detail"]


def test_ready_when_it_is(database: Database, tmp_path: Path) -> None:
    client = client_of(tmp_path, database)
    assert client.get("/readyz").json() == {"status": "ready"}


# --- what nobody expected


class Surprise(Exception):
    """An error that no handler knows."""


def test_a_surprise_says_nothing_of_itself(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise Surprise("inner-detail /etc/inner-path")

    monkeypatch.setattr(api.sources.routes, "find_named", fail)
    with caplog.at_level(logging.INFO, "gristmill"):
        answer = client.get("/api/v1/sources/any")
    found = problem(answer, 500, "internal-error")
    for word in ("inner", "Surprise", "Traceback", ".py", "line "):
        assert word not in answer.text
    assert "Surprise: inner-detail" in caplog.text and "find_named" in caplog.text  # the log has it
    assert "/api/v1/sources/any 500 " in caplog.text
    request_id = found["instance"].rpartition(":")[2]
    assert f"request {request_id} failed" in caplog.text
    monkeypatch.undo()
    assert client.get("/api/v1/sources").status_code == 200  # and life goes on
    assert 'status="500"' in client.get("/metrics").text


def run_guard(guard: Guard, headers: list[tuple[bytes, bytes]], received: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a guard sends for a request that no client library would send."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": ("127.0.0.1", 1)}
    asyncio.run(guard(scope, receive, send))
    return sent


def test_a_surprise_after_the_answer_began_is_raised(tmp_path: Path) -> None:
    """Nothing can be said any more; the server cuts the connection, so that half an answer does not look whole."""

    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise Surprise

    guard = Guard(breaks, Settings(home=tmp_path))
    with pytest.raises(Surprise):
        run_guard(guard, [(b"host", b"localhost")], [{"type": "http.request", "body": b""}])


@pytest.mark.parametrize("length", [b"\xb2", b"-1", b"+1", b"1 ", b"", b"0x10", b"9" * 5000, b"1.0", b"1,1"])
def test_a_length_that_is_no_number_is_malformed(tmp_path: Path, length: bytes) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("the request went through")

    headers = [(b"host", b"localhost"), (b"content-length", length)]
    start, body = run_guard(Guard(never, Settings(home=tmp_path)), headers, [])
    assert start["status"] == 400 and dict(start["headers"])[b"content-type"] == MEDIA_TYPE.encode()
    assert json.loads(body["body"])["type"] == "urn:gristmill:problem:malformed-request"


def test_a_connection_that_ends_inside_the_body_is_malformed(tmp_path: Path) -> None:
    async def never(*_: Any) -> None:
        raise AssertionError("the request went through")

    received = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    start, _ = run_guard(Guard(never, Settings(home=tmp_path)), [(b"host", b"localhost")], received)
    assert start["status"] == 400


def test_a_body_reaches_the_route_whole(tmp_path: Path) -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert not message["more_body"]
        await Response(message["body"])(scope, receive, send)

    pieces = [{"type": "http.request", "body": p, "more_body": True} for p in (b'{"a"', b"", b": 1")]
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    sent = run_guard(Guard(echo, Settings(home=tmp_path)), headers, [*pieces, {"type": "http.request", "body": b"}"}])
    assert sent[1]["body"] == b'{"a": 1}'
    assert Body(None, 1).limit == 1  # type: ignore[arg-type]


def test_the_codes_are_complete() -> None:
    for code, (status, title) in TYPES.items():
        made = document(Problem(code), "id")
        assert made == {
            "type": f"urn:gristmill:problem:{code}", "title": title, "status": status, "instance": "urn:uuid:id",
        }  # fmt: skip
        assert 400 <= status < 600


def test_the_description_has_problems_only(client: TestClient) -> None:
    """Every error of every operation is said to be a problem document, and nothing of FastAPI's own form is left."""
    told = client.get("/api/v1/openapi.json").json()
    assert not {"HTTPValidationError", "ValidationError"} & set(told["components"]["schemas"])
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == [MEDIA_TYPE], (method, path, status)
            wanted = {"400", "401", "403", "413", "415", "421", "422", "429", "503"}
            assert wanted <= set(operation["responses"]), (method, path)
