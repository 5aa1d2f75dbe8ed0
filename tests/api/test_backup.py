"""A copy of database and folder, as docs/service.md says to make it, goes on where the original was."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.api.service import RECIPE, running

pytestmark = pytest.mark.slow


def test_a_backup_of_a_service_at_work_goes_on(tmp_path: Path) -> None:
    crawl, copy = tmp_path / "crawl", tmp_path / "home"
    crawl.mkdir()
    for shard in range(4):
        lines = [json.dumps({"text": f"shard {shard} has text number {n} with some words in it"}) for n in range(2000)]
        (crawl / f"{shard}.jsonl").write_text("\n".join(lines) + "\n")
    with running(tmp_path / "home", workers=1) as service:
        service.declare("crawl", crawl)
        request = {"recipe": {**RECIPE, "stages": RECIPE["stages"][:2]}, "inputs": [{"source": "crawl"}]}
        done = service.succeeded(service.post("/runs", {**request, "publish": "before"})["id"])
        at_work = service.post("/runs", {**request, "publish": "after"})["id"]
        service.until(lambda: service.get(f"/runs/{at_work}")["progress"].get("shards", 0) >= 1, "a shard is done")
        source = sqlite3.connect(service.home / "gristmill.db")
        with sqlite3.connect(tmp_path / "backup.db") as target:
            source.backup(target)
        source.close()
        shutil.copytree(service.home / "runs", tmp_path / "backup-runs")
        service.close()
    shutil.rmtree(copy)
    copy.mkdir()
    shutil.move(tmp_path / "backup.db", copy / "gristmill.db")
    shutil.move(tmp_path / "backup-runs", copy / "runs")
    with running(copy, workers=1) as service:
        assert service.get("/datasets/before/versions/1")["run"] == done["id"]
        assert service.succeeded(at_work)["result"]["records"] == done["result"]["records"]
        versions = list(service.pages("/datasets/after/versions"))
        assert [version["run"] for version in versions] == [at_work]
        first, second = (service.get(f"/datasets/{name}/versions/1") for name in ("before", "after"))
        assert first["manifest_digest"] == second["manifest_digest"]
