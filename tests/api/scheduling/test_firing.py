"""Schedules in both databases: one decision for each nominal time, whoever decides, whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from api.app import create_app
from api.runs import store as run_store
from api.runs.states import Actor
from api.scheduling.firing import Firing
from api.scheduling.store import find_schedule, pin_nights
from api.settings import Settings
from api.store.database import Database
from api.store.migrate import upgrade
from api.store.tables import fires, runs, sources

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECIPE = {"name": "plain", "stages": [{"stage": "extraction"}], "deduplication": None}
REQUEST = {"recipe": RECIPE, "inputs": [{"source": "crawl"}]}


class World:
    """A database whose clock stands where it is put, and the service on it."""

    def __init__(self, url: str, home: Path) -> None:
        self.now = NOON
        self.database = Database(url, now=lambda: int(self.now.timestamp() * 1000))
        upgrade(self.database)
        self.settings = Settings(home=home)
        self.client = TestClient(create_app(self.settings, self.database), base_url="http://127.0.0.1:8321")
        (home / "crawl").mkdir(parents=True)
        with self.database.write() as connection:
            values = {"id": "s", "name": "crawl", "root": str(home / "crawl"), "created_at": 0, "created_by": "t"}
            connection.execute(insert(sources).values(values))

    def firing(self, who: str = "c") -> Firing:
        return Firing(self.settings, self.database, who)

    def make(self, name: str = "s", **policy: Any) -> None:
        body = {"name": name, "policy": {"cron": "0 * * * *", **policy}, "request": REQUEST}
        assert self.client.post("/api/v1/schedules", json=body).status_code == 201

    def fires(self, name: str = "s") -> list[tuple[str, str]]:
        """Nominal hour and outcome, oldest first."""
        items = self.client.get(f"/api/v1/schedules/{name}/fires?limit=200").json()["items"]
        return [(item["nominal"][11:16], item["outcome"]) for item in reversed(items)]

    def runs(self) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(runs).order_by(runs.c.id)).mappings())

    def end(self, run_id: str, action: str = "cancel") -> None:
        with self.database.write() as connection:
            run_store.transition(connection, run_id, action, Actor.USER, "t", self.database.now(connection))

    def claim(self) -> str | None:
        with self.database.write() as connection:
            run = run_store.claim(connection, "c", "d", self.database.now(connection), 1000, 100)
        return None if run is None else str(run["id"])

    def succeed(self, run_id: str, **result: Any) -> None:
        with self.database.write() as connection:
            now = self.database.now(connection)
            run_store.transition(connection, run_id, "begin", Actor.DRIVER, "d", now)
            run_store.transition(connection, run_id, "succeed", Actor.DRIVER, "d", now, changes={"result": result})


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    world = World(database_url, tmp_path / "home")
    yield world
    world.database.close()


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def test_it_starts_when_it_is_due_and_not_before(world: World) -> None:
    world.make()
    fire = world.firing()
    world.now = NOON + hours(0.99)
    assert not fire() and world.fires() == []
    world.now = NOON + hours(1)
    assert fire() and not fire()
    assert world.fires() == [("13:00", "started")]
    (run,) = world.runs()
    assert run["name"] == "s 2026-03-01 13:00" and run["nominal"] == int((NOON + hours(1)).timestamp() * 1000)
    assert run["request"]["only_new"] and run["request"]["index"].endswith(f"/indexes/{run['schedule_id']}")


def test_after_a_downtime_old_ones_are_missed_and_the_latest_starts(world: World) -> None:
    world.make(misfire_window_seconds=3 * 3600)
    world.now = NOON + hours(6.5)
    world.firing()()
    assert world.fires() == [
        ("13:00", "missed"), ("14:00", "missed"), ("15:00", "missed"), ("16:00", "coalesced"), ("17:00", "coalesced"),
        ("18:00", "started"),
    ]  # fmt: skip
    assert len(world.runs()) == 1


def test_an_unfinished_run_is_skipped_over(world: World) -> None:
    world.make()
    fire = world.firing()
    for hour in (1, 2):
        world.now = NOON + hours(hour)
        fire()
    world.end(world.runs()[0]["id"])
    world.now = NOON + hours(3)
    fire()
    assert [outcome for _, outcome in world.fires()] == ["started", "skipped", "started"]


def test_a_queued_run_waits_for_the_one_before(world: World) -> None:
    world.make(overlap="queue_all")
    fire = world.firing()
    for hour in (1, 2, 3):
        world.now = NOON + hours(hour)
        fire()
    first, second, third = (run["id"] for run in world.runs())
    assert world.claim() == first and world.claim() is None
    world.succeed(first)
    assert world.claim() == second and world.claim() is None
    world.succeed(second)
    assert world.claim() == third


def test_a_later_run_cancels_the_others(world: World) -> None:
    world.make(overlap="cancel_other")
    fire = world.firing()
    world.now = NOON + hours(1)
    fire()
    at_work = world.claim()
    world.now = NOON + hours(2)
    fire()
    world.now = NOON + hours(3)
    fire()
    assert [run["state"] for run in world.runs()] == ["cancelling", "cancelled", "queued"]
    assert world.claim() is None  # until the driver of the first has let go
    with world.database.write() as connection:
        now = world.database.now(connection)
        run_store.transition(connection, str(at_work), "release", Actor.DRIVER, "d", now)
    assert world.claim() == world.runs()[2]["id"]


def test_nobody_starts_while_it_is_paused_and_what_was_due_is_told(world: World) -> None:
    world.make()
    fire = world.firing()
    world.client.post("/api/v1/schedules/s/pause")
    world.now = NOON + hours(2.5)
    fire()
    world.now = NOON + hours(3.5)  # nobody looked at 15:00
    assert world.client.post("/api/v1/schedules/s/resume").json()["next"] == "2026-03-01T16:00:00.000Z"
    world.now = NOON + hours(4)
    fire()
    assert world.fires() == [("13:00", "skipped"), ("14:00", "skipped"), ("15:00", "skipped"), ("16:00", "started")]


def test_what_was_due_before_a_change_is_decided_by_the_old_policy(world: World) -> None:
    world.make()
    world.now = NOON + hours(2.25)
    changed = world.client.patch("/api/v1/schedules/s", json={"policy": {"cron": "30 * * * *"}})
    assert changed.status_code == 200 and changed.json()["next"] == "2026-03-01T14:30:00.000Z"
    assert world.fires() == [("13:00", "missed"), ("14:00", "started")]
    world.end(world.runs()[0]["id"])
    world.now = NOON + hours(3)
    world.firing()()
    assert world.fires()[2:] == [("14:30", "started")]


def test_a_fire_that_waits_for_its_jitter_is_skipped_by_a_change(world: World) -> None:
    world.make(jitter_seconds=3000)
    world.now = NOON + hours(1)
    assert not world.firing()()
    world.client.patch("/api/v1/schedules/s", json={"policy": {"cron": "30 3 * * *"}})
    assert world.fires() == [("13:00", "skipped")] and not world.runs()


def test_a_change_that_was_made_meanwhile_is_seen(world: World) -> None:
    world.make()
    tag = world.client.get("/api/v1/schedules/s").headers["etag"]
    change = {"only_new": False}
    assert world.client.patch("/api/v1/schedules/s", json=change, headers={"If-Match": tag}).status_code == 200
    again = world.client.patch("/api/v1/schedules/s", json=change, headers={"If-Match": tag})
    assert again.status_code == 412


def test_a_request_that_is_not_valid_any_more_is_skipped_with_its_fault(world: World) -> None:
    world.make()
    with world.database.write() as connection:
        connection.execute(update(sources).values(name="renamed"))
    world.now = NOON + hours(1)
    world.firing()()
    item = world.client.get("/api/v1/schedules/s/fires").json()["items"][0]
    assert item["outcome"] == "skipped" and "/inputs/0/source" in item["reason"] and not world.runs()


def test_a_failure_half_way_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make(coalesce="all", overlap="allow")
    world.now = NOON + hours(1)
    submit: Callable[..., Any] = run_store.submit

    def fails_after(*arguments: Any) -> Any:
        submit(*arguments)
        raise OSError("the machine lost its power")

    with monkeypatch.context() as patch:
        patch.setattr(run_store, "submit", fails_after)
        assert not world.firing()()
    assert world.fires() == [] and world.runs() == []
    world.firing()()
    assert world.fires() == [("13:00", "started")] and len(world.runs()) == 1


def test_any_number_of_controllers_decide_once(world: World) -> None:
    for name in ("a", "b", "c"):
        world.make(name, cron="*/5 * * * *", overlap="allow", coalesce="all", max_catch_up=3)
    failures: list[BaseException] = []

    def look(firing: Firing) -> None:
        try:
            firing()
        except BaseException as error:
            failures.append(error)

    firings = [world.firing(f"c{number}") for number in range(4)]
    for minute in (5, 12, 41, 41, 62):
        world.now = NOON + timedelta(minutes=minute)
        threads = [threading.Thread(target=look, args=(firing,)) for firing in firings]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    started = 0
    for name in ("a", "b", "c"):
        decided = world.fires(name)
        assert [nominal for nominal, _ in decided] == [f"{12 + m // 60}:{m % 60:02}" for m in range(5, 61, 5)]
        started += sum(outcome == "started" for _, outcome in decided)
    assert len(world.runs()) == started


def test_nights_build_on_what_had_succeeded_when_they_began(world: World) -> None:
    world.make(overlap="queue_all")
    fire = world.firing()
    for hour in (1, 2, 3, 4):
        world.now = NOON + hours(hour)
        fire()
    first, second, third, fourth = world.runs()
    world.claim()
    world.succeed(first["id"], records={})
    world.claim()
    world.succeed(second["id"], nothing_new=True)
    world.claim()
    with world.database.write() as connection:
        assert pin_nights(connection, run_store.find(connection, third["id"]))["after"] == [first["output"]]
    world.succeed(third["id"], records={})
    with world.database.write() as connection:  # another attempt reads the same, whatever has happened since
        assert pin_nights(connection, run_store.find(connection, third["id"]))["after"] == [first["output"]]
        expected = [first["output"], third["output"]]
        assert pin_nights(connection, run_store.find(connection, fourth["id"]))["after"] == expected


def test_removing_a_schedule_keeps_its_runs(world: World) -> None:
    world.make()
    world.now = NOON + hours(1)
    fire = world.firing()
    fire()
    assert world.client.delete("/api/v1/schedules/s").status_code == 204
    world.now = NOON + hours(2)
    assert not fire() and len(world.runs()) == 1
    with world.database.read() as connection:
        assert connection.execute(select(fires)).first() is None
        with pytest.raises(Exception, match="no schedule"):
            find_schedule(connection, "s")
    world.make()  # the name is free again
