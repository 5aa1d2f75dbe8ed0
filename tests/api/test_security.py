"""What strangers may try: paths that lead out, foreign pages, bodies without end, recipes that bite, secrets that leak."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import pickle
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


@pytest.fixture
def database_here(tmp_path: Path) -> Iterator[Database]:
    database = sqlite(tmp_path)
    yield database
    database.close()


@pytest.fixture
def client(tmp_path: Path, database_here: Database) -> TestClient:
    """A client of an application that wants no key."""
    return client_of(tmp_path, database_here, models_root=tmp_path / "models")


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
    "..\\outside", "\\", "\\\\server\\share", "folder\\..\\..", "C:\\", "a\\b",
    "\x00", "folder\x00", "\x00/etc", "a\nb", "a\rb", "\t..", "\x1b[2J", "\x1f",
    "file:///etc/passwd", "s3://other/bucket", "http://169.254.169.254/latest", "hdfs://x/y", "folder/://x",
    "top.jsonl?endpoint_override=evil.example", "a?region=x",
]  # fmt: skip
NOTHING = [  # harmless, as long as nothing reads more into them
    "%2e%2e", "%2e%2e/outside", "..%2foutside", "%2e%2e%2foutside", "%252e%252e%252foutside", "folder/%2e%2e/%2e%2e",
    "‥/outside", "．．/outside", "..／outside", "..∕outside", "..⁄outside", "..＼outside", "․․/outside",
    "．．／outside", "…", "..;/outside", "%c0%ae%c0%ae/outside", "file:etc", "C:", "$HOME", "${HOME}", "`id`", "*", "**",
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


@pytest.mark.parametrize("raw", ["%2e%2e", "..%2foutside", "%2E%2E%2Foutside", "%5c..", "%00", "%7e", "%2fetc%2fpasswd"])
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
    [({"allowed_hosts": ("Mill.Example",)}, "mill.example", True), ({"allowed_hosts": ("mill.example",)}, "MILL.example:1", True),
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


def test_every_answer_has_the_headers(
    tmp_path: Path, database_here: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = locked(tmp_path, database_here, requests_per_minute=1000)

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(api.sources.routes, "find_source", fail)
    own = bearer(ADMIN_KEY)
    answers = [
        client.get("/healthz"), client.get("/metrics", headers=own), client.get("/nothing"), client.post("/healthz"),
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
    head = b"POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
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
    head = b"POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n"
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
@pytest.mark.parametrize("value", [b"x" * 8000, b"\xff\xfe", b"", b'"', b",,,", b"bytes=9-", b"9" * 400, b"W/", b"\xb2"])
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
        b'{"name": "a", "x": ' + nested(64) + b"}", b'["\\\\"' + b"," + nested(64) + b"]", b'["\\""' + b"," + nested(64) + b"]",
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
    internal = f"/internal/v1/attempts/{run_id}/1"
    for path, body in (
        ("/api/v1/trainings", f'{{"name": "t", "datasets": [{{"name": "d"}}], "config": {{"a": [{number}]}}}}'),
        ("/api/v1/trainings", f'{{"name": "t", "datasets": [{{"name": "d"}}], "config": {{}}, "priority": {number}}}'),
        ("/api/v1/runs", f'{{"recipe": {{"name": "r", "x": {number}}}, "inputs": [{{"source": "s"}}]}}'),
        ("/api/v1/runs:validate", f'{{"recipe": "crawl", "inputs": [{{"source": "s"}}], "thresholds": {{"a": {number}}}}}'),
        ("/api/v1/runs", f'{{"recipe": "crawl", "kind": "preview", "sample_share": {number}, "inputs": [{{"source": "s"}}]}}'),
        (f"{internal}/heartbeat", f'{{"state": {{"done": {number}}}}}'),
        (f"{internal}/heartbeat", f'{{"sayings": [{{"number": 1, "kind": "metrics", "values": {{"loss": {number}}}}}]}}'),
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
    assert pointers(client.post("/api/v1/keys", content=b'{"name": "a", "name": "NOT A NAME"}', headers=JSON)) == ["/name"]


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
            answer = client.get(f"/api/v1/{what}", params={"cursor": encode(place, {})})
            assert pointers(answer) == ["query/cursor"], place
    for cursor in ("", "x", "é", "W10", "e30", "bnVsbA", "MQ", "ImEi", "====", "W1tbW1tbW1tbW1tb" * 30, "\x00"):
        assert pointers(client.get("/api/v1/pipelines", params={"cursor": cursor})) == ["query/cursor"]
    assert client.get("/api/v1/pipelines", params={"cursor": encode(["a"], {})}).json() == {"items": [], "next": None}
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
     "{a: " * 40, "a\x07", "%YAML 9.9\n---\na", "null", "text", "1", "[]", "key: 'open", "a: |\n\tb", "\ufeff", "@a", "`a"],
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
    whole = f"name: r\ndescription: {'d' * ((1 << 19) - 100)}\nstages: [{{stage: extraction}}]\n"
    assert client.post("/api/v1/pipelines", json={"name": "large", "recipe_yaml": whole}).status_code == 201
    roomy = client_of(client.app.state.context.settings.home, client.app.state.context.database,  # type: ignore
                      max_body_bytes=1 << 23)  # fmt: skip
    answer = roomy.post("/api/v1/pipelines", json={"name": "p", "recipe_yaml": "#" * ((1 << 20) + 1)})
    assert pointers(answer) == ["/recipe_yaml"]
    in_bytes = roomy.post("/api/v1/pipelines", json={"name": "p", "recipe_yaml": "#" + "é" * (1 << 19)})
    assert "at most 1048576 bytes" in problem(in_bytes, 422)["errors"][0]["message"]


# --- models


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def with_models(models: Any) -> dict[str, Any]:
    stages = [{"stage": "extraction"}, {"stage": "language"}, {"stage": "perplexity", "models": models}]
    return {"name": "r", "stages": stages}


def with_domain(model: Any) -> dict[str, Any]:
    return {"name": "r", "stages": [{"stage": "extraction"}, {"stage": "language"}, {"stage": "domain", "model": model}]}


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
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "id2label": {"0": "a", "1": "b"}}
    (classifier / "config.json").write_text(json.dumps(config))
    (classifier / "tokenizer.json").write_bytes(payload)
    (classifier / "pytorch_model.bin").write_bytes(payload)
    yield with_domain("classifier")


def test_a_pickle_is_never_opened(client: TestClient, models: Path, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    with pickle_opened(marker):  # the trap works
        pickle.loads(pickle.dumps(Bomb(marker))).close()
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
        with pytest.raises(Exception) as caught:
            loaded = build_recipe(YamlSource("recipe", recipe, {}), models)
            stage = loaded.stages[-1]
            stage.open() if hasattr(stage, "open") else load_models(stage)
        assert str(caught.value), recipe
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


class pickle_opened:
    """Expects a file to appear, and removes it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __enter__(self) -> None:
        assert not self.marker.exists()

    def __exit__(self, *_: Any) -> None:
        assert self.marker.exists()
        self.marker.unlink()
