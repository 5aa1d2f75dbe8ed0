"""One browser for all tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.pages.browser import chromium
from tests.pages.finished import Mill, Milled, milled
from tests.pages.learned import Learned, learned
from tests.support.corpus import english


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Milled:
    """Finished runs and published datasets, made once; who changes something makes their own."""
    return milled(tmp_path_factory.mktemp("milled") / "home")


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Trainings, models and evaluations over a small dataset, made once."""
    mill = Mill.at(tmp_path_factory.mktemp("taught") / "home")
    rows = [{"text": english(n, 12), "url": f"http://h.example/{n}"} for n in range(6)]
    recipe = {"name": "plain", "stages": [{"stage": "extraction"}], "deduplication": None}
    mill.finished("First", recipe, [mill.lines("a.jsonl", rows)], "web")
    return learned(mill)
