"""Rows that go by a unique name: finding one, and lists in the order of names."""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, Table, select

from api.http import pages
from api.problems import Problem


def find_named(connection: Connection, table: Table, name: str, lock: bool = False) -> RowMapping:
    """The row of a name; a problem where there is none.

    Args:
        lock: whether it is going to be changed.
    """
    query = select(table).where(table.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise Problem("not-found", f"there is no {table.name.removesuffix('s')} of this name")
    return row


def is_taken(connection: Connection, table: Table, name: str) -> bool:
    """Whether a name has a row already."""
    return connection.execute(select(table.c.name).where(table.c.name == name)).first() is not None


def page_by_name(
    connection: Connection, table: Table, limit: int, cursor: str | None
) -> tuple[list[RowMapping], str | None]:
    """Rows of a page, and the cursor of the next one."""
    after = pages.decode(cursor, {"of": table.name}, (str,))
    query = select(table).order_by(table.c.name).limit(limit + 1)
    if after is not None:
        query = query.where(table.c.name > after[0])
    rows = list(connection.execute(query).mappings())
    following = pages.encode([rows[limit - 1]["name"]], {"of": table.name}) if len(rows) > limit else None
    return rows[:limit], following
