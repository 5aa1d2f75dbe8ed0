"""What strangers may try: paths that lead out, foreign pages, endless bodies, recipes that bite; and secrets stay."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import pickle
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

import api.sources.roots
import api.sources.routes
from api.access.roles import Role
from api.app import create_app
from api.http.guard import MAX_JSON_DEPTH, Rates, check_depth
from api.http.pages import encode
from api.logs import JsonLines
from api.settings import Settings
from api.sources.roots import address, check_root
from api.store.database import Database
from api.store.tables import metadata
from curation.errors import InputError
from tests.api.http import (
    ADMIN_KEY,
    BASE,
    BODIES,
    NOBODY,
    ask,
    attempt_of,
    bearer,
    client_of,
    locked,
    make_key,
    operations,
    pointers,
    problem,
    queued_run,
    serving,
    sqlite,
)

JSON = {"Content-Type": "application/json"}
PLAIN = {"name": "r", "stages": [{"stage": "extraction"}]}  # a recipe without models


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the application that tests share: making one takes longer than most tests."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shared(home: Path) -> Iterator[tuple[TestClient, Database]]:
    """A client of an application that wants no key, and its database."""
    database = sqlite(home)
    yield client_of(home, database, models_root=home / "models", requests_per_minute=0), database
    database.close()


@pytest.fixture
def database_here(shared: tuple[TestClient, Database], home: Path) -> Database:
    """The shared database, empty again."""
    for name in ("service.db-wal", "service.db-shm"):
        (home / name).unlink(missing_ok=True)
    sqlite(home)
    return shared[1]


@pytest.fixture
def client(shared: tuple[TestClient, Database], database_here: Database) -> TestClient:
    """A client of the shared application, whose database is empty."""
    return shared[0]


# --- paths below sources


@pytest.fixture
def root(tmp_path: Path, client: TestClient) -> Path:
    """Root of the source ``s``; beside it lies what must not be seen."""
    inside = tmp_path / "sources" / "root"
    (inside / "folder").mkdir(parents=True)
    (inside / "folder" / "a.jsonl").write_text("{}")
    (inside / "top.jsonl").write_text("{}")
    outside = tmp_path / "sources" / "outside"
    outside.mkdir()
    (outside / "secret.jsonl").write_text("{}")
    (tmp_path / "sources" / "root-of-another").mkdir()  # begins like the root
    (tmp_path / "sources" / "root-of-another" / "secret.jsonl").write_text("{}")
    assert client.post("/api/v1/sources", json={"name": "s", "root": str(inside)}).status_code == 201
    return inside


def listed(client: TestClient, path: str = "") -> list[str]:
    answer = client.get("/api/v1/sources/s/objects", params={"path": path})
    assert answer.status_code == 200, answer.text
    return [entry["path"] for entry in answer.json()["items"]]


OUTSIDE = [
    "..", "../", "../outside", "../root-of-another", "./..", "folder/../..", "folder/../../outside", "folder/..",
    "/", "//", "/etc", "/etc/passwd", "//etc", "///", "~", "~/", "~root", "~root/.ssh", ".//..//", "a/./../../b",
    "..\\outside", "\\", "\\\\server\\x", "folder\\..\\..", "C:\\", "a\\b",
    "\x00", "folder\x00", "\x00/etc", "a\nb", "a\rb", "\t..", "\x1b[2J", "\x1f",
    "file:///etc/passwd", "s3://other/bucket", "http://169.254.169.254/latest", "hdfs://x/y", "folder/://x",
    "top.jsonl?endpoint_override=evil.example", "a?region=x",
]  # fmt: skip
NOTHING = [  # harmless, as long as nothing reads more into them
    "%2e%2e", "%2e%2e/outside", "..%2foutside", "%2e%2e%2foutside", "%252e%252e%252foutside", "folder/%2e%2e/%2e%2e",
    "‥/outside", "．．/outside", "..／outside", "..∕outside", "..⁄outside", "..＼outside", "․․/outside",
    "．．／outside", "…", "..;/outside", "%c0%ae%c0%ae/outside", "file:etc", "C:", "$HOME", "${HOME}", "*", "**",
    "folder/a.jsonl", "top.jsonl", "none", "a" * 300, "a" * 1999, "a/" * 999, "top.jsonl/..a", "\x7f", "\ufeff..",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE, ids=ascii)
def test_a_path_that_leads_out_is_refused(client: TestClient, root: Path, path: str) -> None:
    answer = client.get("/api/v1/sources/s/objects", params={"path": path})
    assert pointers(answer) == ["query/path"] and "secret" not in answer.text
    job = {"recipe": PLAIN, "inputs": [{"source": "s", "path": path}]}
    found = pointers(client.post("/api/v1/runs:validate", json=job))
    assert found in (["/inputs/0/path"], [""])  # "" where the whole body cannot be: NUL
    with pytest.raises(InputError):
        address(str(root), path)
    with pytest.raises(InputError):
        address("s3://bucket/prefix", path)


@pytest.mark.parametrize("path", NOTHING, ids=ascii)
def test_a_path_that_only_looks_like_it_stays_inside(client: TestClient, root: Path, path: str) -> None:
    answer = client.get("/api/v1/sources/s/objects", params={"path": path})
    assert pointers(answer) == ["query/path"] and "secret" not in answer.text
    assert os.path.commonpath([root, os.path.normpath(address(str(root), path))]) == str(root)


@pytest.mark.parametrize(
    "raw", ["%2e%2e", "..%2foutside", "%2E%2E%2Foutside", "%5c..", "%00", "%7e", "%2fetc%2fpasswd"]
)
def test_an_encoded_path_is_judged_by_what_it_means(client: TestClient, root: Path, raw: str) -> None:
    assert pointers(client.get(f"/api/v1/sources/s/objects?path={raw}")) == ["query/path"]


@pytest.mark.parametrize(
    "path",
    ["a?endpoint_override=evil.example/b", "a?endpoint_override=evil.example", "a?x", "a#b", "%2e%2e/other",
     "x%2f..%2f..%2fother", "%2e%2e%2fother", "a%00", "a%0ab", "%2fetc", "%5c", "a?region=%2f", "x/%2e./y"],
)  # fmt: skip
def test_a_path_of_an_object_store_is_no_option_and_not_encoded(path: str) -> None:
    for base in ("s3://bucket/prefix", "s3://bucket/prefix?region=eu-west-1&endpoint_override=here.example"):
        with pytest.raises(InputError):
            address(base, path)


def test_options_of_a_root_stay_its_own() -> None:
    base = "s3://bucket/prefix/?region=eu-west-1&endpoint_override=here.example"
    assert address(base, "a b/2026-*/%25.gz") == (
        "s3://bucket/prefix/a b/2026-*/%25.gz?region=eu-west-1&endpoint_override=here.example"
    )
    assert address(base, "./") == base


@pytest.mark.parametrize(
    "bad",
    ["relative", ".", "", "~", "\x00", "/tmp\x00", "/no/such/folder", "file:///tmp", "http://169.254.169.254/", "s3://",
     "s3:///x", "gs://bucket", "hdfs://x", "s3://key:secret@bucket/x", "s3://key@bucket", "S3://k:s@b", "ftp://x",
     "s3://bucket?access_key=a&secret_key=b", "s3://bucket?secret_key=", "s3://bucket?region=x&session_token=t",
     "s3://bucket#x", "s3://bucket/x#?region=y", "memory://x", "local:///etc", "abfs://x"],
    ids=ascii,
)  # fmt: skip
def test_a_root_that_is_none_is_refused(client: TestClient, bad: str) -> None:
    answer = client.post("/api/v1/sources", json={"name": "bad", "root": bad})
    assert pointers(answer) in (["/root"], [""])
    assert client.get("/api/v1/sources").json()["items"] == []


def test_a_root_is_where_its_links_lead(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert check_root(str(tmp_path / "link")) == str(tmp_path / "real")
    assert check_root(f"{tmp_path}/real/../real//") == str(tmp_path / "real")


def test_links_out_of_a_root_are_not_followed(client: TestClient, root: Path) -> None:
    outside = root.parent / "outside"
    (root / "to-file.jsonl").symlink_to(outside / "secret.jsonl")
    (root / "to-folder").symlink_to(outside)
    (root / "to-root-like").symlink_to(root.parent / "root-of-another")
    (root / "by-steps").symlink_to("to-folder")
    (root / "up").symlink_to("..")
    (root / "loop").symlink_to("loop")
    (root / "nowhere").symlink_to("nothing-there")
    (root / "within").symlink_to("folder")
    assert listed(client) == ["folder", "within", "top.jsonl"]
    assert listed(client, "within") == ["within/a.jsonl"]
    for path in ("to-folder", "to-file.jsonl", "to-root-like", "by-steps", "up", "up/outside", "within/../up", "loop"):
        answer = client.get("/api/v1/sources/s/objects", params={"path": path})
        assert pointers(answer) == ["query/path"] and "secret" not in answer.text


def test_a_folder_swapped_for_a_link_shows_nothing(
    client: TestClient, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check and the reading, the folder becomes a link that leads out."""
    resolve = api.sources.roots.resolve

    def swap(where: str) -> Any:
        (root / "folder").rename(root / "moved")
        (root / "folder").symlink_to(root.parent / "outside")
        return resolve(where)

    monkeypatch.setattr(api.sources.roots, "resolve", swap)
    assert listed(client, "folder") == []
    monkeypatch.undo()
    assert pointers(client.get("/api/v1/sources/s/objects?path=folder")) == ["query/path"]


def test_a_root_swapped_for_a_link_shows_nothing(client: TestClient, root: Path) -> None:
    root.rename(root.parent / "moved")
    root.symlink_to(root.parent / "outside")
    assert pointers(client.get("/api/v1/sources/s/objects")) == ["query/path"]


def test_odd_entries_of_a_folder_do_no_harm(client: TestClient, root: Path) -> None:
    os.mkfifo(root / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = os.open(root, os.O_RDONLY)
    try:
        listener.bind(f"/proc/self/fd/{here}/socket")  # a socket's path is short
        for name in ("new\nline", "a?b=c", "%2e%2e", "~", "…", "-rf"):
            (root / name).write_text("")
        found = listed(client)
    finally:
        os.close(here)
        listener.close()
    assert "pipe" not in found and "socket" not in found
    assert {"new\nline", "a?b=c", "%2e%2e", "~", "…", "-rf"} <= set(found)
    with open(os.fsencode(root) + b"/\xff\xfe", "wb"):
        assert pointers(client.get("/api/v1/sources/s/objects")) == ["query/path"]


@pytest.mark.parametrize("name", ["%00", "..", "%2e%2e", "..%2f..%2fetc", "a%00b", "%ff", "%ed%a0%80", "x" * 5000, "é"])
def test_names_in_paths_are_only_names(database: Database, tmp_path: Path, name: str) -> None:
    client = client_of(tmp_path, database)
    for what in ("sources", "pipelines", "schedules", "datasets", "webhooks", "keys", "runs"):
        for tail in ("", "/versions/latest", "/revisions/1", "/objects", "/fires", "/funnel"):
            answer = client.get(f"/api/v1/{what}/{name}{tail}")
            if answer.status_code not in (200, 307):
                assert answer.status_code in (400, 404, 405, 422), answer.text
                problem(answer, answer.status_code)


# --- host and origin


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8321", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:127.0.0.1",
     "127.0.0.2", "[::2]", "[::1", "::1", "0", "127.1", "localhost.", "localhost:", "localhost:x", "localhost@evil", "",
     "evil.example#localhost", "localhost,evil.example", "localhost evil", "@localhost", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_a_foreign_host_is_misdirected(client: TestClient, host: str) -> None:
    for path in ("/api/v1/runs", "/healthz", "/nothing"):
        problem(client.get(path, headers={"Host": host}), 421, "misdirected-host")
    problem(client.post("/api/v1/keys", json={"name": "a"}, headers={"Host": host}), 421, "misdirected-host")


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8321", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8321", "LOCALHOST:80"]
)
def test_loopback_has_its_names(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("given", "host", "fits"),
    [({"allowed_hosts": ("B.Example",)}, "b.example", True), ({"allowed_hosts": ("a.example",)}, "A.example:1", True),
     ({"allowed_hosts": ("mill.example:8443",)}, "mill.example:8443", True),
     ({"allowed_hosts": ("mill.example",)}, "sub.mill.example", False),
     ({"allowed_hosts": ("[fd00::1]",)}, "[fd00::1]:8321", True),
     ({"public_url": "https://Mill.example/"}, "mill.example", True),
     ({"public_url": "https://[fd00::1]:8443"}, "[fd00::1]:8443", True),
     ({"public_url": "mill.example"}, "", False), ({"allowed_hosts": ("",)}, "", False)],
)  # fmt: skip
def test_the_service_goes_by_the_names_it_was_given(
    tmp_path: Path, database_here: Database, given: dict[str, Any], host: str, fits: bool
) -> None:
    answer = client_of(tmp_path, database_here, **given).get("/healthz", headers={"Host": host})
    assert answer.status_code == (200 if fits else 421)


def test_a_request_without_a_host_is_refused(client: TestClient) -> None:
    with serving(client.app) as (host, port):  # type: ignore[arg-type]
        assert b" 421 " in talk(host, port, b"GET /healthz HTTP/1.0\r\n\r\n").split(b"\r\n")[0]
        assert b" 400 " in talk(host, port, b"GET /healthz HTTP/1.1\r\n\r\n").split(b"\r\n")[0]
        two = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert b" 400 " in talk(host, port, two).split(b"\r\n")[0]


FOREIGN = [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:8321.evil.example"}, {"Origin": "https://127.0.0.1:8321"},
    {"Origin": "http://localhost:8321"}, {"Origin": "HTTP://127.0.0.1:8321"}, {"Origin": "http://127.0.0.1:8321/"},
    {"Origin": "http://127.0.0.1:8321, https://evil.example"}, {"Origin": "file://"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "unknown"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
]  # fmt: skip


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_cannot_write(client: TestClient, headers: dict[str, str]) -> None:
    for operation in operations(client.app):  # type: ignore[arg-type]
        if operation.method not in ("GET", "HEAD"):
            body = json.dumps(BODIES.get(operation.name, {}))
            answer = client.request(operation.method, operation.url(), content=body, headers={**JSON, **headers})
            problem(answer, 403, "foreign-origin")
    assert client.get("/api/v1/keys", headers=headers).json() == {"items": []}  # reading is up to the browser
    assert "access-control-allow-origin" not in client.get("/api/v1/keys", headers=headers).headers


def test_the_own_page_writes(tmp_path: Path, database_here: Database) -> None:
    client = client_of(tmp_path, database_here, allowed_origins=("https://desk.example",))
    for headers in (
        {},
        {"Origin": BASE},
        {"Origin": BASE, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://desk.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:8321", "Host": "localhost:8321"},
    ):
        assert client.post("/api/v1/keys", json={"name": "a"}, headers=headers).status_code == 201, headers


def test_a_key_is_no_foreign_page(tmp_path: Path, database_here: Database) -> None:
    """No page of another site has a key; but a wrong one opens nothing."""
    client = locked(tmp_path, database_here)
    foreign = {"Origin": "https://tool.example"}
    sent = client.post("/api/v1/keys", json={"name": "a"}, headers={**foreign, **bearer(ADMIN_KEY)})
    assert sent.status_code == 201
    problem(client.post("/api/v1/keys", json={"name": "a"}, headers={**foreign, **bearer("wrong")}), 401)
    problem(client.post("/api/v1/keys", json={"name": "a"}, headers={**foreign, "Authorization": ""}), 403)
    unlocked = client_of(tmp_path, database_here)
    problem(unlocked.post("/api/v1/keys", json={"name": "a"}, headers={**foreign, "Authorization": "x"}), 401)


def test_every_answer_has_the_headers(tmp_path: Path, database_here: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    client = locked(tmp_path, database_here, requests_per_minute=1000)

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(api.sources.routes, "find_named", fail)
    own = bearer(ADMIN_KEY)
    answers = [
        client.get("/healthz"), client.get("/metrics", headers=own), client.get("/api/v1/nothing"),
        client.post("/healthz"),
        client.get("/api/v1/self"), client.get("/api/v1/self", headers=own), client.get("/api/v1/openapi.json"),
        client.get("/api/v1/self", headers={"Host": "evil"}), client.post("/api/v1/keys", headers={"Origin": "evil"}),
        client.get("/api/v1/sources/any", headers=own), client.get("/api/v1/runs/x", headers=own),
        client.post("/api/v1/keys", content=b"{", headers={**own, **JSON}), client.get("/api/v1/runs/", headers=own),
        client.post("/api/v1/keys", content=b"x" * (1 << 21), headers={**own, **JSON}),
    ]  # fmt: skip
    poor = locked(tmp_path, database_here, requests_per_minute=1)
    answers += [poor.get("/healthz"), poor.get("/healthz")]
    assert {answer.status_code for answer in answers} == {200, 307, 400, 401, 403, 404, 405, 413, 421, 422, 429, 500}
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.request.url
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids) and all(len(one) == 36 for one in ids)


def test_nobody_chooses_the_id_of_a_request(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "mine"}).headers["x-request-id"] != "mine"


# --- sizes


def talk(host: str, port: int, data: bytes, more: Callable[[socket.socket], None] = lambda wire: None) -> bytes:
    """Send bytes as they are; everything that comes back until the server closes."""
    with socket.create_connection((host, port), timeout=30) as wire:
        wire.sendall(data)
        more(wire)
        parts = []
        while part := wire.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)


def test_a_body_over_the_limit_is_refused_by_its_length_alone(client: TestClient) -> None:
    head = (
        b"POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with serving(client.app) as address_:  # type: ignore[arg-type]
        answer = talk(*address_, head % ((1 << 20) + 1))  # not a byte of it is sent
    first, _, rest = answer.partition(b"\r\n")
    assert b" 413 " in first and b"connection: close" in rest.lower() and b"problem:too-large" in rest


def test_a_body_without_end_is_stopped(client: TestClient) -> None:
    head = b"POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0

    def endless(wire: socket.socket) -> None:
        nonlocal sent
        try:
            for sent in range(100_000):  # noqa: B007
                wire.sendall(chunk)
        except OSError:  # the server has had enough
            return

    with serving(client.app) as address_:  # type: ignore[arg-type]
        try:
            answer = talk(*address_, head + b"Transfer-Encoding: chunked\r\n\r\n", endless)
            assert answer == b"" or b" 413 " in answer.partition(b"\r\n")[0]
        except ConnectionError:
            pass  # the answer was lost with what was sent after it
        assert sent < 2000  # of 100,000; what had been on its way already
        assert b" 200 " in talk(*address_, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")


def test_a_body_without_a_length_ends_at_the_limit(client: TestClient) -> None:
    given = itertools.count()

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            next(given)
            yield b" " * (1 << 16)

    problem(client.post("/api/v1/keys", content=endless(), headers=JSON), 413, "too-large")


def test_the_limit_is_the_limit(tmp_path: Path, database_here: Database) -> None:
    client = client_of(tmp_path, database_here, max_body_bytes=1024)
    fits = b'{"name": "a"}'.ljust(1024)
    assert client.post("/api/v1/keys", content=fits, headers=JSON).status_code == 201
    problem(client.post("/api/v1/keys", content=fits + b" ", headers=JSON), 413, "too-large")


def test_a_slow_body_holds_nobody_up(client: TestClient) -> None:
    head = (
        b"POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    )
    ask_health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with serving(client.app) as address_:  # type: ignore[arg-type]
        slow = [socket.create_connection(address_, timeout=30) for _ in range(64)]  # more than threads of the server
        for wire in slow:
            wire.sendall(head + b'{"name":')
        assert b" 200 " in talk(*address_, ask_health)
        for wire in slow[1:]:
            wire.close()  # inside the body
        assert b" 200 " in talk(*address_, ask_health)
        slow[0].sendall(b' "a"}')
        assert b" 201 " in slow[0].recv(1 << 16)
        slow[0].close()
    assert [key["name"] for key in client.get("/api/v1/keys").json()["items"]] == ["a"]


def test_headers_without_end_are_refused(client: TestClient) -> None:
    with serving(client.app) as address_:  # type: ignore[arg-type]
        one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * (1 << 20) + b"\r\n\r\n"
        many = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: x\r\n" * 100_000 + b"\r\n"
        for request in (one, many, b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            try:
                answer = talk(*address_, request)
            except ConnectionError:
                continue
            assert answer == b"" or b" 400 " in answer.partition(b"\r\n")[0] or b" 431 " in answer[:20], answer[:100]
        assert b" 200 " in talk(*address_, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("name", ["if-match", "if-none-match", "idempotency-key", "last-event-id", "range", "accept"])
@pytest.mark.parametrize(
    "value", [b"x" * 8000, b"\xff\xfe", b"", b'"', b",,,", b"bytes=9-", b"9" * 400, b"W/", b"\xb2"]
)
def test_no_header_breaks_a_route(client: TestClient, database_here: Database, name: str, value: bytes) -> None:
    run_id = queued_run(database_here)
    headers = [(name.encode(), value)]
    answers = [
        client.get(f"/api/v1/runs/{run_id}", headers=headers),
        client.get(f"/api/v1/runs/{run_id}/events", headers=headers),
        client.patch(f"/api/v1/runs/{run_id}", json={"note": "n"}, headers=headers),
        client.post("/api/v1/runs", json=BODIES["submit_run"], headers=headers),
        client.get("/api/v1/datasets/d/versions/1/files/f", headers=headers),
    ]
    for answer in answers:
        assert answer.status_code < 500
        if answer.status_code >= 400:
            problem(answer, answer.status_code)


# --- JSON


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


def test_depth_of_json_is_bounded(client: TestClient) -> None:
    def post(content: bytes, media_type: str = "application/json") -> Any:
        return client.post("/api/v1/keys", content=content, headers={"Content-Type": media_type})

    assert MAX_JSON_DEPTH == 64
    problem(post(nested(64)), 422)
    for media_type in ("application/json", "APPLICATION/JSON", "application/x+json", "Application/Json;charset=utf-8"):
        problem(post(nested(65), media_type), 400, "malformed-request")
    for content in (
        nested(100_000), nested(100_000, '{"a":', "}"), b"[" * 100_000, nested(65, ' \n["]",', "]"),
        b'{"name": "a", "x": ' + nested(64) + b"}", b'["\\\\"' + b"," + nested(64) + b"]",
        b'["\\""' + b"," + nested(64) + b"]",
    ):  # fmt: skip
        problem(post(content), 400, "malformed-request")
    for encoding in ("utf-16", "utf-16-le", "utf-32-be"):  # quotes and brackets would be counted wrong
        hidden = ('["\\"", ' + "[" * 500 + "]" * 500 + "]").encode(encoding)
        problem(post(hidden), 400, "malformed-request")
    problem(post(b'"' + b"[" * 1000 + b'"'), 422)  # inside a text they nest nothing


@pytest.mark.parametrize("content", [b'"[[[', b'"\\', b"]]]]", b"", b'"\\"[', b'{"a": "\\\\"}'])
def test_depth_of_what_is_no_json(content: bytes) -> None:
    check_depth(content * 100 if b'"' not in content else content)


NUMBERS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1E400"]


@pytest.fixture
def dataset(database: Database) -> str:
    """Name of a dataset with a version whose files are nowhere."""
    run_id = queued_run(database, state="succeeded", result={"manifest_digest": "x"})
    statements = (
        "insert into datasets (id, name, kind, latest, created_at, created_by) values ('d', 'd', 'corpus', 1, 0, 't')",
        "insert into dataset_versions (dataset_id, number, run_id, location, manifest_digest, facts, created_at, "
        f"created_by) values ('d', 1, '{run_id}', '/nowhere', 'x', '{{}}', 0, 't')",
    )
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
    return "d"


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_json_has_not_are_refused(database: Database, tmp_path: Path, dataset: str, number: str) -> None:
    client = client_of(tmp_path, database)
    run_id = queued_run(database)
    attempt_of(database, run_id, "token", state="running")
    internal, inputs = f"/internal/v1/attempts/{run_id}/1", '"inputs": [{"source": "s"}]'
    for path, body in (
        ("/api/v1/trainings", f'{{"name": "t", "datasets": [{{"name": "d"}}], "config": {{"a": [{number}]}}}}'),
        ("/api/v1/trainings", f'{{"name": "t", "datasets": [{{"name": "d"}}], "config": {{}}, "priority": {number}}}'),
        ("/api/v1/runs", f'{{"recipe": {{"name": "r", "x": {number}}}, "inputs": [{{"source": "s"}}]}}'),
        ("/api/v1/runs:validate", f'{{"recipe": "crawl", {inputs}, "thresholds": {{"a": {number}}}}}'),
        ("/api/v1/runs", f'{{"recipe": "crawl", "kind": "preview", "sample_share": {number}, {inputs}}}'),
        (f"{internal}/heartbeat", f'{{"state": {{"done": {number}}}}}'),
        (f"{internal}/heartbeat", f'{{"sayings": [{{"number": 1, "kind": "metrics", "values": {{"l": {number}}}}}]}}'),
        (f"{internal}/complete", f'{{"outcome": "succeeded", "result": {{"tokens": {number}}}}}'),
    ):  # fmt: skip
        headers = {**JSON, **(bearer("token") if path.startswith("/internal") else {})}
        problem(client.post(path, content=body.encode(), headers=headers), 422, "invalid")
    assert client.get("/api/v1/trainings").json()["items"] == []
    assert client.get(f"/api/v1/runs/{run_id}").json()["state"] == "running"


def test_huge_numbers_do_no_harm(database: Database, tmp_path: Path, dataset: str) -> None:
    client = client_of(tmp_path, database)
    body = '{"name": "t", "datasets": [{"name": "d"}], "config": {"a": %s}}'
    for number in ("9" * 4000, "-" + "9" * 4000, "1e308", "0." + "1" * 4000, str(1 << 64)):
        made = client.post("/api/v1/trainings", content=body % number, headers=JSON)
        assert made.status_code == 202
        assert client.get(f"/api/v1/runs/{made.json()['id']}").json()["config"] == json.loads(body % number)["config"]
    problem(client.post("/api/v1/trainings", content=body % ("9" * 5000), headers=JSON), 400, "malformed-request")
    for name, number in itertools.product(("priority",), ("9" * 4000, "1e300", "1.5", "-101", str(1 << 63))):
        content = f'{{"recipe": "crawl", "inputs": [{{"source": "s"}}], "{name}": {number}}}'
        assert f"/{name}" in pointers(client.post("/api/v1/runs", content=content, headers=JSON))
    for path in (
        "/api/v1/runs?limit=" + "9" * 400, f"/api/v1/runs/{NOBODY}/events?after=" + "9" * 30,
        "/api/v1/datasets/d/versions/" + "9" * 30, f"/api/v1/runs/{NOBODY}/logs?attempt=2147483648",
        "/api/v1/pipelines/p/revisions/" + "9" * 30, "/api/v1/datasets/d/versions/999999999",
        "/api/v1/datasets/d/versions/²", "/api/v1/datasets/d/versions/-1",
    ):  # fmt: skip
        answer = client.get(path)
        assert answer.status_code in (404, 422), path
        problem(answer, answer.status_code)


def test_of_names_that_come_twice_the_last_counts(client: TestClient) -> None:
    """As everywhere in Python; nothing reads the body in another way, so nothing can be smuggled past a check."""
    made = client.post("/api/v1/keys", content=b'{"name": "NOT A NAME", "name": "fine"}', headers=JSON)
    assert made.json()["name"] == "fine"
    assert pointers(client.post("/api/v1/keys", content=b'{"name": "a", "name": "NOT A NAME"}', headers=JSON)) == [
        "/name"
    ]


def texts_of(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of the texts in a body."""
    if isinstance(body, str):
        yield path
    elif isinstance(body, dict):
        for name, value in body.items():
            yield from texts_of(value, (*path, name))
    elif isinstance(body, list):
        for place, value in enumerate(body):
            yield from texts_of(value, (*path, place))


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A body with another value in one place."""
    copied = json.loads(json.dumps(body))
    at = copied
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copied


JOB = {
    "recipe": PLAIN, "inputs": [{"source": "s", "path": "p"}], "name": "n", "note": "n", "tags": ["t"], "publish": "p",
    "earlier": [{"name": "e"}],
}  # fmt: skip
POLICY = {"cron": "0 3 * * *", "time_zone": "UTC", "starts_at": "2026-01-01T00:00:00Z", "overlap": "skip"}
FULL: dict[tuple[str, str], Any] = {  # every text field of every body that people send
    ("POST", "/api/v1/runs"): JOB,
    ("POST", "/api/v1/runs:validate"): JOB,
    ("POST", "/api/v1/runs:estimate"): {**JOB, "kind": "preview"},
    ("PATCH", f"/api/v1/runs/{NOBODY}"): {"name": "n", "note": "n", "tags": ["t"]},
    ("POST", f"/api/v1/runs/{NOBODY}/fork"): {"thresholds": {}, "name": "n", "publish": "p", "tags": ["t"]},
    ("POST", "/api/v1/trainings"): {
        "name": "t", "datasets": [{"name": "d", "version": "latest", "role": "r"}], "config": {"a": {"b": ["c"]}},
        "note": "n", "tags": ["t"],
    },
    ("POST", "/api/v1/schedules:preview"): {"policy": POLICY},
    ("POST", "/api/v1/schedules"): {"name": "n", "policy": POLICY, "request": JOB},
    ("PATCH", "/api/v1/schedules/none"): {"policy": POLICY, "request": JOB},
    ("POST", "/api/v1/schedules/none/backfill"): {"first_date": "2026-01-01", "last_date": "2026-01-02"},
    ("PATCH", "/api/v1/datasets/none"): {"description": "d"},
    ("POST", "/api/v1/datasets/none/versions"): {"run": NOBODY},
    ("POST", "/api/v1/pipelines"): {"name": "n", "description": "d", "recipe": PLAIN},
    ("POST", "/api/v1/pipelines/none/revisions"): {"recipe_yaml": "name: r"},
    ("POST", "/api/v1/sources"): {"name": "n", "root": "/", "description": "d"},
    ("POST", "/api/v1/webhooks"): {"url": "https://hooks.example", "kinds": ["run.failed"]},
    ("PATCH", f"/api/v1/webhooks/{NOBODY}"): {"kinds": ["run.failed"]},
    ("POST", "/api/v1/keys"): {"name": "n", "role": "viewer", "scopes": ["runs:read"]},
}  # fmt: skip


@pytest.mark.parametrize("bad", ["\ud800", "a\udfffb", "\x00", "a\x00"], ids=ascii)
def test_halves_of_characters_and_nul_are_refused_everywhere(database: Database, tmp_path: Path, bad: str) -> None:
    client = client_of(tmp_path, database)
    for (method, path), body in FULL.items():
        for place in texts_of(body):
            content = json.dumps(replaced(body, place, bad))  # escaped, as JSON allows
            answer = client.request(method, path, content=content, headers=JSON)
            assert answer.status_code == 422, f"{path} {place}: {answer.text}"
            problem(answer, 422)
        content = json.dumps({**body, bad: 1})
        problem(client.request(method, path, content=content, headers=JSON), 422)
    raw = b'{"name": "a\xed\xa0\x80"}'  # the same, not escaped
    answer = client.post("/api/v1/keys", content=raw, headers=JSON)
    assert answer.status_code in (400, 422)


def test_cursors_are_only_taken_as_they_were_given(database: Database, tmp_path: Path) -> None:
    client = client_of(tmp_path, database)
    for place in (["\ud800"], ["\x00"], ["é"], [1], [], [None], [["a"]], ["a", "b"], [float("nan")], [{"a": 1}]):
        for what in ("pipelines", "schedules", "datasets"):
            answer = client.get(f"/api/v1/{what}", params={"cursor": encode(place, {"of": what})})
            assert pointers(answer) == ["query/cursor"], place
    for cursor in ("", "x", "é", "W10", "e30", "bnVsbA", "MQ", "ImEi", "====", "W1tbW1tbW1tbW1tb" * 30, "\x00"):
        assert pointers(client.get("/api/v1/pipelines", params={"cursor": cursor})) == ["query/cursor"]
    mine = {"cursor": encode(["a"], {"of": "pipelines"})}
    assert client.get("/api/v1/pipelines", params=mine).json() == {"items": [], "next": None}
    filters = {name: None for name in (
        "state", "kind", "pipeline", "schedule", "parent", "tag", "created_after", "created_before")}  # fmt: skip
    for place in ([1 << 62, "a"], [-(1 << 62), "a"], [10**300, "a"], [1.0, "a"], [True, "a"]):
        answer = client.get("/api/v1/runs", params={"cursor": encode(place, filters)})
        assert pointers(answer) == ["query/cursor"], place


# --- recipes


def yaml_faults(client: TestClient, document: str) -> list[dict[str, str]]:
    answer = client.post("/api/v1/pipelines", json={"name": "p", "recipe_yaml": document})
    faults: list[dict[str, str]] = problem(answer, 422, "invalid")["errors"]
    return faults


BITES = [
    "!!python/object/apply:os.system ['touch {file}']",
    "name: !!python/object/new:os.system ['touch {file}']",
    "!!python/object/apply:subprocess.check_call [['touch', '{file}']]",
    "name: !!python/name:os.system",
    "name: !!python/module:antigravity",
    "!!python/object/apply:builtins.eval [\"open('{file}', 'w')\"]",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {file}']",
    "%TAG ! tag:yaml.org,2002:python/\n---\n!object/apply:os.system ['touch {file}']",
    "name: !custom x", "name: !!binary aGVsbG8=", "name: !!timestamp 2026-01-01", "name: !!set {{a, b}}",
    "name: !!omap [a: b]", "name: !!pairs [a: b]", "name: 2026-01-01", "name: =",
]  # fmt: skip


@pytest.mark.parametrize("document", BITES)
def test_tags_of_yaml_make_nothing(client: TestClient, tmp_path: Path, document: str) -> None:
    made = tmp_path / "made-by-yaml"
    faults = yaml_faults(client, document.format(file=made))
    assert not made.exists()
    assert faults and "not plain YAML" in faults[0]["message"]


@pytest.mark.parametrize(
    "document",
    ['name: !!bool "x"', 'name: !!int ""', 'name: !!float ""', 'name: !!int "x"', 'name: !!float "x"', "name: !!null x",
     "!!map x", "name: !!str [a]", "name: !!seq {a: b}", "!!bool maybe", "name: !!int _", "name: !!float '.'",
     "name: 0x" + "f" * 5000, "name: " + "1:" * 2000 + "1", "name: 0b" + "1" * 20_000, "name: !!int '-'"],
    ids=range(16),
)  # fmt: skip
def test_tags_that_do_not_fit_are_refused(client: TestClient, document: str) -> None:
    assert yaml_faults(client, document)


def test_aliases_of_yaml_are_refused(client: TestClient) -> None:
    laughs = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    for document in (laughs, "a: &a [*a]", "&a name: b", "name: &a x\ndescription: *a", "x: &x {a: 1}\n<<: *x"):
        assert "anchors and aliases" in yaml_faults(client, document)[0]["message"]


def test_merge_keys_merge_nothing(client: TestClient) -> None:
    faults = yaml_faults(client, "<<: {name: r, stages: [{stage: extraction}]}")
    assert "/recipe_yaml/name" in {fault["pointer"] for fault in faults}


@pytest.mark.parametrize(
    "document",
    ["a: 1\na: 2", "? [a]\n: b", "? {a: b}\n: c", "a: [", "\t- a", "--- a\n--- b", "", "#", "---", "- " * 40, "[" * 40,
     "{a: " * 40, "a\x07", "%YAML 9.9\n---\na", "null", "text", "1", "[]", "key: 'open", "\ufeff", "@a", "`a"],
)  # fmt: skip
def test_what_is_no_recipe_is_said_kindly(client: TestClient, document: str) -> None:
    assert yaml_faults(client, document)


@pytest.mark.parametrize("escaped", [r"\ud800", r"\0", r"\x00", r"a\udfff"])
def test_yaml_escapes_bring_in_nothing_that_json_may_not(database: Database, tmp_path: Path, escaped: str) -> None:
    client = client_of(tmp_path, database)
    for document in (
        f'name: "{escaped}"\nstages: [{{stage: extraction}}]',
        f'name: r\ndescription: "{escaped}"\nstages: [{{stage: extraction}}]',
        f'name: r\nstages: [{{stage: extraction, "{escaped}": 1}}]',
        f'"{escaped}": r',
    ):
        assert yaml_faults(client, document)


def test_a_large_yaml_is_refused_or_read(client: TestClient) -> None:
    whole = f"name: r\ndescription: {'d' * ((1 << 16) - 100)}\nstages: [{{stage: extraction}}]\n"
    assert client.post("/api/v1/pipelines", json={"name": "large", "recipe_yaml": whole}).status_code == 201
    roomy = client_of(client.app.state.context.settings.home, client.app.state.context.database,  # type: ignore
                      max_body_bytes=1 << 23)  # fmt: skip
    answer = roomy.post("/api/v1/pipelines", json={"name": "p", "recipe_yaml": "#" * ((1 << 16) + 1)})
    assert pointers(answer) == ["/recipe_yaml"]
    in_bytes = roomy.post("/api/v1/pipelines", json={"name": "p", "recipe_yaml": "#" + "é" * (1 << 15)})
    assert "at most 65536 bytes" in problem(in_bytes, 422)["errors"][0]["message"]


# --- models


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.fixture
def models(home: Path) -> Path:
    """The folder of models of the shared application, empty."""
    folder = home / "models"
    for path in (folder, home / "outside"):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    return folder


def with_models(models: Any) -> dict[str, Any]:
    stages = [{"stage": "extraction"}, {"stage": "language"}, {"stage": "perplexity", "models": models}]
    return {"name": "r", "stages": stages}


def with_domain(model: Any) -> dict[str, Any]:
    return {
        "name": "r",
        "stages": [{"stage": "extraction"}, {"stage": "language"}, {"stage": "domain", "model": model}],
    }


def recipe_faults(client: TestClient, recipe: dict[str, Any]) -> list[dict[str, str]]:
    faults: list[dict[str, str]] = []
    for path, body in (
        ("/api/v1/pipelines", {"name": "p", "recipe": recipe}),
        ("/api/v1/runs:validate", {"recipe": recipe, "inputs": [{"source": "s"}]}),
    ):
        found = problem(client.post(path, json=body), 422, "invalid")["errors"]
        faults += [fault for fault in found if fault["pointer"].startswith("/recipe")]
    assert len(faults) >= 2
    return faults


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside", "a/../../outside", "/", "..", "~/x", "x\\..\\..", "a/../x", "//etc"]
)
def test_models_outside_their_folder_are_refused(client: TestClient, models: Path, path: str) -> None:
    (models.parent / "outside").mkdir()
    for recipe in (with_models({"en": path}), with_domain(path)):
        for fault in recipe_faults(client, recipe):
            assert str(models.parent) not in fault["message"] and "Traceback" not in fault["message"]
            if path.startswith("/") or ".." in Path(path).parts:
                assert "below the folder of models" in fault["message"]


def test_models_behind_links_are_refused(client: TestClient, models: Path) -> None:
    outside = models.parent / "outside"
    outside.mkdir()
    for name in ("model.arpa", "sp.model", "config.json", "model.safetensors", "tokenizer.json"):
        (outside / name).write_text("{}")
    (models / "link").symlink_to(outside)
    (models / "steps").symlink_to("link")
    (models / "prefix.arpa").symlink_to(outside / "model.arpa")
    for path in ("link", "steps", "link/model", "./link"):
        for recipe in (with_models({"en": path}), with_domain(path)):
            for fault in recipe_faults(client, recipe):
                assert "below the folder of models" in fault["message"]


def bombs(models: Path, marker: Path) -> Iterator[dict[str, Any]]:
    """Recipes whose models are pickles under every name that a model may have."""
    payload = pickle.dumps(Bomb(marker))
    (models / "x.pkl").write_bytes(payload)
    yield with_models({"en": "x.pkl"})
    yield with_domain("x.pkl")
    folder = models / "named"
    folder.mkdir()
    for name in ("model.arpa", "model.arpa.bin", "sp.model", "percentiles.json", "en.arpa.bin", "en.sp.model"):
        (folder / name).write_bytes(payload)
    yield with_models({"en": "named"})
    (models / "prefix.arpa.bin").write_bytes(payload)
    (models / "prefix.sp.model").write_bytes(payload)
    yield with_models({"en": "prefix"})
    classifier = models / "classifier"
    classifier.mkdir()
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "id2label": {"0": "a", "1": "b"},
    }
    (classifier / "config.json").write_text(json.dumps(config))
    (classifier / "tokenizer.json").write_bytes(payload)
    (classifier / "pytorch_model.bin").write_bytes(payload)
    yield with_domain("classifier")


def test_a_pickle_is_never_opened(client: TestClient, models: Path, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    pickle.loads(pickle.dumps(Bomb(marker))).close()
    assert marker.exists()  # the trap works
    marker.unlink()
    client.post("/api/v1/sources", json={"name": "s", "root": str(tmp_path)})
    for recipe in bombs(models, marker):
        answer = client.post("/api/v1/runs:validate", json={"recipe": recipe, "inputs": [{"source": "s"}]})
        assert not marker.exists(), recipe
        slot = recipe["stages"][2]
        if "x.pkl" in str(slot) or slot.get("model"):
            assert problem(answer, 422)["errors"][0]["message"]
        if slot.get("model") == "classifier":
            assert "pickle" in answer.text and "safetensors" in answer.text
        assert str(models) not in answer.text  # where the folder lies is nobody's business


def test_a_driver_refuses_a_pickle_without_opening_it(models: Path, tmp_path: Path) -> None:
    """Whatever the checks before let through: the loaders themselves read no pickle."""
    from pipelines.recipe import build_recipe
    from pipelines.yaml_source import YamlSource

    marker = tmp_path / "unpickled"
    payload = pickle.dumps(Bomb(marker))
    for recipe in bombs(models, marker):
        folder = models / "classifier"
        if folder.is_dir():
            (folder / "model.safetensors").write_bytes(payload)  # a pickle under the good name
        with pytest.raises(InputError):
            load_models(build_recipe(YamlSource("recipe", recipe, {}), models).stages[-1])
        assert not marker.exists(), recipe


def load_models(stage: Any) -> None:
    """Load what a stage would load for its first document."""
    if stage.name == "perplexity":
        from curation.perplexity.scorer import load_scorer

        for files in stage._models.values():
            load_scorer(files)
    else:
        from curation.domain.classifier import load_classifier

        load_classifier(stage.parameters.model)


# --- addresses of webhooks

PRIVATE = [
    "169.254.169.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.1", "0.0.0.0", "0",
    "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0251.0376.0251.0376", "2852039166", "0xa9fea9fe", "10.1",
    "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fd00::1]", "[fc00::]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:db8::1]", "[ff02::1]", "[::127.0.0.1]", "[fec0::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_no_webhook_goes_to_a_private_address(client: TestClient, host: str) -> None:
    for url in (f"https://{host}/hook", f"https://{host}:8443", f"HTTPS://{host}"):
        answer = client.post("/api/v1/webhooks", json={"url": url})
        assert pointers(answer) == ["/url"]
        assert host not in answer.json()["errors"][0]["message"]
    assert client.get("/api/v1/webhooks").json()["items"] == []


@pytest.mark.parametrize("host", ["localhost", "internal", "metadata.google.internal", "127.0.0.1.nip.example"])
def test_a_name_that_leads_inside_is_never_connected_to(
    tmp_path: Path, database_here: Database, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A name says nothing about where it leads, so it is registered; each delivery judges what it resolves to."""
    from api.runs.store import emit
    from api.webhooks import deliver as delivering
    from api.webhooks.relay import Relay

    client = client_of(tmp_path, database_here)
    made = client.post("/api/v1/webhooks", json={"url": f"https://{host}/", "kinds": ["*"]})
    assert made.status_code == 201
    run_id = queued_run(database_here)

    def dial(*_: Any) -> None:
        raise AssertionError("it connected")

    def inside(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 0))]  # fmt: skip

    monkeypatch.setattr(delivering, "_dial", dial)
    with database_here.write() as connection:
        emit(connection, run_id, "run.failed", "t", database_here.now(connection), {})

    def send(*args: Any, **options: Any) -> Any:
        return delivering.deliver(*args, **options, resolver=inside)

    relay = Relay(Settings(home=tmp_path), database_here, send)
    assert relay()
    relay.wait()
    [first, *_] = client.get(f"/api/v1/webhooks/{made.json()['id']}/deliveries").json()["items"]
    assert first["state"] == "pending" and first["attempts"] == 1 and first["last_status"] is None
    assert "not public" in first["last_error"] and "169" not in first["last_error"]


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example", "https://user:password@hooks.example", "https://hooks.example:22", "ftp://hooks.example",
     "https://hooks.example#x", "https://", "//hooks.example", "javascript:alert(1)", "https://hooks.example\\@10.0.0.1",
     "https://hooks.example\r\nX: y", "https://hooks.exa mple", "https://[::1", "file:///etc/passwd", "https://é.example"],
)  # fmt: skip
def test_a_url_of_a_webhook_is_plain(client: TestClient, url: str) -> None:
    answer = client.post("/api/v1/webhooks", json={"url": url})
    assert pointers(answer) == ["/url"] and "password" not in answer.json()["errors"][0]["message"].replace(
        "no password", ""
    )


# --- rates


def test_too_many_requests_are_refused_until_time_passes(
    tmp_path: Path, database_here: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("api.http.guard.time.monotonic", lambda: now)
    client = client_of(tmp_path, database_here, requests_per_minute=3)
    assert [client.get("/version").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = client.get("/version")
    problem(answer, 429, "too-many-requests")
    assert answer.headers["retry-after"] == "20"
    now += 20
    assert [client.get("/version").status_code for _ in range(2)] == [200, 429]
    now += 1
    assert client.get("/version").headers["retry-after"] == "19"
    now += 1_000_000
    assert [client.get("/version").status_code for _ in range(4)] == [200, 200, 200, 429]  # no more than a minute's


def test_each_key_has_its_own_rate(tmp_path: Path, database_here: Database) -> None:
    client = locked(tmp_path, database_here, requests_per_minute=10)
    keys = [make_key(database_here, Role.VIEWER, name=f"k{n}")[1] for n in range(3)]
    for key in keys:
        codes = [client.get("/api/v1/self", headers=bearer(key)).status_code for _ in range(11)]
        assert codes == [200] * 10 + [429]
    assert client.get("/version").status_code == 200  # the address has what three first requests left of its own
    other = TestClient(client.app, BASE, client=("192.0.2.7", 1))
    assert other.get("/version").status_code == 200


def test_keys_that_are_made_up_give_nobody_more(tmp_path: Path, database_here: Database) -> None:
    client = locked(tmp_path, database_here, requests_per_minute=5)
    codes = [client.get("/api/v1/self", headers=bearer(f"guess-{n}")).status_code for n in range(20)]
    assert codes == [401] * 5 + [429] * 15
    assert client.get("/version").status_code == 429
    other = TestClient(client.app, BASE, client=("192.0.2.7", 1))
    assert other.get("/api/v1/self", headers=bearer(ADMIN_KEY)).status_code == 200


def test_what_is_remembered_of_callers_is_bounded() -> None:
    rates = Rates(100_000_000)
    for n in range(Rates.REMEMBERED + 500):
        assert rates.take("10.0.0.1", f"Bearer {n} " + "x" * 10_000) == 0
    assert len(rates._buckets) == Rates.REMEMBERED
    assert max(map(len, rates._buckets)) < 100 and not any("Bearer" in name for name in rates._buckets)


def test_no_limit_is_no_limit(tmp_path: Path, database_here: Database) -> None:
    client = client_of(tmp_path, database_here, requests_per_minute=0)
    assert {client.get("/version").status_code for _ in range(200)} == {200}


# --- secrets

SECRET = "canary7f3a9e51d2"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What the service would write to its log, at its most talkative."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.setLevel(before)
    logger.removeHandler(handler)


# Words of small languages of our own, said back so that a slip is seen; nobody has a secret to write there.
SAID_BACK = re.compile(r"(/request)?/recipe/stages/\d+/stage|/policy/(cron|time_zone)")


def wrong_everywhere(value: Any) -> Iterator[tuple[str, str, Any]]:
    """Every body with a value where it cannot be, and under names that are none."""
    for (method, path), body in FULL.items():
        for place in texts_of(body):
            yield method, path, replaced(body, place, value)
        for name in body:
            yield method, path, {**body, name: value}
            yield method, path, {**body, name: {"deep": [value]}}
            yield method, path, {**body, name: [value]}
        yield method, path, {**body, "password": value, "unknown": {"token": value}}
        yield method, path, value
        yield method, path, [value]


def test_answers_to_wrong_requests_never_repeat_values(
    tmp_path: Path, database_here: Database, logged: io.StringIO
) -> None:
    client = client_of(tmp_path, database_here)
    refused = 0
    for value in (f"NOT A {SECRET} NAME", f"~{SECRET}", SECRET * 700):
        for method, path, body in wrong_everywhere(value):
            answer = client.request(method, path, json=body)
            assert answer.status_code < 500
            if answer.status_code >= 400:
                refused += 1
                found = answer.json()
                for error in found.pop("errors", []):
                    assert SECRET not in json.dumps(error) or SAID_BACK.fullmatch(error["pointer"]), (path, error)
                assert SECRET not in json.dumps(found), (path, found)
    assert refused > 300
    queries = {"limit": SECRET, "cursor": SECRET, "state": SECRET, "tag": f"~{SECRET}", "created_after": SECRET,
               "by": SECRET, "first": SECRET, "after": SECRET, "attempt": SECRET, "path": f"../{SECRET}"}  # fmt: skip
    for operation in operations(client.app):  # type: ignore[arg-type]
        if operation.method == "GET":
            answer = client.get(operation.url(name=SECRET, run_id=SECRET, ref=SECRET, hook_id=SECRET), params=queries)
            assert answer.status_code < 400 or SECRET not in answer.text, operation
    headers = {"Idempotency-Key": f" {SECRET} ", "If-Match": SECRET, "Last-Event-ID": SECRET, "Range": SECRET}
    assert SECRET not in client.post("/api/v1/runs", json=BODIES["submit_run"], headers=headers).text
    assert SECRET not in client.get(f"/api/v1/runs/{NOBODY}/events", headers=headers).text
    assert SECRET not in client.get("/healthz", headers={"Host": SECRET}).text
    assert SECRET not in client.post("/api/v1/keys", json={}, headers={"Origin": SECRET}).text


def rows_of(database: Database) -> dict[str, str]:
    """Everything in the database, as text, by table."""
    with database.read() as connection:
        return {
            table.name: repr([tuple(row) for row in connection.execute(table.select())])
            for table in metadata.sorted_tables
        }


@pytest.mark.parametrize("away", [False, True], ids=["database", "no database"])
def test_no_secret_gets_out(
    tmp_path: Path, database: Database, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """Secrets of every kind go in; good and bad requests of every kind are made; nothing shows any of them."""
    admin, token, input_ = f"{SECRET}-admin", f"{SECRET}-token", f"{SECRET}-input"
    url = f"postgresql+psycopg://user:{SECRET}-database@127.0.0.1:1/x" if away else database.url
    settings = Settings(home=tmp_path, require_key=True, admin_key=admin, database_url=url)
    assert SECRET not in repr(settings) and SECRET not in str(settings.model_dump())
    service = Database(url) if away else database
    client = TestClient(create_app(settings, service), BASE, headers=bearer(admin))
    secrets = [SECRET]
    if not away:
        made = client.post("/api/v1/keys", json={"name": "k", "role": "admin"}).json()
        hook = client.post("/api/v1/webhooks", json={"url": "https://hooks.example/", "kinds": ["*"]}).json()
        secrets += [made["key"], made["key"].rpartition("_")[2], hook["secret"], hook["secret"].removeprefix("whsec_")]
        run_id = queued_run(database)
        attempt_of(database, run_id, token)
    else:
        run_id = NOBODY

    def fail(connection: Any, *_: Any) -> None:
        raise RuntimeError(
            f"password={input_} Authorization: Bearer {admin} postgresql://user:{SECRET}-database@db/x "
            f"{' '.join(secrets[1:2])} {' '.join(secrets[3:4])}"
        )

    answers = []
    for key in (admin, token, *secrets[1:2], f"{SECRET}-wrong", f"gm_{'a' * 16}_{SECRET}"):
        for operation in operations(client.app):  # type: ignore[arg-type]
            if operation.name not in ("make_key", "revoke_api_key", "remove_webhook"):
                answers.append(ask(client, operation, key, run_id=run_id))
    for body in ({"password": input_}, {"name": f"~{input_}"}, {"name": "a", "api_key": {"token": input_}}, [input_]):
        for path in ("runs", "sources", "webhooks", "trainings", "pipelines", "schedules"):
            answers.append(client.post(f"/api/v1/{path}", json=body))
    answers += [
        client.post("/api/v1/sources", json={"name": "s", "root": f"s3://key:{input_}@bucket"}),
        client.post("/api/v1/sources", json={"name": "s", "root": f"s3://bucket?access_key=a&secret_key={input_}"}),
        client.post("/api/v1/webhooks", json={"url": f"https://user:{input_}@hooks.example"}),
        client.post("/api/v1/runs", content=f'{{"password": "{input_}"'.encode(), headers=JSON),
        client.get("/api/v1/runs", params={"token": input_, "limit": 0}),
        client.get("/healthz", headers={"Host": input_}),
        client.get("/api/v1/webhooks"), client.get("/api/v1/keys"), client.get("/api/v1/audit"),
        client.get(f"/api/v1/runs/{run_id}"), client.get(f"/api/v1/runs/{run_id}/events"),
        client.get(f"/api/v1/runs/{run_id}/attempts"), client.get("/metrics"), client.get("/readyz"),
    ]  # fmt: skip
    for what in ("find_named", "browse"):
        monkeypatch.setattr(api.sources.routes, what, fail)
    answers += [client.get("/api/v1/sources/x"), client.get("/api/v1/sources/x/objects")]
    wanted = {401, 422, 400, 421} | ({503} if away else {200, 404, 409, 500})
    assert wanted <= {answer.status_code for answer in answers}
    shown = {str(answer.request.url): answer.text + repr(answer.headers) for answer in answers}
    log = logged.getvalue()
    assert log.count("\n") > 100 and all(json.loads(line)["said"] for line in log.splitlines())
    assert away or "RuntimeError" in log
    for secret in secrets:
        for where, said in shown.items():
            if secret not in where:  # what was asked for stands in the request itself
                assert secret not in said, where
        for line in log.splitlines():
            assert secret not in line, line
    if not away:
        rows = rows_of(database)
        assert run_id in rows["events"] and "hooks.example" in rows["webhooks"]
        rows["webhooks"] = rows["webhooks"].replace(hook["secret"], "")  # has to be known, to sign with
        for secret, (table, said) in itertools.product(secrets, rows.items()):
            assert secret not in said, table


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=1&limit=2", "query/limit"), ("actor=a&limit=1&actor=b", "query/actor"), ("%00=1&%00=2", "query"),
     ("&".join(f"a{n}=1" for n in range(101)), "query")],
)  # fmt: skip
def test_a_query_says_each_thing_once(client: TestClient, query: str, pointer: str) -> None:
    assert pointers(client.get(f"/api/v1/audit?{query}")) == [pointer]
    assert client.get("/api/v1/audit?limit=1&actor=a").status_code == 200
