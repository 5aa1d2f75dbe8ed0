"""Connections to the database: one way to read, one way to write, the same on SQLite and PostgreSQL.

A write is one transaction: it is durable when the block ends, and never happened when the block raises.  On SQLite
it takes the write lock at its start (``BEGIN IMMEDIATE``), so that two writers queue instead of failing half-way;
on PostgreSQL rows are locked as they are read for update.  Every change of state is a compare-and-set besides.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.pool import NullPool

BUSY_SECONDS = 30.0


class Database:
    """A database of the service.

    Args:
        url: SQLAlchemy URL.
        now: milliseconds since the epoch; replaces the database's clock (for tests of time).
    """

    def __init__(self, url: str, now: Any = None) -> None:
        self.url = url
        self.dialect = make_url(url).get_backend_name()
        self.engine = _sqlite(url) if self.dialect == "sqlite" else _postgresql(url)
        self._now = now

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that only reads; sees one state of the database throughout."""
        with self.engine.connect() as connection:
            if self.dialect == "sqlite":
                yield connection
                return
            with connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True).begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction; committed when the block ends, undone when it raises."""
        with self.engine.connect() as connection, connection.execution_options(writes=True).begin():
            yield connection

    def now(self, connection: Connection) -> int:
        """Milliseconds since the epoch, by the one clock that all processes share."""
        if self._now is not None:
            return int(self._now())
        if self.dialect == "sqlite":  # one host, one clock
            return time.time_ns() // 1_000_000
        return int(connection.execute(text("select extract(epoch from clock_timestamp()) * 1000")).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    # A connection for each block: opening one costs less than a lock held by an idle one.
    engine = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1e3:.0f}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str) -> Engine:
    return create_engine(url, hide_parameters=True, pool_pre_ping=True, pool_size=10, max_overflow=20, pool_timeout=30)
