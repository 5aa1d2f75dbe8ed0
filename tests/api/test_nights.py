"""Nights over real processes: only what is new is read, and what was published is not published again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.api.service import Service, running

pytestmark = pytest.mark.slow
RECIPE = {"name": "nights", "stages": [{"stage": "extraction"}], "deduplication": {"threshold": 0.8}}
REQUEST = {"recipe": RECIPE, "inputs": [{"source": "crawl"}], "publish": "nights"}
NIGHTLY = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "crawl").mkdir()
    with running(tmp_path / "home", workers=1) as service:
        service.declare("crawl", tmp_path / "crawl")
        yield service


def add(service: Service, name: str, texts: list[str]) -> None:
    """A new shard in the source."""
    lines = [json.dumps({"url": f"http://{name}.example/{n}", "text": text}) for n, text in enumerate(texts)]
    target = service.home.parent / "crawl" / f"{name}.jsonl"
    target.with_suffix(".tmp").write_text("\n".join(lines) + "\n")
    target.with_suffix(".tmp").rename(target)


def texts(topic: str, count: int) -> list[str]:
    """Texts of some length; two of different numbers share no five words in a row."""
    said = "the {0} number {1}w{2} was found by people that have looked at it with care and of it they spoke"
    return [
        "\n".join(said.format(topic, n, place).capitalize() + f" of {place}x{n}." for place in range(12))
        for n in range(count)
    ]


def kept(service: Service, run: dict[str, Any]) -> list[str]:
    folder = service.home / "runs" / run["id"] / "corpus"
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return sorted(pa.concat_tables(tables).column("text").to_pylist()) if tables else []


def test_a_night_takes_only_what_is_new(service: Service) -> None:
    service.post("/schedules", {"name": "nightly", "policy": NIGHTLY, "request": REQUEST}, expect=201)
    rivers, hills, lakes = texts("river", 6), texts("hill", 5), texts("lake", 4)
    add(service, "a", rivers)
    first = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert kept(service, first) == sorted(rivers)

    add(service, "b", [*hills, rivers[0], rivers[1].replace("with care", "carefully", 1)])
    second = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert second["result"]["records"] == {"read": 7, "kept": 5, "duplicate": 2, "dropped": 0, "quarantined": 0}
    assert kept(service, second) == sorted(hills)
    gone = service.get(f"/runs/{second['id']}/documents?verdict=duplicate")["items"]
    assert {row["rule"] for row in gone} == {"exact", "near"} and all(row["witness_dataset"] for row in gone)
    witness = service.get(f"/runs/{second['id']}/documents/{gone[0]['id']}")["witness_text"]
    assert witness in rivers

    third = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert third["result"] == {"nothing_new": True} and "new" in third["reason"]

    add(service, "c", [*lakes, hills[0], rivers[2]])
    fourth = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert kept(service, fourth) == sorted(lakes)
    versions = list(service.pages("/datasets/nights/versions"))
    assert [version["run"] for version in versions] == [fourth["id"], second["id"], first["id"]]


def test_what_a_failed_night_left_the_next_one_takes(service: Service) -> None:
    service.post("/schedules", {"name": "nightly", "policy": NIGHTLY, "request": REQUEST}, expect=201)
    add(service, "a", texts("river", 3))
    cancelled = service.post("/schedules/nightly/trigger")
    service.call("POST", f"/api/v1/runs/{cancelled['id']}/cancel")
    service.ended(cancelled["id"])
    run = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert kept(service, run) == sorted(texts("river", 3))
    again = service.post(f"/runs/{cancelled['id']}/retry", expect=200)
    assert service.succeeded(again["id"])["result"] == {"nothing_new": True}


def test_a_backfill_runs_once_for_each_date_in_order(service: Service) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    days = [yesterday - timedelta(days=back) for back in (2, 1, 0)]
    for day in days[:2]:
        add(service, f"{day}", texts(f"day{day.day}", 3))
    dated = {**REQUEST, "inputs": [{"source": "crawl", "path": "{date}.jsonl"}]}
    service.post("/schedules", {"name": "dated", "policy": NIGHTLY, "request": dated}, expect=201)
    asked = {"first_date": f"{days[0]}", "last_date": f"{days[1]}"}
    dry = service.post("/schedules/dated/backfill", asked, expect=200)
    assert dry["dry_run"] and [item["action"] for item in dry["items"]] == ["start", "start"]
    assert not list(service.pages("/runs"))
    wet = service.post("/schedules/dated/backfill", {**asked, "dry_run": False}, expect=200)
    runs = [service.succeeded(item["run"]) for item in wet["items"]]
    assert [kept(service, run) for run in runs] == [sorted(texts(f"day{day.day}", 3)) for day in days[:2]]
    assert runs[0]["finished_at"] <= runs[1]["started_at"]  # the second waited for the first
    again = service.post("/schedules/dated/backfill", {**asked, "dry_run": False}, expect=200)
    assert [(item["action"], item["run"]) for item in again["items"]] == [("exists", run["id"]) for run in runs]
    missing = {"first_date": f"{days[2]}", "last_date": f"{days[2]}", "dry_run": False}
    failed = service.ended(service.post("/schedules/dated/backfill", missing, expect=200)["items"][0]["run"])
    assert failed["state"] == "failed" and f"{days[2]}.jsonl" in failed["reason"]


def test_a_minute_starts_a_run_by_itself_and_is_decided_once(service: Service) -> None:
    add(service, "a", texts("river", 2))
    every = {"cron": "* * * * *"}
    service.post("/schedules", {"name": "minutely", "policy": every, "request": REQUEST}, expect=201)
    service.start("controller")  # beside the one that serves
    fires = service.until(lambda: service.get("/schedules/minutely/fires")["items"], "a minute is decided")
    assert len({fire["nominal"] for fire in fires}) == len(fires)
    assert fires[-1]["outcome"] == "started"
    assert service.succeeded(fires[-1]["run"])["schedule"] is not None
