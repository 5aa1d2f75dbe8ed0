"""What goes by a name and has numbered versions (datasets, models): versions never change, aliases move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Path
from sqlalchemy import ColumnElement, Connection, RowMapping, Table, delete, insert, select, update

from api.access.audit import record
from api.http import pages
from api.http.named import find_named
from api.problems import Fault, Problem
from api.store.ids import new_id

Ref = Annotated[
    str, Path(max_length=100, description="Number of a version, an alias, or `latest`.", examples=["latest"])
]
AliasName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9._-]{0,99}$", description="`latest` is taken.")]


@dataclass(frozen=True)
class Found:
    """A version with what it is a version of, as rows."""

    thing: RowMapping
    version: RowMapping


@dataclass(frozen=True)
class Versioned:
    """Things of a kind.

    Attributes:
        kind: what one is called.  Versions and aliases name theirs in the column ``KIND_id``.
        things, versions, aliases: tables.
    """

    kind: str
    things: Table
    versions: Table
    aliases: Table

    def find(self, connection: Connection, name: str, ref: str) -> Found:
        """A version by its number, an alias, or ``latest``.

        Raises:
            Problem: there is none.
        """
        thing = find_named(connection, self.things, name)
        number: int | None = None
        if ref == "latest":
            number = thing["latest"]
        elif ref.isascii() and ref.isdigit() and len(ref) < 10:
            number = int(ref)
        else:
            number = self.named(connection, thing).get(ref)
        here = self._of(self.versions, thing) & (self.versions.c.number == number)
        row = None if number is None else connection.execute(select(self.versions).where(here)).mappings().one_or_none()
        if row is None:
            raise Problem("not-found", f"this {self.kind} has no such version and no such alias")
        return Found(thing, row)

    def named(self, connection: Connection, thing: RowMapping) -> dict[str, int]:
        """Numbers by alias, in the order of aliases."""
        of = self.aliases.c
        query = select(of.name, of.number).where(self._of(self.aliases, thing)).order_by(of.name)
        return dict(connection.execute(query).tuples().all())

    def page(self, connection: Connection, name: str, limit: int, cursor: str | None) -> tuple[list[Found], str | None]:
        """Versions, latest first, and the cursor of the next page."""
        after = pages.decode(cursor, {self.kind: name}, (int,))
        thing = find_named(connection, self.things, name)
        number = self.versions.c.number
        query = select(self.versions).where(self._of(self.versions, thing)).order_by(number.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(number < after[0])
        rows = list(connection.execute(query).mappings())
        following = pages.encode([rows[limit - 1]["number"]], {self.kind: name}) if len(rows) > limit else None
        return [Found(thing, row) for row in rows[:limit]], following

    def describe(self, connection: Connection, name: str, description: str, who: str, now: int) -> RowMapping:
        """Change a description; the row as it is now."""
        thing = find_named(connection, self.things, name)
        here = self.things.c.id == thing["id"]
        connection.execute(update(self.things).where(here).values(description=description))
        record(connection, who, f"{self.kind}.describe", name, now)
        return find_named(connection, self.things, name)

    def add(
        self, connection: Connection, name: str, run: str, who: str, now: int, *, version: Mapping[str, Any],
        thing: Mapping[str, Any] | None = None,
    ) -> tuple[RowMapping, bool]:  # fmt: skip
        """Make what a run made the next version; once, however often it is asked for.

        Args:
            run: its id.
            version: further columns of the version.
            thing: further columns of what it is a version of, where this is the first.

        Returns:
            The version, and whether it is new.
        """
        owner = self._made(connection, name, who, now, thing or {})
        here = self._of(self.versions, owner) & (self.versions.c.run_id == run)
        known = connection.execute(select(self.versions).where(here)).mappings().one_or_none()
        if known is not None:
            return known, False
        number = owner["latest"] + 1
        same = {f"{self.kind}_id": owner["id"], "number": number, "run_id": run, "created_at": now, "created_by": who}
        connection.execute(insert(self.versions).values(**same, **version))
        connection.execute(update(self.things).where(self.things.c.id == owner["id"]).values(latest=number))
        return connection.execute(select(self.versions).where(here)).mappings().one(), True

    def set_alias(
        self, connection: Connection, name: str, alias: str, version: int, who: str, now: int
    ) -> RowMapping:  # fmt: skip
        """Let an alias stand for a version; the row of what it is an alias of.

        Raises:
            Problem: the alias is taken, or there is no such version.
        """
        if alias == "latest":
            message = "'latest' always is the latest version"
            raise Problem("invalid", message, [Fault(pointer="path/alias", code="alias", message=message)])
        thing = find_named(connection, self.things, name, lock=True)
        number = self.find(connection, name, str(version)).version["number"]
        connection.execute(delete(self.aliases).where(self._is(thing, alias)))
        values = {f"{self.kind}_id": thing["id"], "name": alias, "number": number, "updated_at": now}
        connection.execute(insert(self.aliases).values(values))
        record(connection, who, f"{self.kind}.alias", name, now, {"alias": alias, "version": number})
        return thing

    def remove_alias(self, connection: Connection, name: str, alias: str, who: str, now: int) -> None:
        """Remove an alias.

        Raises:
            Problem: there is none.
        """
        thing = find_named(connection, self.things, name, lock=True)
        if connection.execute(delete(self.aliases).where(self._is(thing, alias))).rowcount == 0:
            raise Problem("not-found", "there is no such alias")
        record(connection, who, f"{self.kind}.unalias", name, now, {"alias": alias})

    def _made(self, connection: Connection, name: str, who: str, now: int, more: Mapping[str, Any]) -> RowMapping:
        """The row of a name, locked; it is made where there is none."""
        query = select(self.things).where(self.things.c.name == name).with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            same = {"id": new_id(now), "name": name, "latest": 0, "created_at": now, "created_by": who}
            connection.execute(insert(self.things).values(**same, **more))
            row = connection.execute(query).mappings().one()
        return row

    def _is(self, thing: RowMapping, alias: str) -> ColumnElement[bool]:
        return self._of(self.aliases, thing) & (self.aliases.c.name == alias)

    def _of(self, table: Table, thing: RowMapping) -> ColumnElement[bool]:
        here: ColumnElement[bool] = table.c[f"{self.kind}_id"] == thing["id"]
        return here
