"""Bring a database to the current schema, or say how far it is behind."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from api.store.database import Database

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 4_738_221  # any number; that of our migrations among PostgreSQL's advisory locks


def upgrade(database: Database, revision: str = "head") -> None:
    """Apply what is missing; two processes may try at once."""
    with database.write() as connection:
        _lock(connection)
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Go back to an earlier schema."""
    with database.write() as connection:
        _lock(connection)
        command.downgrade(_config(connection), revision)


def current(connection: Connection) -> str | None:
    """Revision of the schema that is there."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """Revision that this version needs."""
    return str(ScriptDirectory(str(_FOLDER)).get_current_head())


def _lock(connection: Connection) -> None:
    """One migration at a time; on SQLite the transaction is the lock already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({_LOCK})")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    return config
