"""Runs: the list, one with everything that happened to it, commands, forks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from api.pages.run_figures import attempts_of, flows, phases_of, strip_of
from api.runs.models import Attempt
from api.statistics.models import FunnelRow
from api.store.tables import log_lines
from tests.api.http import attempt_of, client_of, locked, make_key, queued_run, serving, sqlite
from tests.pages.browser import WIDTHS, screenshot, watched
from tests.pages.finished import Milled
from tests.pages.reading import path_of, read
from workers.progress import CELLS, Progress

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a\u202etxt.exe",
    "W" * 10_000,
    "zero\u200bwidth",
]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    found = sqlite(tmp_path)
    yield found
    found.close()


# --- the list -----------------------------------------------------------------------------------------------------


def test_filters_are_those_of_the_api_and_stay_on_the_next_page(tmp_path: Path, database: Any) -> None:
    ids = [queued_run(database, state="failed", tags=["night"]) for _ in range(30)]
    queued_run(database, state="failed")
    queued_run(database, tags=["night"])
    client = client_of(tmp_path, database)
    seen: list[str] = []
    path: str | None = "/runs?state=failed&tag=night"
    while path:
        page = read(client, path)
        seen += [path_of(link).rpartition("/")[2] for link in page.links("//tbody//td[1]/a[1]/@href")]
        path = next(iter(page.links("//a[@rel='next']/@href")), None)
    assert seen == ids[::-1]
    chips = read(client, "/runs?state=failed&tag=night").links("//ul[@aria-label='Filters that are set']//a/@href")
    assert chips == ["/runs?tag=night", "/runs?state=failed"]


@pytest.mark.parametrize("query", ["state=nothing", "day=yesterday", "cursor=x", "tag=%00"])
def test_filters_that_cannot_be_are_said(tmp_path: Path, database: Any, query: str) -> None:
    client = client_of(tmp_path, database)
    page = read(client, f"/runs?{query}", 200 if query == "tag=%00" else 422)
    assert page.all("//*[@role='alert']") or page.status == 200


def test_trainings_have_a_page_of_their_own(tmp_path: Path, database: Any) -> None:
    run_id = queued_run(database, kind="training")
    client = client_of(tmp_path, database)
    assert f"/trainings/{run_id}" in read(client, "/runs").links()
    assert client.get(f"/runs/{run_id}").headers["location"] == f"/trainings/{run_id}"


# --- one run ------------------------------------------------------------------------------------------------------


def test_the_funnel_adds_up_and_leads_to_documents(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, f"/runs/{data.first}")
    rows = page.rows("Funnel")
    counts = [int(row[3].replace(",", "")) for row in rows]
    assert counts[0] == sum(counts[1:]) > 20 and rows[-1][1] == "kept"
    for link in page.links("//div[@aria-label='Funnel']//a/@href"):
        assert client.get(link).status_code == 200 or "/stages/deduplication" in link, link


def test_a_flow_loses_nothing_and_has_no_cycle() -> None:
    rows = [
        FunnelRow(stage="", reason="read", verdict="read", documents=100, tokens=0),
        *(FunnelRow(stage="read", reason=f"r{n}", verdict="dropped", documents=5, tokens=0) for n in range(8)),
        FunnelRow(stage="kept", reason="kept", verdict="dropped", documents=10, tokens=0),
        FunnelRow(stage="", reason="kept", verdict="kept", documents=50, tokens=0),
    ]  # fmt: skip
    links = flows(rows, "documents", "id")["series"][0]["links"]
    into: dict[str, float] = {"read": 100}
    for link in links:
        into[link["target"]] = into.get(link["target"], 0) + link["value"]
    for name in {link["source"] for link in links}:
        assert into[name] == sum(link["value"] for link in links if link["source"] == name)
    assert into["kept"] == 50 and into["read: 2 other reasons"] == 10
    assert all(link["source"] != link["target"] for link in links)


def test_the_strip_counts_every_file_once() -> None:
    for total in (1, 7, CELLS, 1000):
        progress = Progress()
        names = [f"shard-{n}" for n in range(total)]
        progress.shards(names)
        for name in [*names, names[0]]:
            progress.milled(
                {"identity": name, "records": 1, "left": 1, "computed": [], "errors": {}, "seconds": {"read": 0.1}}
            )
        cells = strip_of(progress.report()["state"])
        assert len(cells) == min(total, CELLS) and cells[0][0] == 1 and cells[-1][1] == total
        assert all(done == last - first + 1 for first, last, done in cells)
        assert all(before[1] + 1 == after[0] for before, after in pairwise(cells))


def test_phases_last_until_the_next() -> None:
    told = {"phases": [{"phase": "milling", "at": 1.0}, {"phase": "publishing", "at": 9.0}], "seconds": 12.0}
    assert phases_of(told) == [("milling", 1.0, 8.0), ("publishing", 9.0, 3.0)] and phases_of({}) == []


def test_attempts_share_one_scale() -> None:
    def attempt(number: int, begin: str, end: str | None) -> Attempt:
        return Attempt(number=number, outcome="release" if end else None, reason=None, started_at=begin,
                       heartbeat_at="2026-01-01T00:01:30Z", finished_at=end)  # fmt: skip

    found = attempts_of([attempt(1, "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z"),
                         attempt(2, "2026-01-01T00:01:00Z", None)])  # fmt: skip
    assert found == [(1, 0.0, 10.0, "release"), (2, 60.0, 90.0, "goes on")]


def test_a_run_at_work_is_live_and_one_that_ended_asks_for_the_whole_page(tmp_path: Path, database: Any) -> None:
    progress = {"phase": "milling", "done": 1, "total": 4, "shards": 1, "shards_total": 3, "strip": [1, 0, 0]}
    run_id = queued_run(database, progress=progress)
    attempt_of(database, run_id, "token", state="running")
    client = client_of(tmp_path, database)
    page = read(client, f"/runs/{run_id}")
    live = page.all("//gm-live")[0]
    assert live.get("events") == f"/api/v1/runs/{run_id}/events" and "run.progress" in live.get("kinds")
    assert page.rows("Files that are done") == [["1", "1 of 1"], ["2", "0 of 1"], ["3", "0 of 1"]]
    part = client.get(live.get("address"))
    assert part.text.startswith('<div id="live">') and "hx-refresh" not in part.headers
    client.post(f"/api/v1/runs/{run_id}/cancel")
    with database.write() as connection:
        from api.runs import store
        from api.runs.states import Actor

        store.transition(connection, run_id, "release", Actor.DRIVER, "d", database.now(connection))
    assert client.get(live.get("address")).headers["hx-refresh"] == "true"
    assert not read(client, f"/runs/{run_id}").all("//gm-live")


def test_commands_are_those_that_the_state_allows_and_are_asked_twice(tmp_path: Path, database: Any) -> None:
    run_id = queued_run(database)
    client = client_of(tmp_path, database)
    base = f"/runs/{run_id}/commands/"
    assert [link for link in read(client, f"/runs/{run_id}").links() if base in link] == [
        f"{base}cancel",
        f"{base}pause",
    ]
    assert client.get(f"/api/v1/runs/{run_id}").json()["state"] == "queued"
    asked = read(client, f"{base}cancel")
    assert asked.all("//main//form/@action") == [f"{base}cancel"] and asked.all("//main//form/@method") == ["post"]
    assert client.post(f"{base}cancel").headers["location"] == f"/runs/{run_id}"
    assert client.get(f"/api/v1/runs/{run_id}").json()["state"] == "cancelled"
    assert client.post(f"{base}pause").status_code == 409
    assert "cannot do that" in read(client, f"{base}pause").text()
    assert client.post(f"{base}nothing").status_code == 404


def test_a_viewer_sees_no_command_and_is_refused(tmp_path: Path, database: Any) -> None:
    run_id = queued_run(database)
    client = locked(tmp_path, database)
    client.post("/login", data={"key": make_key(database, "viewer")[1]})
    page = read(client, f"/runs/{run_id}")
    assert not any("/commands/" in link for link in page.links()) and not page.all("//main//form[@method='post']")
    for path in ("commands/cancel", "change", "fork"):
        assert client.post(f"/runs/{run_id}/{path}").status_code == 403


def test_name_tags_and_note_are_changed_or_said_to_be_wrong(tmp_path: Path, database: Any) -> None:
    run_id = queued_run(database)
    client = client_of(tmp_path, database)
    good = {"name": "Better", "tags": "a, b c", "priority": "5", "note": "line\r\nline"}
    assert client.post(f"/runs/{run_id}/change", data=good).status_code == 303
    run = client.get(f"/api/v1/runs/{run_id}").json()
    assert (run["name"], run["tags"], run["priority"], run["note"]) == ("Better", ["a", "b", "c"], 5, "line\nline")
    wrong = client.post(f"/runs/{run_id}/change", data={**good, "tags": "NO", "name": "<b>"})
    assert (
        wrong.status_code == 422 and "/tags/0" in wrong.text and 'value="NO"' in wrong.text and "<b>" not in wrong.text
    )


def test_the_log_is_filtered_and_has_pages(tmp_path: Path, database: Any) -> None:
    run_id = queued_run(database)
    attempt_of(database, run_id, "token")
    with database.write() as connection:
        lines = [{"run_id": run_id, "number": n, "epoch": 1, "at": n, "level": "error" if n % 3 == 0 else "info",
                  "text": HOSTILE[n % len(HOSTILE)][:4000]} for n in range(1, 251)]  # fmt: skip
        connection.execute(insert(log_lines), lines)
    client = client_of(tmp_path, database)
    page = read(client, f"/runs/{run_id}")
    assert len(page.rows("Lines of the log")) == 200 and not page.all("//main//script[not(@type)]")
    following = read(client, page.links("//a[@rel='next']/@href")[0].partition("#")[0])
    assert [row[0] for row in following.rows("Lines of the log")] == [str(n) for n in range(201, 251)]
    errors = read(client, f"/runs/{run_id}?level=error&attempt=1").rows("Lines of the log")
    assert len(errors) == 83 and {row[3] for row in errors} == {"error"}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_texts(tmp_path: Path, database: Any, text: str) -> None:
    request = {"recipe": {"name": text, "description": text}, "display": [{"source": "s", "path": text}]}
    run_id = queued_run(
        database, request, name=text[:200], note=text, reason=text, state="failed", created_by=text[:100]
    )
    client = client_of(tmp_path, database)
    for path in ("/", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/commands/retry"):
        page = read(client, path)
        assert not page.all("//main//script[not(@type='application/json')]") and not page.all("//img[@src='x']"), path
        assert "\u202e" not in page.html and "\u200b" not in page.html


def test_an_estimate_says_its_ranges(tmp_path: Path, database: Any) -> None:
    spread = {"low": 10, "expected": 20, "high": 40}
    result = {"shards": {"total": 9, "looked_at": 5, "sample_share": 1.0}, "bytes": 5, "records": spread,
              "kept_share": {"low": 0.1, "expected": 0.25, "high": 0.5}, "seconds": spread}  # fmt: skip
    run_id = queued_run(database, kind="estimate", state="succeeded", result=result)
    rows = read(client_of(tmp_path, database), f"/runs/{run_id}").rows("Forecast")
    assert rows == [["records", "20", "10", "40"], ["kept share", "25.0 %", "10.0 %", "50.0 %"],
                    ["seconds", "20 s", "10 s", "40 s"]]  # fmt: skip


# --- forks --------------------------------------------------------------------------------------------------------


def test_a_fork_has_the_thresholds_of_the_form_and_only_those(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, f"/runs/{data.first}/fork?t.gopher-quality.few-words=33")
    assert page.all("//input[@name='t.gopher-quality.few-words']/@value") == ["33"]
    fields = {field.get("name"): field.get("value", "") for field in page.all("//main//form//input")}
    answer = client.post(f"/runs/{data.first}/fork", data={**fields, "tags": "x"})
    assert answer.status_code == 303, answer.text
    forked = client.get("/api/v1" + answer.headers["location"]).json()
    before = client.get(f"/api/v1/runs/{data.first}").json()["recipe"]
    stages = {stage["stage"]: stage for stage in forked["recipe"]["stages"]}
    assert stages["gopher-quality"]["min_words"]["default"] == 33 and forked["parent"] == data.first
    assert [s for s in forked["recipe"]["stages"] if s["stage"] != "gopher-quality"] == [
        s for s in before["stages"] if s["stage"] != "gopher-quality"
    ]  # fmt: skip
    again = client.post(f"/runs/{data.first}/fork", data={**fields, "tags": "x"})
    assert again.headers["location"] == answer.headers["location"]
    client.post(f"/api/v1{answer.headers['location']}/cancel")


@pytest.mark.parametrize(("name", "value", "place"), [("t.gopher-quality.hashes", "-1", "/t.gopher-quality.hashes"),
                                                      ("publish", "Not A Name", "/publish")])  # fmt: skip
def test_a_fork_that_cannot_be_is_said_at_its_place(data: Milled, name: str, value: str, place: str) -> None:
    answer = data.mill.client().post(f"/runs/{data.first}/fork", data={name: value})
    assert answer.status_code == 422 and place in answer.text and f'value="{value}"' in answer.text


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pages_of_runs_in_a_browser(data: Milled, browser: Any) -> None:
    with serving(data.mill.app) as (host, port):
        for theme in ("light", "dark"):
            for width in WIDTHS:
                with watched(browser, f"http://{host}:{port}", width, theme=theme) as found:
                    for name, path in (("home", "/"), ("runs", "/runs"), ("run", f"/runs/{data.first}"),
                                       ("fork", f"/runs/{data.first}/fork")):  # fmt: skip
                        page = found.open(path)
                        page.wait_for_timeout(150)
                        found.fits()
                        found.accessible()
                        screenshot(page, f"{name}-{width}-{theme}")
                    found.quiet()


@pytest.mark.slow
def test_a_run_goes_on_before_ones_eyes(tmp_path: Path, browser: Any) -> None:
    from sqlalchemy import update

    from api.app import create_app
    from api.runs import store
    from api.runs.states import Actor
    from api.settings import Settings
    from api.store.tables import runs

    database = sqlite(tmp_path)
    run_id = queued_run(database)
    attempt_of(database, run_id, "token", state="running")
    service = serving(create_app(Settings(home=tmp_path), database))
    with service as (host, port), watched(browser, f"http://{host}:{port}") as found:
        page = found.open(f"/runs/{run_id}")
        state = {"phase": "milling", "done": 50, "total": 100, "shards": 1, "shards_total": 2, "strip": [1, 0],
                 "records": 12_345, "stages": {}, "phases": []}  # fmt: skip
        with database.write() as connection:
            now = database.now(connection)
            connection.execute(update(runs).where(runs.c.id == run_id).values(progress=state))
            store.emit(connection, run_id, "run.progress", "driver:1", now, state, 1)
        page.wait_for_selector("text=12,345")
        assert page.locator("#live progress").get_attribute("value") == "50"
        page.wait_for_selector("#live gm-chart.drawn canvas")
        with database.write() as connection:
            now = database.now(connection)
            store.transition(connection, run_id, "fail", Actor.DRIVER, "d", now, "the disk is full")
        page.wait_for_selector("text=the disk is full")
        page.wait_for_selector("gm-live", state="detached")
        found.quiet()
    database.close()
