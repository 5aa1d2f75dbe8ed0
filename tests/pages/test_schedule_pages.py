"""Schedules: the calendar, what was decided, the form with its preview, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from api.app import create_app
from api.runs import store as runs_store
from api.settings import Settings
from api.store.tables import fires, runs, schedules
from tests.api.http import bearer, client_of, locked, make_key, serving, sqlite
from tests.pages.browser import WIDTHS, screenshot, watched
from tests.pages.finished import Mill
from tests.pages.reading import Read, read

YAML = "name: plain\nstages:\n  - stage: extraction\ndeduplication: null\n"
FORM = {
    "name": "nightly", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "recipe": "yaml:", "recipe_yaml": YAML,
    "inputs": "here:{date}/*.jsonl", "only_new": "yes", "publish": "web", "jitter_seconds": "60", "overlap": "skip",
    "misfire_window_seconds": "3600", "coalesce": "latest", "max_catch_up": "5", "thresholds": "", "tags": "night",
    "priority": "3", "starts_at": "", "ends_at": "", "revision": "",
}  # fmt: skip
BERLIN = ZoneInfo("Europe/Berlin")
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202eevil\u200b' + "W" * 3000


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[Mill]:
    found = Mill.at(tmp_path / "home")
    yield found
    found.database.close()


def made(mill: Mill, **changes: str) -> TestClient:
    """A client, and a schedule."""
    client = mill.client()
    answer = client.post("/schedules:new", data={**FORM, **changes})
    assert answer.status_code == 303, re.findall(r'class="wrong"[^>]*>(.*?)</p>', answer.text)
    return client


def at(year: int, month: int, day: int, hour: int = 2, minute: int = 30) -> int:
    """Milliseconds of a moment in Berlin."""
    return round(datetime(year, month, day, hour, minute, tzinfo=BERLIN).timestamp() * 1000)


def decided(mill: Mill, *rows: tuple[int, str, str | None], reason: str = "because") -> list[str]:
    """Write decisions down: nominal time, outcome, state of the run; ids of the runs."""
    found = []
    with mill.database.write() as connection:
        now = mill.database.now(connection)
        schedule = connection.execute(schedules.select()).mappings().one()
        for nominal, outcome, state in rows:
            run_id = None
            if state:
                request = {"recipe": {"name": "r"}, "inputs": [], "display": []}
                new = runs_store.NewRun("curate", "night", request, "/nowhere", "test", schedule_id=schedule["id"])
                run_id = runs_store.submit(connection, new, now)["id"]
                connection.execute(update(runs).where(runs.c.id == run_id).values(state=state))
                found.append(run_id)
            connection.execute(
                fires.insert().values(
                    schedule_id=schedule["id"], nominal=nominal, outcome=outcome, reason=reason, run_id=run_id,
                    decided_at=now,
                )
            )  # fmt: skip
    return found


def cells(page: Read) -> dict[str, str]:
    """Words of the calendar, by day of the month."""
    found = {}
    for cell in page.all("//table[@class='month']//td[.//*[@class='day']]"):
        day = cell.xpath(".//*[@class='day']")[0].text_content()
        found[day] = " ".join(one.text_content().strip() for one in cell.xpath(".//li"))
    return found


# The calendar


def test_a_month_shows_what_became_of_each_date(mill: Mill) -> None:
    client = made(mill)
    rows = [
        (at(2026, 3, 2), "started", "succeeded"), (at(2026, 3, 3), "started", "failed"),
        (at(2026, 3, 4), "skipped", None), (at(2026, 3, 5), "missed", None), (at(2026, 3, 6), "coalesced", None),
        (at(2026, 3, 7), "started", "running"), (at(2026, 3, 8), "started", "queued"),
        (at(2026, 3, 29, 3, 0), "started", "succeeded"),
    ]  # fmt: skip
    ids = decided(mill, *rows)
    page = read(client, "/schedules/nightly?month=2026-03")
    found = cells(page)
    assert len(found) == 31 and found["1"] == ""
    said = [found[str(day)] for day in range(2, 9)]
    assert said == ["02:30 done", "02:30 failed", "02:30 skipped", "02:30 missed", "02:30 merged", "02:30 at work",
                    "02:30 waits"]  # fmt: skip
    assert found["29"] == "03:00 done"  # clocks go forward
    assert f"/runs/{ids[0]}" in page.links("//table[@class='month']//a/@href")
    first_row = page.all("//table[@class='month']/tbody/tr[1]/td")
    assert [bool(cell.xpath(".//*[@class='day']")) for cell in first_row] == [False] * 6 + [True]  # a Sunday


def test_dates_are_those_of_the_zone(mill: Mill) -> None:
    client = made(mill, cron="15 0 * * *", time_zone="Asia/Tokyo")
    tokyo = datetime(2026, 3, 2, 0, 15, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert tokyo.astimezone(UTC).date() == date(2026, 3, 1)
    decided(mill, (round(tokyo.timestamp() * 1000), "started", "succeeded"))
    assert cells(read(client, "/schedules/nightly?month=2026-03"))["2"] == "00:15 done"
    page = read(client, "/schedules/nightly?month=2026-03&day=2026-03-02")
    assert [row[0] for row in page.rows("Decisions, the latest first")] == ["2026-03-02 00:15 (UTC+09:00)"]
    assert not read(client, "/schedules/nightly?day=2026-03-01").rows("Decisions, the latest first")


def test_what_comes_is_in_the_calendar_until_its_end(mill: Mill) -> None:
    client = made(mill, ends_at="2027-06-15T00:00")
    found = cells(read(client, "/schedules/nightly?month=2027-06"))
    assert [found[str(day)] for day in (1, 14, 15)] == ["02:30", "02:30", ""]
    client.post("/schedules/nightly/pause", data={})
    assert "off" in read(client, "/schedules/nightly?month=2027-06").all("//li[contains(@class, 'next')]/@class")[0]


def test_many_fires_of_a_date_are_counted(mill: Mill) -> None:
    client = made(mill, cron="*/10 * * * *")
    decided(mill, *[(at(2026, 3, 2, 5, minute), "started", "succeeded") for minute in (0, 10, 20)],
            (at(2026, 3, 2, 5, 40), "missed", None))  # fmt: skip
    assert cells(read(client, "/schedules/nightly?month=2026-03"))["2"] in ("3 done 1 missed", "1 missed 3 done")
    page = read(client, "/schedules/nightly?month=2027-01")
    assert "144 to come" in cells(page).values() and "first 2,000" in page.text("//table[@class='month']/caption")
    api = client.get("/api/v1/schedules/nightly/calendar?month=2027-01").json()
    assert not api["complete"] and sum(day["coming"] for day in api["days"]) == 2000


@pytest.mark.parametrize("month", ["2026-13", "x", "0001-01", "9999-12", "2026-1"])
def test_there_are_no_other_months(mill: Mill, month: str) -> None:
    client = made(mill)
    assert client.get(f"/api/v1/schedules/nightly/calendar?month={month}").status_code == 422
    assert read(client, f"/schedules/nightly?month={month}", 422 if month != "2026-1" else 200)


def test_decisions_have_their_reason_and_are_filtered(mill: Mill) -> None:
    client = made(mill)
    outcomes = ("started", "skipped", "missed", "coalesced")
    begin = datetime(2026, 3, 1, 2, 30, tzinfo=BERLIN)
    rows = [(round((begin + timedelta(days=n)).timestamp() * 1000), outcomes[n % 4],
             "succeeded" if n % 4 == 0 else None) for n in range(60)]  # fmt: skip
    decided(mill, *rows, reason="an earlier run is unfinished")
    found, path = [], "/schedules/nightly"
    while path:
        page = read(client, path)
        found += page.rows("Decisions, the latest first")
        path = next(iter(page.links("//a[@rel='next' and contains(@href, 'cursor')]/@href")), "").partition("#")[0]
    assert len(found) == 60 and {row[2] for row in found} == {"an earlier run is unfinished"}
    missed = read(client, "/schedules/nightly?outcome=missed").rows("Decisions, the latest first")
    assert len(missed) == 15 and {row[1] for row in missed} == {"missed"}
    assert read(client, "/schedules/nightly?outcome=nothing", 422) and read(client, "/schedules/nightly?day=x", 422)


# The form


def test_the_next_ten_are_those_of_the_api(mill: Mill) -> None:
    client = mill.client()
    page = client.get("/schedules:next", params={"cron": "0 3 * * 1-5", "time_zone": "Asia/Shanghai"})
    policy = {"policy": {"cron": "0 3 * * 1-5", "time_zone": "Asia/Shanghai"}, "count": 10}
    told = client.post("/api/v1/schedules:preview", json=policy).json()["items"]
    shown = re.findall(r"<li>(\S+ \S+) \(UTC(\S+)\)", page.text)
    assert [one["local"] for one in told] == [f"{day.replace(' ', 'T')}:00{offset}" for day, offset in shown]
    wrong = client.get("/schedules:next", params={"cron": "61 3 * * *", "time_zone": "Berlin"}).text
    assert "minute" in wrong and "Europe/Berlin" in wrong


def test_without_scripts_a_button_shows_them_and_keeps_the_form(mill: Mill) -> None:
    answer = mill.client().post("/schedules:new", data={**FORM, "cron": "5 4 * * *", "look": "yes"})
    page = Read(answer)
    assert answer.status_code == 200 and len(page.all("//div[@id='next']//li")) == 10
    assert page.all("//input[@name='name']/@value") == ["nightly"]
    assert page.all("//textarea[@name='recipe_yaml']")[0].text.strip() == YAML.strip()
    assert mill.client().get("/api/v1/schedules").json()["items"] == []


def test_a_form_makes_a_schedule_and_changes_only_what_it_says(mill: Mill) -> None:
    client = made(mill, starts_at="2026-03-29T12:00", thresholds="", inputs="here:{date}/a.jsonl\nhere")
    before = client.get("/api/v1/schedules/nightly").json()
    assert before["policy"]["starts_at"] == "2026-03-29T10:00:00Z"  # summer time there
    assert before["request"]["inputs"] == [{"source": "here", "path": "{date}/a.jsonl"}, {"source": "here", "path": ""}]
    assert before["request"]["recipe_yaml"].strip() == YAML.strip() and before["request"]["tags"] == ["night"]
    change = {"request": {**before["request"], "note": "kept", "earlier": []}}
    assert client.patch("/api/v1/schedules/nightly", json=change).status_code == 200
    page = read(client, "/schedules/nightly/edit")
    fields = {one.get("name"): one.get("value") or "" for one in page.all("//main//input[@name]")}
    fields |= {one.get("name"): one.text.lstrip("\n") for one in page.all("//main//textarea[@name]")}
    fields |= {one.getparent().get("name"): one.get("value") for one in page.all("//main//option[@selected]")}
    assert client.post("/schedules/nightly/edit", data=fields).status_code == 303
    after = client.get("/api/v1/schedules/nightly").json()
    same = ("policy", "request", "only_new", "paused", "name")
    assert {name: after[name] for name in same} == {**{n: before[n] for n in same}, "request": change["request"]}
    late = client.post("/schedules/nightly/edit", data={**fields, "cron": "1 1 * * *"})
    assert late.status_code == 409 and "Somebody changed it" in late.text


@pytest.mark.parametrize(
    ("field", "value", "id"),
    [
        ("name", "No!", "name"), ("cron", "99 * * * *", "cron"), ("time_zone", "Berlin", "time_zone"),
        ("jitter_seconds", "x", "jitter_seconds"), ("misfire_window_seconds", "1", "misfire_window_seconds"),
        ("recipe_yaml", "stages: 3", "recipe_yaml"), ("inputs", "nowhere:x", "inputs"), ("inputs", "", "inputs"),
        ("thresholds", "a.b", "thresholds"), ("starts_at", "yesterday", "starts_at"), ("publish", "No!", "publish"),
        ("overlap", "maybe", "overlap"), ("max_catch_up", "1000", "max_catch_up"), ("tags", "No!", "tags"),
    ],
)  # fmt: skip
def test_what_is_wrong_stands_at_its_field(mill: Mill, field: str, value: str, id: str) -> None:
    answer = mill.client().post("/schedules:new", data={**FORM, field: value})
    assert answer.status_code == 422 and f'id="{id}-wrong"' in answer.text, Read(answer).text("//div[@class='faults']")


def test_a_name_is_there_once(mill: Mill) -> None:
    answer = made(mill).post("/schedules:new", data=FORM)
    assert answer.status_code == 409 and "there is a schedule of this name" in answer.text


# Commands


def test_pause_resume_trigger_remove(mill: Mill) -> None:
    client = made(mill)
    assert client.post("/schedules/nightly/pause", data={}).status_code == 303
    assert "starts nothing while it is paused" in read(client, "/schedules/nightly").text()
    client.post("/schedules/nightly/resume", data={})
    assert client.get("/api/v1/schedules/nightly").json()["paused"] is False
    assert "Start a run of it now?" in read(client, "/schedules/nightly/trigger").text()
    answer = client.post("/schedules/nightly/trigger", data={})
    run = client.get(answer.headers["location"].replace("/runs/", "/api/v1/runs/")).json()
    assert run["state"] == "queued" and run["name"].startswith("nightly")
    assert "Remove this schedule?" in read(client, "/schedules/nightly/remove").text()
    assert client.get("/api/v1/schedules/nightly").status_code == 200
    assert client.post("/schedules/nightly/remove", data={}).status_code == 303
    assert client.get("/schedules/nightly").status_code == 404


def test_a_backfill_is_shown_before_anything_starts(mill: Mill) -> None:
    client = made(mill)
    dates = {"first_date": "2026-03-01", "last_date": "2026-03-03"}
    page = Read(client.post("/schedules/nightly/backfill", data=dates))
    assert [row[1] for row in page.rows("Times of these dates")] == ["would start"] * 3
    assert client.get("/api/v1/runs").json()["items"] == []
    page = Read(client.post("/schedules/nightly/backfill", data={**dates, "start": "yes"}))
    assert [row[1] for row in page.rows("Times of these dates")] == ["started"] * 3
    assert len(client.get("/api/v1/runs").json()["items"]) == 3
    page = Read(client.post("/schedules/nightly/backfill", data=dates))
    assert [row[1] for row in page.rows("Times of these dates")] == ["its run is there"] * 3
    assert not page.all("//button[@name='start']")
    for first, last in (("x", "2026-03-03"), ("2026-03-04", "2026-03-03"), ("2199-03-04", "2199-03-05")):
        wrong = {"first_date": first, "last_date": last}
        assert client.post("/schedules/nightly/backfill", data=wrong).status_code == 422


def test_a_viewer_sees_and_changes_nothing(tmp_path: Path) -> None:
    database = sqlite(tmp_path)
    client = locked(tmp_path, database)
    viewer = bearer(make_key(database, "viewer")[1])
    assert "New schedule" not in client.get("/schedules", headers=viewer).text
    for path in ("/schedules:new", "/schedules/x/edit", "/schedules/x/trigger", "/schedules/x/remove",
                 "/schedules/x/backfill"):  # fmt: skip
        assert client.get(path, headers=viewer).status_code == 403, path
        assert client.post(path, data={"name": "x"}, headers=viewer).status_code == 403, path
    for command in ("pause", "resume"):
        assert client.post(f"/schedules/x/{command}", data={}, headers=viewer).status_code == 403
    database.close()


def test_a_month_of_a_busy_schedule_is_counted_by_the_database(mill: Mill) -> None:
    """Three minutes apart for a month: some 14,000 decisions, of which no row is read one by one."""
    client = made(mill, cron="*/3 * * * *")
    with mill.database.write() as connection:
        schedule = connection.execute(schedules.select()).mappings().one()
        begin = at(2026, 3, 1, 0, 0)
        rows = [{"schedule_id": schedule["id"], "nominal": begin + n * 180_000, "outcome": "skipped", "reason": "r",
                 "run_id": None, "decided_at": begin} for n in range(31 * 480 - 20)]  # fmt: skip
        connection.execute(fires.insert(), rows)
    days = client.get("/api/v1/schedules/nightly/calendar?month=2026-03").json()["days"]
    assert [day["fires"]["skipped"] for day in days] == [480] * 28 + [460] + [480] * 2  # an hour less on the 29th


# Hostile texts, and a browser


def hostile(mill: Mill) -> TestClient:
    client = made(
        mill, recipe_yaml=f"name: {HOSTILE[:60]!a}\n" + YAML.partition("\n")[2], inputs=f"here:{HOSTILE[:900]}"
    )
    decided(mill, (at(2026, 3, 2), "skipped", None), reason=HOSTILE)
    return client


ADDRESSES = (
    "/schedules", "/schedules/nightly?month=2026-03", "/schedules/nightly?day=%3Cscript%3E&outcome=%22%3E",
    "/schedules/nightly/edit", "/schedules/nightly/backfill", "/schedules/nightly/trigger",
    "/schedules/nightly/remove", "/schedules:new",
)  # fmt: skip


def test_hostile_texts_are_texts(mill: Mill) -> None:
    client = hostile(mill)
    for path in ADDRESSES:
        answer = client.get(path)
        assert answer.status_code in (200, 422)
        page = Read(answer)
        assert "<script>alert" not in page.html and "\u202e" not in page.html and "<img src=x" not in page.html, path
        assert not page.all("//@onerror") and not page.all("//*[@style]"), path
    assert "U+202E" in client.get("/schedules/nightly").text


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_read_well(mill: Mill, browser: Any, theme: str) -> None:
    client = hostile(mill)
    states = ["succeeded"] * 6 + ["failed", None, "cancelled", "succeeded"]
    decided(mill, *[(at(2026, 3, 3 + n), "started" if state else "missed", state) for n, state in enumerate(states)])
    assert client
    with serving(create_app(Settings(home=mill.folder), mill.database)) as (host, port):
        for width in WIDTHS:
            with watched(browser, f"http://{host}:{port}", width, theme=theme, expected="422") as seen:
                for number, path in enumerate(ADDRESSES):
                    page = seen.open(path, 422 if "script" in path else 200)
                    seen.quiet()
                    seen.fits()
                    if width == 1024 or theme == "light":
                        seen.accessible()
                    screenshot(page, f"schedule-{number}-{width}-{theme}")


@pytest.mark.slow
def test_the_next_ten_follow_what_one_types(mill: Mill, browser: Any) -> None:
    with serving(mill.app) as (host, port), watched(browser, f"http://{host}:{port}") as seen:
        page = seen.open("/schedules:new")
        page.fill("#cron", "7 5 * * *")
        page.wait_for_selector("#next li:has-text(' 05:07 ')")
        page.fill("#time_zone", "Asia/Kolkata")
        page.wait_for_selector("#next li:has-text('+05:30')")
        page.fill("#cron", "7 5 * *")
        page.wait_for_selector("#next .bad:has-text('five')")
        seen.quiet()
    assert client_of(mill.folder, mill.database).get("/api/v1/schedules").json()["items"] == []
