"""The first page, the days behind it, and what is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from api.store.tables import runs, schedules
from tests.api.http import bearer, client_of, locked, make_key, queued_run, sqlite
from tests.pages.finished import Milled
from tests.pages.reading import read

DAY = 86_400_000
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202etxt.exe\u200b' + "W" * 10_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    found = sqlite(tmp_path)
    yield found
    found.close()


def test_an_empty_service_says_the_three_steps(tmp_path: Path, database: Any) -> None:
    page = read(client_of(tmp_path, database), "/")
    assert [item.xpath("./h2")[0].text for item in page.all("//ol[@class='steps']/li")] == [
        "1. Say where the data lies", "2. Run a recipe over it", "3. Look, tighten, publish",
    ]  # fmt: skip
    assert {"/admin", "/runs/new", "/datasets"} <= set(page.links())


def test_a_viewer_is_told_who_does_the_steps(tmp_path: Path, database: Any) -> None:
    client = locked(tmp_path, database)
    _, key = make_key(database, "viewer")
    client.post("/login", data={"key": key})
    page = read(client, "/")
    assert "/runs/new" not in page.links("//a/@href") and "An operator starts runs" in page.text()


def test_what_runs_and_what_failed(tmp_path: Path, database: Any) -> None:
    progress = {
        "phase": "milling",
        "done": 30,
        "total": 120,
        "phase_seconds_left": 95.0,
        "shards": 3,
        "shards_total": 9,
    }
    working = queued_run(database, state="running", progress=progress, name=HOSTILE[:200])
    broken = queued_run(database, state="failed", reason=HOSTILE, finished_at=1_700_000_000_000)
    page = read(client_of(tmp_path, database), "/")
    now = page.text("//section[@id='now']")
    assert ", 25.0 %, 3 of 9 files, 1 min 35 s left" in now and f"/runs/{working}" in page.links()
    assert page.all("//section[@id='now']//progress/@value") == ["30"]
    assert f"/runs/{broken}" in page.links() and "U+202E" in page.rows("Runs that failed last")[0][1]
    assert not page.all("//main//script[not(@type)]") and not page.all("//img[@src='x']")


def test_the_part_that_is_asked_for_again_is_only_that_part(tmp_path: Path, database: Any) -> None:
    queued_run(database)
    client = client_of(tmp_path, database)
    part = client.get("/", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith("<section") and 'hx-trigger="every 4s"' in part and "<html" not in part


def test_days_are_counted_by_state(tmp_path: Path, database: Any) -> None:
    with database.read() as connection:
        today = database.now(connection) // DAY
    for age, state in (
        (0, "queued"),
        (0, "failed"),
        (3, "succeeded"),
        (3, "succeeded"),
        (29, "cancelled"),
        (30, "failed"),
    ):
        queued_run(database, state=state, created_at=(today - age) * DAY + 1)
    client = client_of(tmp_path, database)
    items = client.get("/api/v1/runs:by-day").json()["items"]
    assert len(items) == 30 and [one["day"] for one in items] == sorted(one["day"] for one in items)
    assert (items[-1]["states"], items[-4]["states"]) == ({"queued": 1, "failed": 1}, {"succeeded": 2})
    assert items[0]["states"] == {"cancelled": 1} and sum(bool(one["states"]) for one in items) == 3
    page = read(client, "/")
    rows = page.rows("Runs by day")
    assert [row[0] for row in rows] == [items[-1]["day"], items[-4]["day"], items[0]["day"]]
    assert [sum(int(cell) for cell in row[1:]) for row in rows] == [2, 2, 1]
    listed = read(client, f"/runs?day={items[-4]['day']}")
    assert len(listed.rows("Runs, the latest first")) == 2


def test_days_are_counted_from_an_index_alone(database: Any) -> None:
    from api.runs.overview import _by_day  # noqa: F401

    day = runs.c.created_at - runs.c.created_at % DAY
    query = select(day, runs.c.state, text("count(*)")).where(
        runs.c.state.in_(["queued", "failed"]) & (runs.c.created_at >= 1)
    )
    with database.read() as connection:
        said = str(query.group_by(day, runs.c.state).compile(connection.engine, compile_kwargs={"literal_binds": True}))
        plan = " ".join(row[3] for row in connection.exec_driver_sql(f"explain query plan {said}"))
    assert "COVERING INDEX" in plan, plan


def test_nights_come_in_the_order_of_their_times(tmp_path: Path, database: Any) -> None:
    client = client_of(tmp_path, database)
    client.post("/api/v1/sources", json={"name": "here", "root": str(tmp_path)})
    job = {"recipe": {"name": "r", "stages": [{"stage": "extraction"}]}, "inputs": [{"source": "here"}]}
    for name, cron in (("late", "0 3 1 1 *"), ("soon", "* * * * *"), ("never", "* * * * *")):
        made = client.post("/api/v1/schedules", json={"name": name, "policy": {"cron": cron}, "request": job})
        assert made.status_code == 201, made.text
    with database.write() as connection:
        connection.execute(update(schedules).where(schedules.c.name == "never").values(paused=1))
    queued_run(database)
    assert [row[0] for row in read(client, "/").rows("Schedules that fire next")] == ["soon", "late"]


def test_storage_is_what_the_versions_told(data: Milled) -> None:
    client = data.mill.client()
    told = client.get("/api/v1/storage").json()
    sizes = {}
    for name in ("web", "pairs", "asks"):
        versions = client.get(f"/api/v1/datasets/{name}/versions").json()["items"]
        sizes[name] = sum(one["facts"]["corpus_bytes"] for one in versions)
    assert {one["name"]: one["bytes"] for one in told["largest"]} == sizes and told["bytes"] == sum(sizes.values())
    assert told["versions"] == 4 and 0 < told["disk_free"] <= told["disk_total"]
    assert {row[0] for row in read(client, "/").rows("Largest datasets")} == set(sizes)


def test_no_scope_no_page(tmp_path: Path, database: Any) -> None:
    client = locked(tmp_path, database)
    _, key = make_key(database, "viewer", ["datasets:read"])
    for path in ("/", "/runs", "/runs/new"):
        assert client.get(path, headers=bearer(key)).status_code == 403


def test_a_recipe_is_explained(tmp_path: Path, database: Any) -> None:
    client = client_of(tmp_path, database)
    told = client.post("/api/v1/runs:explain", json={"recipe": "fineweb"}).json()
    rules = {f"{rule['stage']}.{rule['rule']}": rule for stage in told["stages"] for rule in stage["rules"]}
    few = rules["gopher-quality.few-words"]
    assert (few["parameter"], few["unit"], few["about"], few["comparison"]) == (
        "min_words", "count", "words that are more than punctuation", ">=",
    )  # fmt: skip
    assert few["defaults"]["default"] == 50 and rules["extraction.empty-text"]["parameter"] is None
    changed = client.post(
        "/api/v1/runs:explain", json={"recipe": "fineweb", "thresholds": {"gopher-quality.hashes": 0.5}}
    )
    hashes = next(r for s in changed.json()["stages"] for r in s["rules"] if r["rule"] == "hashes")
    assert hashes["thresholds"] == {"default": 0.5} and hashes["defaults"]["default"] == 0.1
    wrong = client.post(
        "/api/v1/runs:explain", json={"recipe": {"name": "x", "stages": [{"stage": "extraction"}, {"stage": "no"}]}}
    )
    assert wrong.status_code == 422 and wrong.json()["errors"][0]["pointer"] == "/recipe/stages/1/stage"
