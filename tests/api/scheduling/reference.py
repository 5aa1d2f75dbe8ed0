"""What cron means, slowly: every minute of UTC is looked at, and nothing leads from a wall clock back to UTC."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONTHS = {
    name: n
    for n, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], start=1
    )
}
WEEKDAYS = {name: n for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}

Shown = list[tuple[datetime, datetime]]


def numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> set[int]:
    """What one field without L and # names: lists of ``*``, numbers and ranges, each perhaps with a step."""
    found: set[int] = set()
    for term in field.upper().split(","):
        span, _, step = term.partition("/")
        ends = [int((names or {}).get(end, end)) for end in span.split("-")] if span != "*" else [low, high]
        if len(ends) == 1:
            ends.append(high if step else ends[0])
        found.update(range(ends[0], ends[1] + 1, int(step or 1)))
    return found


def on_dates(expression: str) -> Callable[[date], bool]:
    """Whether a date matches; both day fields must if one of them begins with ``*``, else one is enough."""
    _, _, days, months, weekdays = expression.upper().split()
    in_months = numbers(months, 1, 12, MONTHS)

    def day(term: str) -> Callable[[date], bool]:
        if term == "L":
            return lambda on: on.day == days_of_month(on)
        if term == "LW":
            return lambda on: on.day == max(d for d in range(1, days_of_month(on) + 1) if is_working(on.replace(day=d)))
        allowed = numbers(term, 1, 31)
        return lambda on: on.day in allowed

    def weekday(term: str) -> Callable[[date], bool]:
        name, _, nth = term.partition("#")
        allowed = {number % 7 for number in numbers(name.removesuffix("L"), 0, 7, WEEKDAYS)}
        if name.endswith("L"):
            return lambda on: on.isoweekday() % 7 in allowed and on.day + 7 > days_of_month(on)
        return lambda on: on.isoweekday() % 7 in allowed and (not nth or (on.day - 1) // 7 + 1 == int(nth))

    of_month, of_week = [day(term) for term in days.split(",")], [weekday(term) for term in weekdays.split(",")]
    needs = all if days.startswith("*") or weekdays.startswith("*") else any

    @cache
    def match(on: date) -> bool:
        return on.month in in_months and needs(any(rule(on) for rule in rules) for rules in (of_month, of_week))

    return match


def days_of_month(on: date) -> int:
    return calendar.monthrange(on.year, on.month)[1]


def is_working(on: date) -> bool:
    return on.weekday() < 5


def shown(zone: str, begin: datetime, end: datetime) -> Shown:
    """Each minute to ``end`` and what the wall clock shows then; from 10 hours early, since 7 may come twice."""
    clock, minute = ZoneInfo(zone), begin.astimezone(UTC).replace(second=0, microsecond=0) - 10 * HOUR
    minutes: Shown = []
    while minute <= end:
        minutes.append((minute, minute.astimezone(clock).replace(tzinfo=None)))
        minute += MINUTE
    return minutes


def matches(expression: str) -> Callable[[datetime], bool]:
    """Whether a wall clock time matches."""
    minute, hour, *_ = expression.split()
    minutes, hours, on_date = numbers(minute, 0, 59), numbers(hour, 0, 23), on_dates(expression)
    return lambda wall: wall.minute in minutes and wall.hour in hours and on_date(wall.date())


def among(expression: str, minutes: Shown) -> Iterator[datetime]:
    """Fires among these minutes."""
    match = matches(expression)
    minute, hour, *_ = expression.split()
    if minute.startswith("*") or hour.startswith("*"):
        yield from (moment for moment, wall in minutes if match(wall))
        return
    newest = minutes[0][1] - MINUTE
    for moment, wall in minutes:
        fire = False
        while newest < wall:  # what the clock shows, or has skipped, for the first time
            newest += MINUTE
            fire = fire or match(newest)
        if fire:
            yield moment


def fires(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Fires later than ``begin`` and not later than ``end``."""
    return [moment for moment in among(expression, shown(zone, begin, end)) if moment > begin]


@cache
def changes(zone: str, first_year: int, last_year: int) -> list[datetime]:
    """Midnights in UTC at which a day ends on which the zone's offset from UTC changed."""
    clock, midnight = ZoneInfo(zone), datetime(first_year, 1, 1, tzinfo=UTC)
    found, offset = [], midnight.astimezone(clock).utcoffset()
    while midnight.year <= last_year:
        midnight += DAY
        before, offset = offset, midnight.astimezone(clock).utcoffset()
        if before != offset:
            found.append(midnight)
    return found
