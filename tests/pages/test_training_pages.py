"""Trainings: the list, and one with its curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.pages.trainings import POINTS, _thinned
from api.runs import store
from tests.api.http import client_of, serving, sqlite
from tests.pages.browser import WIDTHS, screenshot, watched

HOSTILE = "<script>alert(1)</script>\u202eevil"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    found = sqlite(tmp_path)
    yield found
    found.close()


def training(database: Any, home: Path, steps: int = 30) -> str:
    """A training that has said something."""
    request = {
        "datasets": [],
        "config": {"stage": "ppo", "note": HOSTILE},
        "display": [{"source": "web", "path": "version 1"}],
    }
    with database.write() as connection:
        now = database.now(connection)
        new = store.NewRun("training", HOSTILE, request, str(home), "test", 0, (), "")
        run_id: str = store.submit(connection, new, now)["id"]
        points = [{"step": n, "loss": 9.0 / n, "reward": n / 10, "odd": HOSTILE} for n in range(1, steps + 1)]
        store.emit(connection, run_id, "training.metrics", "test", now, {"points": points}, 1)
        store.emit(connection, run_id, "training.checkpoint", "test", now, {"step": 10, "path": "checkpoints/x"}, 1)
    return run_id


def test_a_training_is_shown_with_its_figures(tmp_path: Path, database: Any) -> None:
    client: TestClient = client_of(tmp_path, database)
    assert "There is no training yet" in client.get("/trainings").text
    run_id = training(database, tmp_path)
    listed = client.get("/trainings").text
    assert f"/trainings/{run_id}" in listed and "<script>alert" not in listed and "U+202E" in listed
    shown = client.get(f"/trainings/{run_id}").text
    assert "checkpoints/x" in shown and "0.3" in shown and "<script>alert" not in shown and "version 1" in shown
    assert client.get(f"/runs/{run_id}").headers["location"] == f"/trainings/{run_id}"
    assert client.get("/trainings/00000000-0000-7000-8000-000000000000").status_code == 404


def test_long_curves_keep_their_extremes() -> None:
    curve = [(float(n), float((n * 7919) % 10_007)) for n in range(20_000)]
    found = _thinned(curve)
    assert len(found) <= POINTS and found == sorted(found) and set(found) <= set(curve)
    assert {min(y for _, y in found), max(y for _, y in found)} == {min(y for _, y in curve), max(y for _, y in curve)}
    assert _thinned(curve[:10]) == curve[:10]


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_a_browser(tmp_path: Path, database: Any, browser: Any, theme: str) -> None:
    from api.app import create_app
    from api.settings import Settings

    run_id = training(database, tmp_path)
    with serving(create_app(Settings(home=tmp_path), database)) as (host, port):
        for width in WIDTHS:
            with watched(browser, f"http://{host}:{port}", width, theme=theme) as found:
                for path in ("/trainings", f"/trainings/{run_id}"):
                    page = found.open(path)
                    page.wait_for_load_state("networkidle")
                    found.fits()
                    found.accessible()
                screenshot(page, f"training-{width}-{theme}")
                found.quiet()
