"""Trainings with a stand-in for a trainer: the protocol, resuming, stopping, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.service import Service, running

pytestmark = pytest.mark.slow
TRAINER = f"python {Path(__file__).parent / 'trainer.py'}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("trainings")
    (folder / "crawl").mkdir()
    (folder / "crawl" / "a.jsonl").write_text(json.dumps({"text": "some words to learn from and nothing more"}) + "\n")
    with running(folder / "home", workers=1, trainer_command=TRAINER, max_attempts=3) as service:
        service.declare("crawl", folder / "crawl")
        recipe = {"name": "plain", "stages": [{"stage": "extraction"}], "deduplication": None}
        request = {"recipe": recipe, "inputs": [{"source": "crawl"}], "publish": "web"}
        service.succeeded(service.post("/runs", request)["id"])
        yield service


def start(service: Service, **config: Any) -> str:
    request = {"name": "small", "datasets": [{"name": "web", "version": "1"}], "config": config}
    return str(service.post("/trainings", request)["id"])


def steps(service: Service, run_id: str) -> list[int]:
    points = service.get(f"/trainings/{run_id}/metrics?limit=1000")["items"]
    return [point["values"]["step"] for point in points]


def test_curves_checkpoints_and_the_result_come_back(service: Service) -> None:
    secrets = ["GRISTMILL_DATABASE_URL", "GRISTMILL_ADMIN_KEY"]
    run_id = start(service, steps=700, must_not_see=secrets)
    run = service.succeeded(run_id)
    assert run["kind"] == "training" and run["result"]["steps"] == 700 and run["result"]["rows"] == 1
    assert steps(service, run_id) == list(range(1, 701))
    checkpoints = service.get(f"/trainings/{run_id}/checkpoints")["items"]
    assert [one["values"]["step"] for one in checkpoints] == list(range(5, 701, 5))
    assert run["progress"]["done"] == run["progress"]["total"] == 700
    assert run_id in [item["id"] for item in service.pages("/trainings")]
    assert service.get("/datasets/web/versions/1/lineage")["trainings"][0] == run_id


def test_a_trainer_that_dies_goes_on_from_its_checkpoint(service: Service) -> None:
    run_id = start(service, steps=12, dies_at=8)
    run = service.succeeded(run_id)
    assert run["attempts"] == 2
    assert steps(service, run_id) == [*range(1, 9), *range(6, 13)]
    log = service.get(f"/runs/{run_id}/logs?limit=1000")["items"]
    attempts = service.get(f"/runs/{run_id}/attempts")["items"]
    assert "SIGKILL" in attempts[0]["reason"] and log


def test_pause_lets_it_save_and_resume_goes_on(service: Service) -> None:
    run_id = start(service, steps=60, seconds=0.1)
    service.until(lambda: service.get(f"/runs/{run_id}")["progress"].get("done", 0) >= 7, "seven steps are done")
    service.post(f"/runs/{run_id}/pause", expect=200)
    service.until(lambda: service.get(f"/runs/{run_id}")["state"] == "paused", "it is paused")
    saved = int((service.home / "runs" / run_id / "model" / "state").read_text())
    assert service.get(f"/trainings/{run_id}/checkpoints")["items"][-1]["values"]["step"] == saved
    service.post(f"/runs/{run_id}/resume", expect=200)
    run = service.succeeded(run_id)
    assert steps(service, run_id) == list(range(1, 61)) and run["attempts"] == 2


def test_a_driver_that_is_told_to_end_lets_its_trainer_save(service: Service) -> None:
    run_id = start(service, steps=60, seconds=0.1)
    service.until(lambda: service.get(f"/runs/{run_id}")["progress"].get("done", 0) >= 7, "seven steps are done")
    for driver in service.drivers():
        os.kill(driver, signal.SIGTERM)
    run = service.succeeded(run_id)
    assert steps(service, run_id) == list(range(1, 61)) and run["attempts"] == 2


def test_cancel_ends_the_trainer(service: Service) -> None:
    run_id = start(service, steps=10_000, seconds=0.1)
    service.until(lambda: service.get(f"/runs/{run_id}")["progress"].get("done", 0) >= 1, "it has begun")
    service.post(f"/runs/{run_id}/cancel", expect=200)
    assert service.ended(run_id)["state"] == "cancelled"
    service.until(lambda: not service.drivers(), "no driver is left")
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if run_id.encode() in _read(p)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_refused_configuration_fails_at_once_and_says_why(service: Service) -> None:
    run = service.ended(start(service))
    assert (run["state"], run["attempts"]) == ("failed", 1)
    assert "'steps' is missing" in run["reason"]


def test_noise_is_logged_and_does_no_harm(service: Service) -> None:
    run_id = start(service, steps=1, noise=3)
    service.succeeded(run_id)
    lines = service.get(f"/runs/{run_id}/logs?level=warning")["items"]
    assert len(lines) == 3 and all("not a line of the protocol" in line["text"] for line in lines)


def test_what_json_and_databases_cannot_hold_arrives_as_text(service: Service) -> None:
    result = service.succeeded(start(service, steps=1, odd=True))["result"]
    assert (result["loss"], result["text"]) == ("nan", "a\ufffdb?c")
    deep = result["deep"]
    for _ in range(19):
        (deep,) = deep
    assert deep == "[" * 52 + "]" * 52


def test_datasets_are_checked_before_anything_starts(service: Service) -> None:
    request = {"name": "t", "datasets": [{"name": "web", "version": "9"}, {"name": "nothing"}], "config": {}}
    status, problem = service.call("POST", "/api/v1/trainings", request)
    assert status == 422 and [e["pointer"] for e in problem["errors"]] == ["/datasets/0", "/datasets/1"]


def test_a_dataset_that_was_changed_is_refused(service: Service) -> None:
    version = service.get("/datasets/web/versions/1")
    folder = service.home / "runs" / version["run"]
    kept = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(kept.replace(b'"kept": 1', b'"kept": 2'))
    try:
        run = service.ended(start(service, steps=1))
        assert run["state"] == "failed" and "not what it was" in run["reason"]
    finally:
        (folder / "manifest.json").write_bytes(kept)
