"""Signing in and out, colours, errors, assets: what every page has."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.pages import assets, vendored
from api.pages.render import environment
from tests.api.http import ADMIN_KEY, client_of, locked, make_key, sqlite


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    found = sqlite(tmp_path)
    yield found
    found.close()


def test_a_key_lets_in_and_is_forgotten(tmp_path: Path, database: Any) -> None:
    client = locked(tmp_path, database)
    answer = client.get("/?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F%3Fx%3D1")
    assert 'name="key"' in client.get(answer.headers["location"]).text
    wrong = client.post("/login", data={"key": "gm_no", "next": "/runs"})
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    right = client.post("/login", data={"key": ADMIN_KEY, "next": "/runs"})
    assert (right.status_code, right.headers["location"]) == (303, "/runs")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Max-Age" not in cookie
    assert client.get("/").status_code == 200
    assert client.get("/api/v1/self").json()["name"] == "admin-key"
    assert client.post("/logout").status_code == 303
    assert client.get("/").status_code == 303


def test_a_cookie_is_sent_over_https_only_where_there_is_https(tmp_path: Path, database: Any) -> None:
    client = locked(tmp_path, database, public_url="https://mill.example", allowed_hosts=("127.0.0.1",))
    assert "Secure" in client.post("/login", data={"key": ADMIN_KEY}).headers["set-cookie"]


def test_a_revoked_key_lets_nobody_in(tmp_path: Path, database: Any) -> None:
    client = locked(tmp_path, database)
    id_, key = make_key(database, "viewer")
    assert client.post("/login", data={"key": key}).status_code == 303
    assert client.get("/").status_code == 200
    client.delete(f"/api/v1/keys/{id_}", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "way", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\r\nb"]
)
def test_no_way_leads_elsewhere(tmp_path: Path, database: Any, way: str) -> None:
    client = locked(tmp_path, database)
    for path, fields in (("/login", {"key": ADMIN_KEY, "next": way}), ("/theme", {"theme": "dark", "back": way})):
        assert client.post(path, data=fields).headers["location"] == "/"


@pytest.mark.parametrize("path", ["/login", "/logout", "/theme", "/runs/new"])
def test_forms_of_other_sites_are_refused(tmp_path: Path, database: Any, path: str) -> None:
    client = client_of(tmp_path, database)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert client.post(path, data={"theme": "dark"}, headers=headers).status_code == 403


def test_the_api_takes_no_forms(tmp_path: Path, database: Any) -> None:
    client = client_of(tmp_path, database)
    assert client.post("/api/v1/keys", data={"name": "x"}).status_code == 415


def test_colours_are_remembered(tmp_path: Path, database: Any) -> None:
    client = client_of(tmp_path, database)
    assert 'data-theme="system"' in client.get("/").text
    client.post("/theme", data={"theme": "dark", "back": "/"})
    assert 'data-theme="dark"' in client.get("/").text
    client.post("/theme", data={"theme": "<script>", "back": "/"})
    assert 'data-theme="dark"' in client.get("/").text


def test_errors_are_pages_for_people_and_documents_for_programs(tmp_path: Path, database: Any) -> None:
    client = client_of(tmp_path, database)
    page = client.get("/<script>alert(1)</script>")
    assert page.status_code == 404 and "text/html" in page.headers["content-type"] and "<script>alert" not in page.text
    assert client.get("/api/v1/nothing").headers["content-type"] == "application/problem+json"


def test_every_page_has_a_strict_policy(tmp_path: Path, database: Any) -> None:
    policy = client_of(tmp_path, database).get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy


def test_assets_are_sent_as_they_are_and_for_ever(tmp_path: Path, database: Any) -> None:
    client: TestClient = client_of(tmp_path, database)
    for name, asset in assets.assets().items():
        answer = client.get(assets.address(name))
        assert answer.content == asset.data and "immutable" in answer.headers["cache-control"]
        plain = client.get(assets.address(name), headers={"Accept-Encoding": "identity"})
        assert plain.content == asset.data and "content-encoding" not in plain.headers
    for path in ("/static/0/style.css", f"/static/{assets.digest()}/../render.py", f"/static/{assets.digest()}/x"):
        assert client.get(path, follow_redirects=True).status_code == 404


def test_what_is_not_ours_is_what_the_lock_file_says() -> None:
    """Hashes computed here again, and nothing lies beside what is locked."""
    locked_files = {}
    for package in json.loads(vendored.LOCK.read_text()):
        assert package["version"] and package["licence"]
        locked_files |= package["files"]
    there = {path.name for path in vendored.FOLDER.iterdir()} - {"lock.json"}
    assert there == set(locked_files)
    for name, digest in locked_files.items():
        assert hashlib.sha256((vendored.FOLDER / name).read_bytes()).hexdigest() == digest
    assert json.loads(vendored.LOCK.read_text()) == vendored.lock()


def test_no_template_and_no_own_asset_names_a_foreign_host_or_has_inline_code() -> None:
    loader = environment().loader
    assert loader is not None
    texts = {name: loader.get_source(environment(), name)[0] for name in loader.list_templates()}
    assert not any(re.search(r"\|\s*safe\b|autoescape", text) for text in texts.values())
    texts |= {name: asset.data.decode() for name, asset in assets.assets().items() if "vendor/" not in name}
    for name, text in texts.items():
        text = re.sub(r"{[{%#].*?[}%#]}", "", text, flags=re.DOTALL)  # what is said in expressions is escaped text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), name
        if name.endswith(".html"):
            assert not re.search(r"\son[a-z]+\s*=|\sstyle\s*=|javascript:", text), name
            assert not re.search(r"<script(?![^>]*(?:src=|type=\"application/json\"))", text), name
