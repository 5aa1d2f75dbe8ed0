"""Administration: sources, keys, webhooks, audit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from api.access.roles import SCOPES, Role, scopes_of
from api.app import create_app
from api.settings import Settings
from api.store.tables import audit, deliveries, sources
from tests.api.http import ADMIN_KEY, bearer, locked, make_key, serving
from tests.pages.browser import WIDTHS, screenshot, watched
from tests.pages.finished import Mill
from tests.pages.reading import Read, read

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202eevil\u200b' + "W" * 3000


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    found = Mill.at(tmp_path / "home")
    yield found
    found.database.close()


@pytest.fixture
def client(mill: Mill) -> TestClient:
    return mill.client()


# Sources


def test_a_source_is_declared_and_browsed(mill: Mill, client: TestClient) -> None:
    root = mill.folder / "crawl"
    (root / "2026" / "night").mkdir(parents=True)
    (root / "2026" / "a.jsonl").write_text("x" * 2048)
    answer = client.post("/admin/sources", data={"name": "crawl", "root": str(root), "description": "ours"})
    assert answer.headers["location"] == "/admin/sources/crawl"
    assert client.get("/api/v1/sources/crawl").json()["root"] == str(root)
    assert read(client, "/admin").rows("Sources")[0][:3] == ["crawl", str(root), "ours"]
    page = read(client, "/admin/sources/crawl?path=2026")
    rows = [[cell.text_content().strip() for cell in row.xpath("./td")][:2] for row in page.all("//tbody/tr")]
    assert rows == [["night/", "folder"], ["a.jsonl", "2.0 KiB"]]
    assert "/admin/sources/crawl?path=2026%2Fnight" in page.links()
    assert "/runs/new?source=crawl&path=2026%2Fa.jsonl" in page.links()
    assert "is empty" in read(client, "/admin/sources/crawl?path=2026/night").text()


@pytest.mark.parametrize("path", ["../..", "/etc", "nothing", "a\nb", "x\\y"])
def test_nothing_outside_of_a_source_is_browsed(client: TestClient, path: str) -> None:
    page = client.get("/admin/sources/here", params={"path": path})
    assert page.status_code == 422 and not Read(page).all("//tbody")


@pytest.mark.parametrize(
    ("field", "value"), [("name", "No!"), ("name", ""), ("root", "relative"), ("root", "/nowhere"), ("root", "ftp://x")]
)
def test_what_is_wrong_with_a_source_stands_at_its_field(client: TestClient, field: str, value: str) -> None:
    answer = client.post("/admin/sources", data={"name": "x", "root": "/", "description": "", field: value})
    assert answer.status_code == 422 and f'id="{field}-wrong"' in answer.text and value in answer.text
    assert len(client.get("/api/v1/sources").json()["items"]) == 1


def test_a_source_is_declared_once(client: TestClient) -> None:
    answer = client.post("/admin/sources", data={"name": "here", "root": "/"})
    assert answer.status_code == 409 and "there is a source of this name" in answer.text


# Keys


def test_a_key_is_shown_once_and_works_until_it_is_revoked(mill: Mill, client: TestClient) -> None:
    answer = client.post("/admin/keys", data={"name": "ci", "role": "operator"})
    found = re.search(r"gm_([a-z2-7]{16})_[A-Za-z0-9_-]{43}", answer.text)
    assert answer.status_code == 201 and found and answer.headers["cache-control"] == "no-store"
    assert found[0] not in client.get("/admin/keys").text and found[0] not in client.get("/admin/audit").text
    outside = locked(mill.folder, mill.database)
    assert outside.get("/api/v1/runs", headers=bearer(found[0])).status_code == 200
    assert "Revoke this key?" in read(client, f"/admin/keys/{found[1]}/revoke").text()
    assert client.get("/api/v1/keys").json()["items"][0]["revoked_at"] is None  # asking changes nothing
    assert client.post(f"/admin/keys/{found[1]}/revoke", data={}).status_code == 303
    assert outside.get("/api/v1/runs", headers=bearer(found[0])).status_code == 401
    assert "It is revoked already" in read(client, f"/admin/keys/{found[1]}/revoke").text()
    assert client.get(f"/admin/keys/{'a' * 16}/revoke").status_code == 404


def test_a_key_is_narrowed(client: TestClient) -> None:
    fields = {"name": "ci", "role": "operator", "scope:runs:read": "1", "scope:runs:write": "1"}
    assert client.post("/admin/keys", data=fields).status_code == 201
    assert client.get("/api/v1/keys").json()["items"][0]["scopes"] == ["runs:read", "runs:write"]
    more = client.post("/admin/keys", data={"name": "x", "role": "viewer", "scope:keys:write": "1"})
    assert more.status_code == 422 and 'id="scopes-wrong"' in more.text
    assert Read(more).all("//input[@name='scope:keys:write' and @checked]")  # what was chosen stays


def test_the_table_of_roles_is_what_holds(client: TestClient) -> None:
    rows = read(client, "/admin/keys").rows("Roles and scopes")
    assert [row[0] for row in rows] == list(SCOPES)
    for scope, *may in rows:
        assert [word == "yes" for word in may] == [scope in scopes_of(role) for role in Role]


# Webhooks


def test_a_webhook_from_its_making_to_its_end(mill: Mill, client: TestClient) -> None:
    answer = client.post("/admin/webhooks", data={"url": "https://hooks.example.org/a", "kinds": "run.*\nrun.failed"})
    secret = re.search(r"whsec_[A-Za-z0-9+/=]+", answer.text)
    found = client.get("/api/v1/webhooks").json()["items"][0]
    here = f"/admin/webhooks/{found['id']}"
    assert answer.status_code == 201 and secret and found["kinds"] == ["run.*", "run.failed"]
    assert secret[0] not in client.get(here).text
    assert client.post(f"{here}/test", data={}).status_code == 303
    told = client.get(f"/api/v1/webhooks/{found['id']}/deliveries").json()["items"]
    assert [(one["body"]["kind"], one["state"]) for one in told] == [("webhook.test", "pending")]
    assert not read(client, here).all("//button[text()='Send again']")
    with mill.database.write() as connection:
        connection.execute(update(deliveries).values(state="parked", attempts=12, last_status=500, last_error="no"))
    page = read(client, f"{here}?state=parked")
    assert page.rows("Messages of this webhook, the latest first")[0][1:5] == ["webhook.test", "parked", "12", "500 no"]
    assert not read(client, f"{here}?state=delivered").rows("Messages of this webhook, the latest first")
    assert client.post(f"{here}/deliveries/{told[0]['id']}/redeliver", data={}).status_code == 303
    assert client.get(f"/api/v1/webhooks/{found['id']}/deliveries").json()["items"][0]["state"] == "pending"
    client.post(f"{here}/change", data={"paused": "yes"})
    client.post(f"{here}/change", data={"kinds": "dataset.published"})
    changed = client.get(f"/api/v1/webhooks/{found['id']}").json()
    assert changed["paused"] is True and changed["kinds"] == ["dataset.published"]
    assert client.post(f"{here}/change", data={"kinds": ""}).status_code == 422
    assert "Remove this webhook?" in read(client, f"{here}/remove").text()
    assert client.post(f"{here}/remove", data={}).status_code == 303
    assert client.get(here).status_code == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [("url", "http://hooks.example.org"), ("url", "https://127.0.0.1/"), ("url", "https://a:b@c.example/"), ("url", ""),
     ("kinds", ""), ("kinds", "Not A Kind")],
)  # fmt: skip
def test_what_is_wrong_with_a_webhook_stands_at_its_field(client: TestClient, field: str, value: str) -> None:
    answer = client.post("/admin/webhooks", data={"url": "https://hooks.example.org", "kinds": "run.*", field: value})
    assert answer.status_code == 422 and f'id="{field}-wrong"' in answer.text


# Audit, and who may see what


def test_the_audit_is_filtered_and_has_pages(mill: Mill, client: TestClient) -> None:
    with mill.database.write() as connection:
        now = mill.database.now(connection)
        actions = ("key.make", "run.submit", "run.submit")
        rows = [{"id": f"{n:036}", "at": now + n, "actor": f"key:{n % 2}", "action": actions[n % 3],
                 "subject": f"{n:036}", "detail": {"n": n}} for n in range(120)]  # fmt: skip
        connection.execute(audit.insert(), rows)

    def walk(query: str) -> list[list[str]]:
        found, path = [], f"/admin/audit{query}"
        while path:
            page = read(client, path)
            found += page.rows("Audit")
            path = next(iter(page.links("//a[@rel='next']/@href")), "")
        return found

    assert [row[3] for row in walk("")] == [f"{n:036}" for n in reversed(range(120))]
    mine = walk("?actor=key%3A1&action=key.make")
    assert [int(row[3]) for row in mine] == [n for n in reversed(range(120)) if n % 2 and n % 3 == 0]
    assert f"/runs/{119:036}" in read(client, "/admin/audit?action=run.submit").links()
    assert read(client, "/admin/audit?cursor=wrong", 422)


PATHS = {
    "/admin": "sources:read", "/admin/sources/here": "sources:read", "/admin/keys": "keys:read",
    "/admin/webhooks": "webhooks:read", "/admin/audit": "audit:read",
}  # fmt: skip
COMMANDS = ("/admin/sources", "/admin/keys", f"/admin/keys/{'a' * 16}/revoke", "/admin/webhooks",
            *(f"/admin/webhooks/{'0' * 36}/{word}" for word in ("change", "test", "remove")),
            f"/admin/webhooks/{'0' * 36}/deliveries/{'0' * 36}/redeliver")  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_each_role_sees_and_does_what_it_may(mill: Mill, role: Role) -> None:
    client = locked(mill.folder, mill.database)
    key = bearer(make_key(mill.database, role)[1])
    for path, scope in PATHS.items():
        assert client.get(path, headers=key).status_code == (200 if scope in scopes_of(role) else 403), path
        assert client.get(path).status_code == 303  # nobody: to sign in
    page = client.get("/admin", headers=key).text
    assert ("Declare it" in page) == (role == Role.ADMIN) and ("/admin/keys" in page) == (role == Role.ADMIN)
    for path in COMMANDS:
        answer = client.post(path, data={"name": "x"}, headers=key)
        assert (answer.status_code == 403) == (role != Role.ADMIN), path


def test_the_page_says_what_runs_here(mill: Mill) -> None:
    client = locked(mill.folder, mill.database)
    text = read(client, "/login").text()
    client.post("/login", data={"key": ADMIN_KEY})
    text = read(client, "/admin").text()
    assert client.get("/version").json()["version"] in text and "ready" in text and "needed" in text


# Hostile texts, and a browser


def hostile(mill: Mill) -> list[str]:
    """Addresses of pages with hostile texts."""
    client = mill.client()
    folder = mill.folder / "in" / HOSTILE[:60].replace("/", "")
    folder.mkdir()
    (folder / ("W" * 200)).write_text("x")
    client.post("/admin/webhooks", data={"url": "https://hooks.example.org/" + "W" * 1900, "kinds": "run.*"})
    hook = client.get("/api/v1/webhooks").json()["items"][0]["id"]
    client.post(f"/admin/webhooks/{hook}/test", data={})
    make_key(mill.database, "viewer", name=HOSTILE[:90])
    with mill.database.write() as connection:
        connection.execute(update(sources).values(description=HOSTILE[:2000]))
        connection.execute(
            update(deliveries).values(last_error=HOSTILE, state="parked", body={"kind": HOSTILE[:40], "x": HOSTILE})
        )
        now = mill.database.now(connection)
        values = {"id": "f" * 36, "at": now, "actor": HOSTILE[:120], "action": "run.submit", "subject": HOSTILE[:200]}
        connection.execute(audit.insert().values(**values, detail={HOSTILE[:60]: HOSTILE}))
    key = next(one for one in client.get("/api/v1/keys").json()["items"])["id"]
    return ["/admin", "/admin/sources/here", f"/admin/sources/here?path={HOSTILE[:20]}", "/admin/keys",
            f"/admin/keys/{key}/revoke", "/admin/webhooks", f"/admin/webhooks/{hook}",
            f"/admin/webhooks/{hook}/remove", "/admin/audit", "/admin/audit?actor=%3Cscript%3E&action=x"]  # fmt: skip


def test_hostile_texts_are_texts(mill: Mill) -> None:
    client = mill.client()
    for path in hostile(mill):
        answer = client.get(path)
        assert answer.status_code in (200, 422), path
        page = Read(answer)
        assert "<script>alert" not in page.html and "\u202e" not in page.html and "<img src=x" not in page.html, path
        assert not page.all("//@onerror") and not page.all("//*[@style]"), path


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_read_well(mill: Mill, browser: Any, theme: str) -> None:
    paths = hostile(mill)
    with serving(create_app(Settings(home=mill.folder), mill.database)) as (host, port):
        for width in WIDTHS:
            with watched(browser, f"http://{host}:{port}", width, theme=theme, expected="422") as seen:
                for number, path in enumerate(paths):
                    page = seen.open(path, 422 if "path=" in path else 200)
                    seen.quiet()
                    seen.fits()
                    if width == 1024 or theme == "light":
                        seen.accessible()
                    screenshot(page, f"admin-{number}-{width}-{theme}")
