"""The service makes the lookup of a run when its driver says that it has finished."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.runs import store
from api.statistics.finished import LOOKUPS, _open, finished_run
from api.store.tables import runs
from tests.api.http import attempt_of, bearer
from tests.pages.finished import Mill
from tests.support.corpus import english

RECIPE = {"name": "plain", "stages": [{"stage": "extraction", "guard": "none"}], "deduplication": None}


@pytest.fixture
def mill(tmp_path: Path) -> Mill:
    return Mill.at(tmp_path / "home")


def working(mill: Mill) -> tuple[str, dict[str, Any]]:
    """A run whose driver is about to say that it has succeeded, and what it will say."""
    rows = [{"text": english(n), "url": f"http://h.example/{n}"} for n in range(3)]
    run = mill.finished("Run", RECIPE, [mill.lines("a.jsonl", rows)])
    with mill.database.read() as connection:
        result = store.find(connection, run)["result"]
    attempt_of(mill.database, run, "token", state="running")
    return run, {"outcome": "succeeded", "result": result}


def complete(mill: Mill, run: str, said: dict[str, Any]) -> Any:
    path = f"/internal/v1/attempts/{run}/1/complete"
    return mill.client().post(path, json=said, headers=bearer("token"))


def lookups(mill: Mill) -> list[Path]:
    return sorted((mill.folder / LOOKUPS).glob("*"))


def test_a_run_that_has_finished_has_its_lookup(mill: Mill) -> None:
    run, said = working(mill)
    assert not lookups(mill)
    answer = complete(mill, run, said)
    assert answer.status_code == 200 and answer.json() == {"state": "succeeded"}
    made = lookups(mill)
    assert len(made) == 1
    opened = finished_run(run, mill.app.state.context)
    assert opened.kept == made[0] and opened.lookup.count == 3


def test_one_that_has_failed_has_none(mill: Mill) -> None:
    run, _ = working(mill)
    assert complete(mill, run, {"outcome": "failed", "reason": "no"}).json() == {"state": "failed"}
    assert not lookups(mill)


def test_files_that_cannot_be_read_fail_no_run(mill: Mill) -> None:
    run, said = working(mill)
    for file in (mill.folder / "runs" / run / "ledger").iterdir():
        file.write_bytes(b"nothing of the kind")
    assert complete(mill, run, said).json() == {"state": "succeeded"}
    assert not lookups(mill)
    with mill.database.read() as connection:
        assert connection.execute(select(runs.c.state).where(runs.c.id == run)).scalar_one() == "succeeded"


def test_what_was_thrown_away_is_made_again(mill: Mill) -> None:
    run, said = working(mill)
    complete(mill, run, said)
    shutil.rmtree(mill.folder / LOOKUPS)
    assert finished_run(run, mill.app.state.context).lookup.count == 3  # who has it mapped has it still
    _open.cache_clear()
    found = mill.client().get(f"/api/v1/runs/{run}/breakdown", params={"by": "host"})
    assert found.status_code == 200 and found.json()["groups"][0]["records"] == 3
    assert len(lookups(mill)) == 1
