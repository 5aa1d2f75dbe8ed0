"""A month of a schedule: what became of each date, and what is to come, counted in one question to the database."""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from sqlalchemy import Connection, RowMapping, case, func, select

from api.scheduling import store
from api.scheduling.cron import FIRST_YEAR, LAST_YEAR, zone_named
from api.scheduling.models import Calendar, CalendarDay
from api.store.tables import fires, runs
from curation.errors import InputError

MOST_COMING = 2000


def month_of(connection: Connection, row: RowMapping, month: str | None, now: int) -> Calendar:
    """What a month holds.

    Args:
        row: of the schedule.
        month: ``2026-11``; None for this month in the schedule's zone.

    Raises:
        InputError: there is no such month, or it lies outside of 1973 to 2199.
    """
    policy = store.policy_of(row)
    zone = zone_named(policy.time_zone)
    today = store.moment(now).astimezone(zone).date()
    first = _first(month) if month else today.replace(day=1)
    count = monthrange(first.year, first.month)[1]
    dates = [first + timedelta(days=number) for number in range(count + 1)]
    begins = [datetime.combine(one, time(), zone).astimezone(UTC) for one in dates]
    edges = [store.milliseconds(begin) for begin in begins]

    # The one nominal time of a date is its least, and the greatest id of its runs is that of its one run.
    day = case(*((fires.c.nominal < edge, number) for number, edge in enumerate(edges[1:])))
    query = (
        select(day, fires.c.outcome, runs.c.state, func.count(), func.min(fires.c.nominal), func.max(fires.c.run_id))
        .outerjoin(runs, runs.c.id == fires.c.run_id)
        .where(fires.c.schedule_id == row["id"], fires.c.nominal >= edges[0], fires.c.nominal < edges[-1])
        .group_by(day, fires.c.outcome, runs.c.state)
    )
    decided = [Counter[str]() for _ in range(count)]
    singles: list[list[tuple[int, str | None]]] = [[] for _ in range(count)]
    for number, outcome, state, many, nominal, run in connection.execute(query):
        decided[number][state or outcome] += many
        singles[number].append((nominal, run))

    coming: Counter[int] = Counter()
    first_coming: dict[int, int] = {}
    begin = max(store.moment(row["decided_until"]), begins[0] - timedelta(milliseconds=1))
    ahead = list(islice(policy.fires(row["id"], begin, begins[-1] - timedelta(milliseconds=1)), MOST_COMING + 1))
    for fire in ahead[:MOST_COMING]:
        nominal = store.milliseconds(fire.nominal)
        number = bisect_right(edges, nominal) - 1
        coming[number] += 1
        first_coming.setdefault(number, nominal)

    days = []
    for number, one in enumerate(dates[:-1]):
        known = [nominal for nominal, _ in singles[number]] + ([first_coming[number]] if coming[number] else [])
        single = sum(decided[number].values()) + coming[number] == 1
        days.append(
            CalendarDay(
                date=one, fires=dict(decided[number]), coming=coming[number],
                run=singles[number][0][1] if single and singles[number] else None,
                at=f"{store.moment(known[0]).astimezone(zone):%H:%M}" if single else None,
            )
        )  # fmt: skip
    return Calendar(
        month=f"{first:%Y-%m}", time_zone=policy.time_zone, today=today, days=days,
        complete=len(ahead) <= MOST_COMING,
    )  # fmt: skip


def _first(month: str) -> date:
    try:
        first = datetime.strptime(month, "%Y-%m").date()
    except ValueError:
        raise InputError("a month is written like 2026-11") from None
    if not FIRST_YEAR < first.year < LAST_YEAR:
        raise InputError(f"months lie in the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}")
    return first
