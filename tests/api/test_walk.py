"""The walk of a user over real data, by HTTP alone; what the service says is checked against the files."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.verify import verify_run
from tests.api.service import RECIPE, Service, running, server_events

pytestmark = pytest.mark.slow
SHARDS = ("mirror-pages.warc.gz", "pages-000.warc.gz")


@pytest.fixture(scope="module")
def service(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("walk")
    crawl = folder / "crawl"
    crawl.mkdir()
    for name in SHARDS:  # copies: a link that leads out of a source is refused
        shutil.copy(real_data / "crawl" / "built" / name, crawl / name)
    with running(folder / "home", workers=2) as service:
        service.declare("crawl", crawl)
        yield service


@pytest.fixture(scope="module")
def run(service: Service) -> dict[str, Any]:
    """A finished run over the source."""
    request = {"recipe": RECIPE, "inputs": [{"source": "crawl", "path": "*.warc.gz"}]}
    submitted = service.post("/runs", request, Idempotency_Key="first")
    again = service.post("/runs", request, Idempotency_Key="first")
    assert again["id"] == submitted["id"]
    return service.succeeded(submitted["id"])


def ledger(service: Service, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The ledger, from the files."""
    folder = service.home / "runs" / run["id"] / "ledger"
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]).to_pylist()


def test_events_tell_of_it_in_order_and_can_be_taken_up(service: Service, run: dict[str, Any]) -> None:
    events = server_events(service, run["id"])
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["event"] for event in events]
    assert kinds[:3] == ["run.queued", "run.starting", "run.running"] and kinds[-1] == "run.succeeded"
    assert "run.progress" in kinds
    assert server_events(service, run["id"], last=2) == events[2:]
    assert server_events(service, run["id"], last=2, most=3) == events[2:5]
    plain = service.get(f"/runs/{run['id']}/events?after=2&limit=1000")["items"]
    assert plain == [event["data"] for event in events[2:]]


def test_the_funnel_is_the_ledger_counted(service: Service, run: dict[str, Any]) -> None:
    rows = ledger(service, run)
    funnel = service.get(f"/runs/{run['id']}/funnel")["rows"]
    assert funnel[0]["documents"] == len(rows) > 0
    for line in funnel[1:]:
        if line["verdict"] == "kept":
            same = [row for row in rows if row["verdict"] == "kept"]
        else:
            same = [row for row in rows if (row["stage"], row["rule"]) == (line["stage"], line["reason"])]
        assert line["documents"] == len(same), line
    assert funnel[0]["documents"] == sum(line["documents"] for line in funnel[1:])


@pytest.mark.parametrize("by", ["language", "host"])
def test_groups_are_the_ledger_counted(service: Service, run: dict[str, Any], by: str) -> None:
    rows = ledger(service, run)
    answer = service.get(f"/runs/{run['id']}/breakdown?by={by}&limit=3")
    names = {row[by] or ("und" if by == "language" else "") for row in rows}
    assert answer["total"] == len(names)
    assert sum(g["records"] for g in answer["groups"]) + answer["others"]["records"] == len(rows)
    for group in answer["groups"]:
        same = [row for row in rows if (row[by] or ("und" if by == "language" else "")) == group["name"]]
        assert group["records"] == len(same)
        assert group["kept"] == sum(row["verdict"] == "kept" for row in same)


def test_documents_by_what_became_of_them(service: Service, run: dict[str, Any]) -> None:
    rows = ledger(service, run)
    base = f"/runs/{run['id']}/documents"
    for query, wanted in (
        ("verdict=kept", lambda row: row["verdict"] == "kept"),
        ("stage=gopher-quality&rule=few-words", lambda row: row["rule"] == "few-words"),
        ("verdict=duplicate&language=zh", lambda row: row["verdict"] == "duplicate" and row["language"] == "zh"),
        ("measure=word_count&low=100&high=120", lambda row: row["word_count"] and 100 <= row["word_count"] <= 120),
    ):
        found = [item["id"] for item in service.pages(f"{base}?{query}")]
        assert found == [row["id"] for row in rows if wanted(row)] != [], query


def test_nearest_to_a_threshold(service: Service, run: dict[str, Any]) -> None:
    near = service.get(f"/runs/{run['id']}/documents?near=gopher-quality.few-words&limit=20&text=true")["items"]
    told = json.loads((service.home / "runs" / run["id"] / "run.json").read_text())
    stage = next(stage for stage in told["stages"] if stage["stage"] == "gopher-quality")
    limits = next(rule for rule in stage["rules"] if rule["name"] == "few-words")["thresholds"]
    rows = [row for row in ledger(service, run) if row["word_count"] is not None]
    expected = sorted(abs(row["word_count"] - limits.get(row["language"], limits["default"])) for row in rows)
    assert [abs(item["measured"] - item["limit"]) for item in near] == expected[:20]
    assert {item["verdict"] for item in near} >= {"kept", "dropped"} and all(item["text"] for item in near)


def test_one_document_with_its_witness_and_the_difference(service: Service, run: dict[str, Any]) -> None:
    near = next(row for row in ledger(service, run) if row["rule"] == "near" and row["similarity"] < 1)
    document = service.get(f"/runs/{run['id']}/documents/{near['id']}")
    assert document["ledger"]["witness"] == near["witness"]
    pieces = document["diff"]["pieces"]
    if not document["diff"]["cut"]:
        assert "".join(p["text"] for p in pieces if p["kind"] != "second") == document["text"]
        assert "".join(p["text"] for p in pieces if p["kind"] != "first") == document["witness_text"]
    assert any(piece["kind"] != "same" for piece in pieces)
    assert {m["name"] for m in document["measures"]} >= {"word_count", "language_score"}


def test_a_what_if_is_what_its_fork_does(service: Service, run: dict[str, Any]) -> None:
    """Thresholds that only tighten: the ledger knows everything, so the answer is exact, to the document."""
    thresholds = {"language.language-score": 0.9, "gopher-quality.few-words": {"default": 80, "zh": 60}}
    answer = service.post(f"/runs/{run['id']}/what-if", {"thresholds": thresholds, "samples": 3}, expect=200)
    assert answer["exact"] and answer["kept"]["lost"] > 0
    fork = service.post(f"/runs/{run['id']}/fork", {"thresholds": thresholds, "publish": "walked"})
    forked = service.succeeded(fork["id"])
    assert forked["result"]["records"]["kept"] == answer["kept"]["after"]
    before = {row["id"] for row in ledger(service, run) if row["verdict"] == "kept"}
    after = {item["id"] for item in service.pages(f"/runs/{fork['id']}/documents?verdict=kept")}
    assert len(before - after) == answer["kept"]["lost"] and len(after - before) == answer["kept"]["gained"]
    assert {sample["id"] for sample in answer["samples"]["lost"]} <= before - after
    compared = service.get(f"/runs/{run['id']}/compare/{fork['id']}")
    left = sum(c["documents"] for c in compared["changes"] if c["was"] == "kept")
    come = sum(c["documents"] for c in compared["changes"] if c["now"] == "kept")
    assert (left, come) == (len(before - after), len(after - before))
    verify_run(str(service.home / "runs" / fork["id"]))


def test_what_a_run_published_can_be_had_and_loaded(service: Service, run: dict[str, Any], tmp_path: Path) -> None:
    import datasets
    import duckdb

    version = service.post("/datasets/walk/versions", {"run": run["id"]}, expect=201)
    assert service.post("/datasets/walk/versions", {"run": run["id"]}, expect=201) == version
    files = service.get("/datasets/walk/versions/latest/files")["items"]
    for file in files:
        target = tmp_path / file["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(service.url + file["url"]) as answer:
            target.write_bytes(answer.read())
        assert target.read_bytes() == (service.home / "runs" / run["id"] / file["path"]).read_bytes()
    kept = {row["id"] for row in ledger(service, run) if row["verdict"] == "kept"}
    loaded = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert set(loaded["id"]) == kept
    counted = duckdb.sql(f"select count(*) from '{tmp_path}/corpus/*.parquet'").fetchall()
    assert counted == [(len(kept),)]
    previewed = [row["id"] for row in service.pages("/datasets/walk/versions/1/rows?full=true")]
    assert set(previewed) == kept and len(previewed) == len(kept)
    lineage = service.get("/datasets/walk/versions/1/lineage")
    assert lineage["run"] == run["id"] and {shard["name"] for shard in lineage["inputs"]} == set(SHARDS)


def test_a_range_of_a_file(service: Service, run: dict[str, Any]) -> None:
    service.post("/datasets/ranges/versions", {"run": run["id"]}, expect=201)
    file = next(f for f in service.get("/datasets/ranges/versions/1/files")["items"] if f["path"].startswith("corpus"))
    whole = (service.home / "runs" / run["id"] / file["path"]).read_bytes()
    for asked, expected in (("bytes=10-19", whole[10:20]), ("bytes=-8", whole[-8:]), ("bytes=5-", whole[5:])):
        request = urllib.request.Request(service.url + file["url"], headers={"Range": asked})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 206 and answer.read() == expected
    status, problem = service.call("GET", file["url"], Range=f"bytes={len(whole)}-")
    assert status == 416 and problem["type"].endswith("range-not-satisfiable")


def test_a_preview_is_a_share_of_the_run(service: Service, run: dict[str, Any]) -> None:
    request = {"kind": "preview", "recipe": RECIPE, "inputs": [{"source": "crawl"}], "sample_share": 0.25}
    preview = service.succeeded(service.post("/runs", request)["id"])
    whole = {row["id"]: row for row in ledger(service, run)}
    some = ledger(service, preview)
    looked_at = [row for row in some if row["rule"] != "not-sampled"]
    assert len(some) == len(whole) and {row["id"] for row in some} == set(whole)
    documents = [row for row in whole.values() if row["stage"] != "read"]
    there = [row for row in looked_at if row["stage"] != "read"]
    assert 0.2 < len(there) / len(documents) < 0.3
    same = ("language", "word_count", "language_score")
    assert all([row[n] for n in same] == [whole[row["id"]][n] for n in same] for row in there if row["word_count"])


def test_an_estimate_has_a_range_that_holds(service: Service, run: dict[str, Any]) -> None:
    request = {"recipe": RECIPE, "inputs": [{"source": "crawl"}]}
    forecast = service.succeeded(service.post("/runs:estimate", request)["id"])["result"]
    assert forecast["bytes"] == sum((service.home.parent / "crawl" / name).stat().st_size for name in SHARDS)
    for name in ("records", "documents", "kept_share", "seconds"):
        assert forecast[name]["low"] <= forecast[name]["expected"] <= forecast[name]["high"]
    read = run["result"]["records"]["read"]
    assert forecast["records"]["low"] <= read <= forecast["records"]["high"]


def test_commands_on_a_finished_run_are_refused_by_name(service: Service, run: dict[str, Any]) -> None:
    for command in ("cancel", "pause", "resume", "retry"):
        status, problem = service.call("POST", f"/api/v1/runs/{run['id']}/{command}")
        assert status == 409 and problem["type"].endswith("illegal-transition")
        assert command in problem["detail"] and "succeeded" in problem["detail"]


def test_everything_wrong_is_said_at_once(service: Service) -> None:
    wrong = {
        "recipe": {"name": "x", "stages": [{"stage": "extraction", "engin": 1}, {"stage": "lang"}]},
        "inputs": [{"source": "nowhere"}, {"source": "crawl", "path": "../secret"}],
    }
    status, problem = service.call("POST", "/api/v1/runs:validate", wrong)
    assert status == 422
    pointers = {error["pointer"] for error in problem["errors"]}
    assert {"/inputs/0/source", "/inputs/1/path"} < pointers
    assert any(pointer.startswith("/recipe/stages/0") for pointer in pointers)
    assert any(pointer.startswith("/recipe/stages/1") for pointer in pointers)
    assert "secret" not in json.dumps(problem)
