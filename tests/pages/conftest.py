"""One browser for all tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.pages.browser import chromium
from tests.pages.finished import Milled, milled


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Milled:
    """Finished runs and published datasets, made once; who changes something makes their own."""
    return milled(tmp_path_factory.mktemp("milled") / "home")
