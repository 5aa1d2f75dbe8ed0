"""The nominal times of a range of dates in the past, for runs that make up for them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from api.scheduling.cron import DAY, FIRST_YEAR, LAST_YEAR, zone_named
from api.scheduling.policy import SchedulePolicy
from curation.errors import InputError

MOST_BACKFILL = 10_000


def backfill_times(
    policy: SchedulePolicy, first_date: date, last_date: date, most: int = MOST_BACKFILL
) -> list[datetime]:
    """Nominal times whose date, in the schedule's zone, lies in a range; in UTC, ascending.

    The policy's ``starts_at`` and ``ends_at`` do not count: to reach back before the start is what backfills are for.

    Args:
        policy: whose cron expression and zone are read.
        first_date: first date of the zone.
        last_date: last date of the zone, inclusive.
        most: how many nominal times are allowed.

    Raises:
        InputError: the range is empty or outside of 1973 to 2199, or holds more than ``most`` nominal times.
    """
    where = f"backfill {first_date.isoformat()} to {last_date.isoformat()}"
    if first_date > last_date:
        raise InputError("the first date is after the last", where)
    if first_date.year <= FIRST_YEAR or last_date.year >= LAST_YEAR:
        raise InputError(f"the dates lie in the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}", where)
    zone = zone_named(policy.time_zone)
    # A zone's date begins less than a day from UTC's; the filter is exact also where a date is skipped or comes twice.
    begin = datetime.combine(first_date, time(), UTC) - DAY - timedelta(microseconds=1)
    end = datetime.combine(last_date, time(), UTC) + 2 * DAY
    times: list[datetime] = []
    for nominal in policy.clock.after(begin, end):
        if first_date <= nominal.astimezone(zone).date() <= last_date:
            times.append(nominal)
        if len(times) > most:
            raise InputError(f"more than {most} nominal times; choose fewer dates", where)
    return times
