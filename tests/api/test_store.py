"""The schema is what the migrations make, on both databases, forwards and back."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from api.store.database import Database
from api.store.ids import new_id
from api.store.migrate import current, downgrade, head, upgrade
from api.store.tables import metadata


def test_migrations_make_exactly_the_tables(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert current(connection) == head()


def test_migrations_go_back(database: Database) -> None:
    downgrade(database, "base")
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    upgrade(database)


def test_two_processes_may_migrate_at_once(database_url: str) -> None:
    failures: list[BaseException] = []

    def migrate() -> None:
        database = Database(database_url)
        try:
            upgrade(database)
        except BaseException as error:
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_block_that_raises_never_happened(database: Database) -> None:
    row = "insert into audit (id, at, actor, action, subject, detail) values ('1', 0, 'a', 'b', 'c', '{}')"
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(text(row))
        _ = 1 / 0
    with database.read() as connection:
        assert connection.execute(text("select count(*) from audit")).scalar_one() == 0


def test_a_reader_sees_one_state_throughout(database: Database) -> None:
    row = "insert into audit (id, at, actor, action, subject, detail) values ('1', 0, 'a', 'b', 'c', '{}')"
    count = text("select count(*) from audit")
    with database.read() as reader:
        assert reader.execute(count).scalar_one() == 0
        with database.write() as writer:
            writer.execute(text(row))
        assert reader.execute(count).scalar_one() == 0
    with database.read() as reader:
        assert reader.execute(count).scalar_one() == 1


def test_sqlite_is_durable_and_shared(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'd' / 'x.db'}")
    with database.read() as connection:
        assert connection.execute(text("pragma journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("pragma synchronous")).scalar_one() == 2
        assert connection.execute(text("pragma foreign_keys")).scalar_one() == 1


def test_ids_sort_by_time_and_say_what_they_are() -> None:
    ids = [new_id(moment) for moment in (0, 1, 2**40, 2**48 - 1)]
    assert ids == sorted(ids)
    assert all(id_[14] == "7" and id_[19] in "89ab" and len(id_) == 36 for id_ in ids)
    assert len({new_id(5) for _ in range(1000)}) == 1000
