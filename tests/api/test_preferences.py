"""Preference pairs by HTTP alone: submit, look, publish, download; and nights that remember what was published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.api.service import Service, running

pytestmark = pytest.mark.slow
NIGHTLY = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}
RECIPE = {
    "name": "pairs",
    "entries": {"kind": "preferences", "language": "en"},
    "stages": [{"stage": "pair"}],
    "hygiene": {"min_answer_words": 5, "held_out": {"share": 0.5}},
}
REQUEST = {"recipe": RECIPE, "inputs": [{"source": "pairs"}], "publish": "pairs"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "pairs").mkdir()
    with running(tmp_path / "home", workers=1) as service:
        service.declare("pairs", tmp_path / "pairs")
        yield service


def pair(topic: str, number: int, swapped: bool = False, word: str = "slowly") -> dict[str, str]:
    """A pair about something; two of different topics or numbers have no five words in common."""
    prompt = " ".join(f"{topic}{number}p{place}" for place in range(12))
    better, worse = (" ".join([*(f"{topic}{number}{side}{place}" for place in range(30)), word]) for side in "bw")
    return {"prompt": prompt, "chosen": worse, "rejected": better} if swapped else {
        "prompt": prompt, "chosen": better, "rejected": worse
    }  # fmt: skip


def add(service: Service, name: str, pairs: list[dict[str, Any]]) -> None:
    """A new shard in the source."""
    target = service.home.parent / "pairs" / f"{name}.jsonl"
    target.with_suffix(".tmp").write_text("".join(json.dumps(one) + "\n" for one in pairs))
    target.with_suffix(".tmp").rename(target)


def corpus(service: Service, run: dict[str, Any]) -> list[dict[str, Any]]:
    folder = service.home / "runs" / run["id"] / "corpus"
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_the_walk(service: Service) -> None:
    fine = [pair("river", number) for number in range(8)]
    add(
        service, "a", [*fine, fine[0], pair("river", 1, word="quickly"), pair("hill", 0), pair("hill", 0, swapped=True)]
    )
    run = service.succeeded(service.post("/runs", REQUEST, expect=202)["id"])
    assert run["result"]["records"] == {"read": 12, "kept": 8, "duplicate": 2, "dropped": 2, "quarantined": 0}
    found = service.get(f"/runs/{run['id']}/set")
    assert (found["conflicts"], found["exact"], found["near"]) == (1, 1, 1)
    assert found["split"]["prompts_on_both_sides"] == 0
    assert found["split"]["train"] + found["split"]["held_out"] == 8
    assert found["length_bias"]["after"]["languages"]["en"]["ties"] == 8
    conflict = service.get(f"/runs/{run['id']}/documents?rule=label-conflict&stage=hygiene")["items"]
    assert len(conflict) == 2
    shown = service.get(f"/runs/{run['id']}/documents/{conflict[0]['id']}")
    assert shown["ledger"]["witness"] == conflict[1]["id"] and json.loads(shown["text"])["chosen"]
    assert json.loads(shown["witness_text"])["chosen"] == json.loads(shown["text"])["rejected"]
    stages = [stage["stage"] for stage in service.get(f"/runs/{run['id']}/stages")["items"]]
    assert stages == ["read", "pair", "size", "sketch", "hygiene"]
    tightened = service.post(f"/runs/{run['id']}/what-if", {"thresholds": {"pair.too-long": 40}}, expect=200)
    assert tightened["kept"]["after"] == 0 and tightened["exact"]

    dataset = service.get("/datasets/pairs")
    assert dataset["kind"] == "preferences"
    version = service.get("/datasets/pairs/versions/latest")
    assert version["run"] == run["id"]
    assert {row["split"] for row in corpus(service, run)} <= {"train", "held-out"}


def test_a_night_remembers_pairs(service: Service) -> None:
    service.post("/schedules", {"name": "nightly", "policy": NIGHTLY, "request": REQUEST}, expect=201)
    rivers = [pair("river", number) for number in range(6)]
    add(service, "a", rivers)
    first = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert len(corpus(service, first)) == 6

    news = [pair("hill", number) for number in range(3)]
    add(service, "b", [*news, rivers[0], pair("river", 1, word="quickly"), pair("river", 2, swapped=True)])
    second = service.succeeded(service.post("/schedules/nightly/trigger")["id"])
    assert second["result"]["records"] == {"read": 6, "kept": 3, "duplicate": 2, "dropped": 1, "quarantined": 0}
    gone = service.get(f"/runs/{second['id']}/documents?stage=hygiene")["items"]
    assert {row["rule"] for row in gone} == {"exact", "near", "label-conflict"}
    assert all(row["witness_dataset"] for row in gone)
    sides = {json.dumps(row["prompt"]): row["split"] for row in corpus(service, first)}
    assert service.get(f"/runs/{second['id']}/set")["conflicts_with_earlier"] == 1
    # A prompt is on the same side every night.
    again = service.succeeded(service.post("/runs", {**REQUEST, "publish": "all"}, expect=202)["id"])
    assert {json.dumps(row["prompt"]): row["split"] for row in corpus(service, again)}.items() >= {
        prompt: side
        for prompt, side in sides.items()
        if prompt in {json.dumps(r["prompt"]) for r in corpus(service, again)}
    }.items()
