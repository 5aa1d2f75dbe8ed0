"""The controller's chore: schedules whose time has come."""

from __future__ import annotations

import logging

from sqlalchemy import RowMapping, select
from sqlalchemy.exc import SQLAlchemyError

from api.problems import Problem
from api.scheduling.decide import next_due
from api.scheduling.store import find_schedule, moment, policy_of, settle
from api.settings import Settings
from api.store.database import Database
from api.store.tables import schedules

log = logging.getLogger("gristmill.schedules")


class Firing:
    """Settles each schedule that has something due; any number of controllers may do so at once.

    Args:
        who: for the events of runs that are started.
    """

    def __init__(self, settings: Settings, database: Database, who: str) -> None:
        self.settings, self.database, self.who = settings, database, who
        self._next: dict[str, tuple[tuple[int, int], int | None]] = {}

    def __call__(self) -> bool:
        """One look at all schedules; whether anything was decided."""
        with self.database.read() as connection:
            rows = list(connection.execute(select(schedules)).mappings())
            now = self.database.now(connection)
        busy = False
        for row in rows:
            due = self._due(row)
            if due is not None and due <= now:
                busy |= self._settled(row["name"])
        self._next = {row["id"]: self._next[row["id"]] for row in rows}
        return busy

    def _due(self, row: RowMapping) -> int | None:
        """When the next fire is due, remembered until the schedule changes or decides."""
        mark = row["version"], row["decided_until"]
        known = self._next.get(row["id"])
        if known is None or known[0] != mark:
            due = next_due(policy_of(row), row["id"], moment(row["decided_until"]))
            known = (mark, None if due is None else int(due.timestamp() * 1000))
            self._next[row["id"]] = known
        return known[1]

    def _settled(self, name: str) -> bool:
        """Settle one; what is wrong with it does not keep the others from firing."""
        try:
            return self._settle(name)
        except SQLAlchemyError:
            raise
        except Exception:
            log.exception("schedule %s cannot be decided", name)
            return False

    def _settle(self, name: str) -> bool:
        try:
            with self.database.write() as connection:
                row = find_schedule(connection, name, lock=True)
                count = settle(connection, self.settings, row, self.database.now(connection), self.who)
        except Problem:  # it was removed meanwhile
            return False
        if count:
            log.info("schedule %s: %d decision(s)", name, count)
        return count > 0
