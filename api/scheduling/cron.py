"""Cron expressions in a time zone: which moments they name, days on which clocks change included.

The calendar (fields, ``L``, ``LW``, ``#``, Debian's rule for day of month and day of week) is cronsim's, driven over
wall clock times without a zone.  The way from wall clock to UTC is ours, because cronsim's own depends on where the
iteration begins and loses fires where clocks change by half an hour.  The rule, Debian's:

* **Fixed times** (neither minute nor hour begins with ``*``) fire once for each wall clock time.  One that the clock
  shows twice fires the first time; ones that the clock skips fire together, once, at the first minute after the gap,
  and merge with a fire that is there already.  A nightly 02:30 in Europe/Berlin fires at 03:00 when clocks go forward
  and once, at the first 02:30, when they go back.
* **Repeated times** (minute or hour begins with ``*``) fire whenever the wall clock shows a match: twice in an hour
  that comes twice, not at all in one that is skipped, so that ``*/15 * * * *`` stays at one fire each 15 minutes.
  ``*/30 2 * * *`` is of this kind: write ``0,30 2 * * *`` for a job that no change of clocks may skip.

The set of fires depends on the expression and the zone alone, never on where one starts to look; machines that share
schedules need the same version of the zone data.
"""

from __future__ import annotations

import heapq
import zoneinfo
from collections.abc import Iterator, Sized
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice, takewhile

from cronsim import CronSim, CronSimError

from curation.errors import InputError

FIELDS = (
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31, L or LW"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 or SUN-SAT, where 0 and 7 are Sunday; 5L and 5#2 count within the month"),
)
LONGEST_EXPRESSION = 200
FIRST_YEAR, LAST_YEAR = 1972, 2200  # earlier offsets hold seconds; later there is nothing to plan
# A calendar repeats after 28 years (no century in between but 2000, which is a leap year).
CALENDAR = (datetime(2000, 1, 1), datetime(2028, 1, 1))
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
OF_A_MACHINE = {"localtime", "Factory", "posixrules"}  # names whose meaning each machine sets for itself


@dataclass(frozen=True, slots=True)
class Cron:
    """A valid cron expression in a time zone.

    Args:
        expression: five fields: minute, hour, day of month, month, day of week.
        zone: name in the IANA database, for instance ``Europe/Berlin``.

    Raises:
        InputError: a field is wrong, there are not five, the expression never fires, or the zone is unknown.
    """

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        check_expression(self.expression)
        zone_named(self.zone)

    def after(self, moment: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """Nominal fire times, in UTC and ascending.

        Args:
            moment: the first fire is strictly later; its year lies in 1972 to 2200.
            until: the last fire is at this moment at the latest; without it they end with the year 2200.

        Raises:
            ValueError: a moment has no time zone or lies outside of these years.
        """
        bound = utc(until) if until is not None else datetime.max.replace(tzinfo=UTC)
        last = utc(moment)
        for nominal in self._ascending(last):
            if nominal > bound:
                return
            if nominal > last:  # skipped wall clock times share the end of their gap
                last = nominal
                yield nominal

    def next_fires(self, count: int, moment: datetime) -> list[datetime]:
        """The first ``count`` nominal fire times strictly after ``moment``, in UTC."""
        return list(islice(self.after(moment), count))

    def _ascending(self, moment: datetime) -> Iterator[datetime]:
        """All fires after ``moment``, ascending; a few at or before it, and equal ones, may be among them."""
        zone = zone_named(self.zone)
        fixed = not any(field.startswith("*") for field in self.expression.split()[:2])
        waiting: list[datetime] = []
        for local in CronSim(self.expression, _earliest_wall_clock(moment, zone)):
            if local.year > LAST_YEAR:
                break
            instants = _instants(local, zone, fixed)
            for instant in instants:
                heapq.heappush(waiting, instant)
            # Second showings wait, since later wall clock times may come before them.  No later wall clock time is
            # shown for the first time before this one is.
            while instants and waiting and waiting[0] <= instants[0]:
                yield heapq.heappop(waiting)
        yield from sorted(waiting)


def check_expression(expression: str) -> None:
    """Refuse what is no cron expression of five fields, or never fires.

    Raises:
        InputError: says which field is wrong and what it may hold.
    """
    fields = expression.split()
    if len(expression) > LONGEST_EXPRESSION:
        raise InputError(f"more than {LONGEST_EXPRESSION} characters", "cron expression")
    if expression.strip().startswith("@"):
        raise InputError(f"names such as {expression.strip()} are not known; write five fields", "cron expression")
    if len(fields) != len(FIELDS):
        names = ", ".join(name for name, _ in FIELDS)
        seconds = "; there is no field for seconds" if len(fields) == 6 else ""
        raise InputError(f"{len(fields)} fields instead of five ({names}){seconds}", f"cron expression {expression!r}")
    for place, field in enumerate(fields):
        _check_field(place, field)
    if not _fires(expression):
        raise InputError("no date ever matches, so it would never fire", f"cron expression {expression!r}")


def _check_field(place: int, field: str) -> None:
    name, allowed = FIELDS[place]
    try:
        _alone(place, field)
        for term in field.split(","):
            span, step, _ = term.partition("/")
            if step and "-" in span and len(_alone(place, span)) == 1:
                raise CronSimError  # 5-5/10 is 5, but cronsim reads 5/10
    except CronSimError:
        raise InputError(
            f"{field!r} is no {name}: {allowed}, with lists 1,2, ascending ranges 1-5 and steps */2",
            f"cron expression, field {place + 1} ({name})",
        ) from None


def _alone(place: int, field: str) -> Sized:
    """What cronsim reads in one field, where the others are stars."""
    fields = ["*"] * len(FIELDS)
    fields[place] = field
    calendar = CronSim(" ".join(fields), CALENDAR[0])
    return (calendar.minutes, calendar.hours, calendar.days, calendar.months, calendar.weekdays)[place]


def _fires(expression: str) -> bool:
    """Whether any date matches; cronsim refuses some such expressions and looks 50 years ahead for the others."""
    try:
        return next(CronSim(expression, CALENDAR[0] - MINUTE), None) is not None
    except CronSimError:
        return False


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """Known zone names, by their lower-case form."""
    return {name.lower(): name for name in sorted(zoneinfo.available_timezones() - OF_A_MACHINE)}


def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of this name.

    Raises:
        InputError: there is none; says which one may be meant.
    """
    known = _zones()
    if known.get(name.lower()) == name:
        return zoneinfo.ZoneInfo(name)
    wanted = name.strip().lower().replace(" ", "_")
    near = [known[wanted]] if wanted in known else [z for key, z in known.items() if wanted == key.rpartition("/")[2]]
    near = near or [known[key] for key in get_close_matches(wanted[:100], known, n=1, cutoff=0.6)]
    hint = f"did you mean {near[0]!r}?" if near else "names are as in the IANA database, for instance 'Europe/Berlin'"
    raise InputError(f"unknown time zone {name[:100]!r}; {hint}", "time zone")


def utc(moment: datetime) -> datetime:
    """The moment in UTC.

    Raises:
        ValueError: it has no time zone, or its year in UTC is not in 1972 to 2200.
    """
    if moment.utcoffset() is None:
        raise ValueError("a moment needs a time zone")
    near = FIRST_YEAR - 1 <= moment.year <= LAST_YEAR + 1  # others may have no date in UTC
    if not (near and FIRST_YEAR <= moment.astimezone(UTC).year <= LAST_YEAR):
        raise ValueError(f"a moment lies in the years {FIRST_YEAR} to {LAST_YEAR} of UTC")
    return moment.astimezone(UTC)


def _earliest_wall_clock(moment: datetime, zone: tzinfo) -> datetime:
    """What the wall clock shows at least, at any time after ``moment``: less than now if it soon goes back."""
    offsets = [(moment + ahead).astimezone(zone).utcoffset() for ahead in (timedelta(), DAY)]
    return moment.replace(tzinfo=None) + min(offset for offset in offsets if offset is not None)


def _instants(local: datetime, zone: tzinfo, fixed: bool) -> list[datetime]:
    """Moments at which a wall clock time fires, ascending; see the module for the rule."""
    first, second = _as_utc(local, zone, 0), _as_utc(local, zone, 1)
    if first == second:
        return [first]
    if first < second:  # shown twice
        return [first] if fixed else [first, second]
    if not fixed:
        return []
    while first != second:  # in a gap: on to its end
        local += MINUTE
        first, second = _as_utc(local, zone, 0), _as_utc(local, zone, 1)
    return [first]


def _as_utc(local: datetime, zone: tzinfo, fold: int) -> datetime:
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


@lru_cache(maxsize=1024)  # walks 28 years
def most_fires(expression: str, span: timedelta) -> int:
    """How many fires any stretch of this length holds at most; hours that come twice on a clock are not counted."""
    fields = expression.split()
    calendar = CronSim(expression, CALENDAR[0])
    a_day = len(calendar.minutes) * len(calendar.hours)
    dates = takewhile(lambda date: date < CALENDAR[1], CronSim(" ".join(["0", "0", *fields[2:]]), CALENDAR[0] - MINUTE))
    return min(a_day * _most_within(list(dates), (span // DAY + 1) * DAY), span // MINUTE + 1)


def _most_within(dates: list[datetime], span: timedelta) -> int:
    """The most of these ascending dates that lie no further apart than ``span``."""
    most = oldest = 0
    for place, date in enumerate(dates):
        while date - dates[oldest] > span:
            oldest += 1
        most = max(most, place - oldest + 1)
    return most
