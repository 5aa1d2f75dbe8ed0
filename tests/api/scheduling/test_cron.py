"""Cron expressions name the moments that a slow walk over all minutes finds, and those that were published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.scheduling.cron import OF_A_MACHINE, Cron, _zones, check_expression, most_fires, utc, zone_named
from curation.errors import InputError
from tests.api.scheduling import reference
from tests.api.scheduling.reference import DAY, MINUTE

ZONES = [
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/Havana",
    "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "Asia/Tehran", "Asia/Shanghai", "Pacific/Apia",
    "Kwajalein", "Antarctica/Vostok",
]  # fmt: skip


def at(text: str) -> datetime:
    """A moment, written in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(expression: str, zone: str, begin: str, end: str) -> list[str]:
    """Fires later than one moment and not later than another, as texts in UTC."""
    return [f"{fire:%Y-%m-%d %H:%M}" for fire in Cron(expression, zone).after(at(begin), at(end))]


# --- published facts


# fmt: off
FACTS = [
    # A fixed time that is skipped, and one that comes twice.
    ("30 2 * * *", "Europe/Berlin", "2026-03-27 12:00", "2026-03-30 12:00",
     ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]),
    ("30 2 * * *", "Europe/Berlin", "2026-10-23 12:00", "2026-10-26 12:00",
     ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]),
    # Skipped times fire together, and merge with the fire that is there.
    ("*/10 3 29 3 *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 01:05", ["2026-03-29 01:00"]),
    ("0,15,30 2,3 29 3 *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 01:20",
     ["2026-03-29 01:00", "2026-03-29 01:15"]),
    # Repeated times fire as shown.
    ("*/30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 12:00", []),
    ("*/30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 12:00",
     ["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30"]),
    ("30 * 25 10 *", "Europe/Berlin", "2026-10-24 23:45", "2026-10-25 02:00",
     ["2026-10-25 00:30", "2026-10-25 01:30"]),
    # Fields decide which kind it is by their first character alone.
    ("0,30 0-23 25 10 *", "Europe/Berlin", "2026-10-24 23:45", "2026-10-25 02:45",
     ["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 02:00", "2026-10-25 02:30"]),
    ("30 2 * * *", "America/New_York", "2026-03-07 12:00", "2026-03-08 12:00", ["2026-03-08 07:00"]),
    ("30 1 * * *", "America/New_York", "2026-10-31 12:00", "2026-11-01 12:00", ["2026-11-01 05:30"]),
    ("30 1 * * *", "Europe/Dublin", "2026-03-28 12:00", "2026-03-29 12:00", ["2026-03-29 01:00"]),
    # Midnight is skipped, or comes twice.
    ("0 0 * * *", "America/Sao_Paulo", "2018-11-03 00:00", "2018-11-05 12:00",
     ["2018-11-03 03:00", "2018-11-04 03:00", "2018-11-05 02:00"]),
    ("30 23 * * *", "America/Sao_Paulo", "2018-02-17 12:00", "2018-02-19 12:00",
     ["2018-02-18 01:30", "2018-02-19 02:30"]),
    ("0 0 * * *", "America/Havana", "2026-03-07 12:00", "2026-03-08 12:00", ["2026-03-08 05:00"]),
    ("30 0 * * *", "America/Havana", "2026-10-31 12:00", "2026-11-01 12:00", ["2026-11-01 04:30"]),
    ("30 0 * * *", "Asia/Tehran", "2021-03-21 12:00", "2021-03-22 22:00", ["2021-03-21 20:30", "2021-03-22 20:00"]),
    ("30 0 22 3 *", "Asia/Tehran", "2023-03-01 12:00", "2023-04-01 12:00", ["2023-03-21 21:00"]),
    # Half an hour.
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-02 18:00", "2026-10-04 18:00",
     ["2026-10-03 15:30", "2026-10-04 15:15"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03 18:00", "2026-04-05 18:00",
     ["2026-04-04 14:45", "2026-04-05 15:15"]),
    # A day that Samoa never had, 2011-12-30: its noon fires as the next day begins.
    ("0 12 * * *", "Pacific/Apia", "2011-12-29 00:00", "2011-12-31 00:00",
     ["2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"]),
    ("0 9-17 30 12 *", "Pacific/Apia", "2011-12-01 00:00", "2012-01-31 00:00", ["2011-12-30 10:00"]),
    ("0 * 30 12 *", "Pacific/Apia", "2011-12-01 00:00", "2012-01-31 00:00", []),
    ("0 9 * * 1-5", "Asia/Kolkata", "2026-10-02 00:00", "2026-10-05 12:00", ["2026-10-02 03:30", "2026-10-05 03:30"]),
    # Ramadan, and China's summer time of 1986.
    ("30 2 * * *", "Africa/Casablanca", "2019-05-04 12:00", "2019-05-05 12:00", ["2019-05-05 01:30"]),
    ("30 2 * * *", "Africa/Casablanca", "2019-06-08 12:00", "2019-06-09 12:00", ["2019-06-09 02:00"]),
    ("30 2 4 5 *", "Asia/Shanghai", "1986-01-01 00:00", "1987-01-01 00:00", ["1986-05-03 18:00"]),
    # Days.
    ("0 0 L * *", "UTC", "2024-01-01 00:00", "2024-05-01 00:00",
     ["2024-01-31 00:00", "2024-02-29 00:00", "2024-03-31 00:00", "2024-04-30 00:00"]),
    ("0 0 LW * *", "UTC", "2024-03-01 00:00", "2024-07-01 00:00",
     ["2024-03-29 00:00", "2024-04-30 00:00", "2024-05-31 00:00", "2024-06-28 00:00"]),
    ("0 0 29 2 *", "UTC", "2089-01-01 00:00", "2113-01-01 00:00",
     ["2092-02-29 00:00", "2096-02-29 00:00", "2104-02-29 00:00", "2108-02-29 00:00", "2112-02-29 00:00"]),
    ("0 0 29 2 */7", "UTC", "2061-01-01 00:00", "2150-01-01 00:00",
     ["2088-02-29 00:00", "2128-02-29 00:00"]),
    ("0 0 * * FRI#2", "UTC", "2026-10-01 00:00", "2026-12-01 00:00", ["2026-10-09 00:00", "2026-11-13 00:00"]),
    ("0 0 * * 7L", "UTC", "2026-10-01 00:00", "2026-12-01 00:00", ["2026-10-25 00:00", "2026-11-29 00:00"]),
    # Debian's rule: either day unless one begins with a star.
    ("0 0 13 * FRI", "UTC", "2026-11-01 00:00", "2026-11-30 00:00",
     ["2026-11-06 00:00", "2026-11-13 00:00", "2026-11-20 00:00", "2026-11-27 00:00"]),
    ("0 0 */12 * FRI", "UTC", "2026-10-01 00:00", "2027-02-01 00:00",
     ["2026-11-13 00:00", "2026-12-25 00:00", "2027-01-01 00:00"]),
]
# fmt: on


@pytest.mark.parametrize(("expression", "zone", "begin", "end", "fires"), FACTS)
def test_published(expression: str, zone: str, begin: str, end: str, fires: list[str]) -> None:
    assert between(expression, zone, begin, end) == fires
    begin = max(begin, f"{at(end) - 3 * DAY:%Y-%m-%d %H:%M}")  # the walk is slow
    walked = reference.fires(expression, zone, at(begin), at(end))
    assert [f"{fire:%Y-%m-%d %H:%M}" for fire in walked] == [fire for fire in fires if fire > begin]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "changed", ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04"]
)
def test_every_quarter_of_an_hour_stays_one(zone: str, changed: str) -> None:
    begin = at(f"{changed} 00:00") - DAY
    fires = list(Cron("*/15 * * * *", zone).after(begin, begin + 3 * DAY))
    assert fires == [begin + n * 15 * MINUTE for n in range(1, 3 * 96 + 1)]


# --- against the walk


def are_ascending_minutes(fires: list[datetime]) -> None:
    assert all(earlier < later for earlier, later in pairwise(fires))
    assert all(fire.tzinfo is UTC and fire.second == fire.microsecond == 0 for fire in fires)


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_clocks_since_1980(zone: str) -> None:
    expressions = ["*/20 * * * *", "*/30 0-4 * * *", "0,10,30 0-3,23 * * *", "15 2 * * *"]
    crons = [Cron(expression, zone) for expression in expressions]
    ends = reference.changes(zone, 1980, 2027)
    assert zone in ("UTC", "Asia/Kolkata") or ends
    for end in ends:
        begin, end = end - 25 * 60 * MINUTE, end + 7 * 60 * MINUTE
        minutes = reference.shown(zone, begin, end)
        for cron in crons:
            found = list(cron.after(begin, end))
            assert found == [moment for moment in reference.among(cron.expression, minutes) if moment > begin]
            are_ascending_minutes(found)


def test_whole_year() -> None:
    zone, begin, end = "Australia/Lord_Howe", at("2026-01-01 00:00"), at("2027-01-01 00:00")
    minutes = reference.shown(zone, begin, end)
    for expression in ("30 2 * * *", "*/20 1-3 L * *", "17 1-23/3 1-7 * MON", "*/7 * * */5 6,0"):
        expected = [moment for moment in reference.among(expression, minutes) if moment > begin]
        assert list(Cron(expression, zone).after(begin, end)) == expected and len(expected) > 40


def terms(low: int, high: int, names: dict[str, int] | None = None) -> st.SearchStrategy[str]:
    """One field of an expression: stars, steps, names, ranges and lists of them."""
    number = st.integers(low, high)
    step = st.integers(1, high).map(str)
    spelled = number.map(str) if names is None else number.map(str) | st.sampled_from([n.title() for n in names])
    ends = st.lists(number, min_size=2, max_size=2, unique=True).map(sorted)
    span = ends.map(lambda ends: f"{ends[0]}-{ends[1]}")
    plain = spelled | span | st.builds("{}/{}".format, span | number, step)
    return st.just("*") | st.builds("*/{}".format, step) | plain | st.lists(plain, min_size=2, max_size=3).map(",".join)


DAYS = st.just("*") | terms(1, 31) | st.sampled_from(["L", "LW", "1,L", "LW,15", "28-31", "31", "30", "29"])
MONTHS = st.just("*") | terms(1, 12, reference.MONTHS) | st.sampled_from(["2", "FEB", "4,6,9,11"])
WEEKDAYS = (
    st.just("*")
    | terms(0, 7, reference.WEEKDAYS)
    | st.sampled_from(["5L", "7L", "0#1", "MON#5", "1#2,3#4", "MON-FRI", "sat,SUN"])
)
TIMES = st.builds(
    "{} {}".format, terms(0, 59), st.sampled_from(["*", "*/2", "0-4", "2", "1,2,3", "0", "23,0", "12"]) | terms(0, 23)
)


@st.composite
def stretches(draw: st.DrawFn) -> tuple[str, datetime, datetime]:
    """A zone and a few days, mostly around a change of its clocks."""
    zone = draw(st.sampled_from(ZONES) | st.sampled_from(sorted(_zones().values())))
    ends = reference.changes(zone, 1990, 2030)
    seconds = draw(st.integers(0, 2 * 86400))
    near = draw(st.sampled_from(ends) if ends else st.datetimes(datetime(1973, 1, 1), datetime(2199, 1, 1)))
    begin = near.replace(tzinfo=UTC) - timedelta(seconds=seconds, microseconds=draw(st.sampled_from([0, 1, 999_999])))
    return zone, begin, begin + timedelta(seconds=draw(st.integers(0, 3 * 86400)))


@settings(max_examples=200)
@given(stretches(), TIMES, st.just("* * *") | st.builds("{} {} {}".format, DAYS, MONTHS, WEEKDAYS))
def test_any_expression_near_any_change(stretch: tuple[str, datetime, datetime], times: str, days: str) -> None:
    zone, begin, end = stretch
    try:
        cron = Cron(f"{times} {days}", zone)
    except InputError as error:
        assert "never fire" in str(error)
        return
    found = list(cron.after(begin, end))
    assert found == reference.fires(cron.expression, zone, begin, end)
    are_ascending_minutes(found)


@settings(max_examples=100)
@given(DAYS, MONTHS, WEEKDAYS, st.integers(1973, 2190))
def test_any_days(days: str, months: str, weekdays: str, year: int) -> None:
    """Dates of five years; an expression that names none in forty is refused."""
    expression = f"0 12 {days} {months} {weekdays}"
    match = reference.on_dates(expression)
    first = datetime(year, 1, 1, tzinfo=UTC)
    expected = [on for on in (first.date() + n * DAY for n in range(5 * 365)) if match(on)]
    if not expected and not any(match(date(2000, 1, 1) + n * DAY) for n in range(40 * 365)):
        with pytest.raises(InputError, match="no date ever matches"):
            check_expression(expression)
        return
    assert [fire.date() for fire in Cron(expression).after(first, first + 5 * 365 * DAY)] == expected


@settings(max_examples=100)
@given(stretches(), TIMES, st.integers(0, 3 * 86_400_000_000), st.integers(1, 20))
def test_fires_do_not_depend_on_where_one_starts(
    stretch: tuple[str, datetime, datetime], times: str, inside: int, count: int
) -> None:
    zone, begin, end = stretch
    cron = Cron(f"{times} * * *", zone)
    everything = list(cron.after(begin - 2 * DAY, end))
    assert list(cron.after(begin, end)) == [fire for fire in everything if fire > begin]
    start = begin - DAY + timedelta(microseconds=inside)
    assert list(cron.after(start, end)) == [fire for fire in everything if fire > start]
    some = cron.next_fires(count, begin)
    assert len(some) == count
    for one, following in pairwise(some):  # step by step, as a controller does
        assert cron.next_fires(1, one) == [following]
        assert cron.next_fires(1, one - timedelta(microseconds=1)) == [one]
    are_ascending_minutes(some)


@pytest.mark.parametrize(
    ("zone", "moment"),
    [("Europe/Berlin", "2026-10-25 00:00"), ("Australia/Lord_Howe", "2026-04-04 14:30"), ("UTC", "2026-01-01 00:00")],
)
def test_starts_inside_of_what_comes_twice(zone: str, moment: str) -> None:
    end = at(moment) + 3 * 60 * MINUTE
    for expression in ("*/10 * * * *", "*/7 1,2 * * *", "0,20,40 1-3 * * *"):
        walked = reference.fires(expression, zone, at(moment) - 60 * MINUTE, end)
        for minutes in range(-60, 150):
            start = at(moment) + minutes * MINUTE
            assert list(Cron(expression, zone).after(start, end)) == [fire for fire in walked if fire > start]


def test_fires_end_with_the_year_2200() -> None:
    assert Cron("0 0 1 1,7 *").next_fires(9, at("2199-02-01 00:00")) == [
        at("2199-07-01 00:00"), at("2200-01-01 00:00"), at("2200-07-01 00:00"),
    ]  # fmt: skip
    assert Cron("*/30 2 26 10 *", "Europe/Berlin").next_fires(9, at("2200-01-01 00:00")) == [
        at("2200-10-26 00:00"), at("2200-10-26 00:30"), at("2200-10-26 01:00"), at("2200-10-26 01:30"),
    ]  # fmt: skip
    assert list(Cron("*/30 23 31 12 *", "Pacific/Apia").after(at("2200-12-31 10:00"))) == [at("2200-12-31 10:30")]


def test_until_is_inclusive_and_after_is_not() -> None:
    cron = Cron("0 * * * *")
    assert list(cron.after(at("2026-01-01 00:00"), at("2026-01-01 02:00"))) == [
        at("2026-01-01 01:00"),
        at("2026-01-01 02:00"),
    ]
    assert list(cron.after(at("2026-01-01 02:00"), at("2026-01-01 02:00"))) == []
    assert list(cron.after(at("2026-01-01 03:00"), at("2026-01-01 02:00"))) == []


# --- moments


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), at("1971-12-31 23:59"), at("2201-01-01 00:00")])
def test_moments_without_zone_or_far_away_are_refused(moment: datetime) -> None:
    with pytest.raises(ValueError, match="a moment"):
        utc(moment)
    with pytest.raises(ValueError, match="a moment"):
        next(Cron("* * * * *").after(moment))
    with pytest.raises(ValueError, match="a moment"):
        next(Cron("* * * * *").after(at("2026-01-01 00:00"), moment))


EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


@given(
    st.datetimes(datetime(1971, 12, 1), datetime(1972, 2, 1), timezones=st.sampled_from([EAST, WEST, UTC]))
    | st.datetimes(datetime(2200, 12, 1), datetime(2201, 2, 1), timezones=st.sampled_from([EAST, WEST, UTC]))
    | st.sampled_from([datetime.min.replace(tzinfo=EAST), datetime.max.replace(tzinfo=WEST)])
)
def test_a_moment_in_utc_stays_one(moment: datetime) -> None:
    try:
        once = utc(moment)
    except ValueError:
        assert not 1973 <= moment.year <= 2199
        return
    assert once == moment and once.tzinfo is UTC
    assert utc(once) == once


# --- what is refused


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("60 * * * *", "field 1 (minute)"),
        ("-1 * * * *", "field 1 (minute)"),
        ("*/0 * * * *", "field 1 (minute)"),
        ("1,,2 * * * *", "field 1 (minute)"),
        ("30-10 * * * *", "field 1 (minute)"),
        ("1.5 * * * *", "field 1 (minute)"),
        ("٣ * * * *", "field 1 (minute)"),
        ("L * * * *", "field 1 (minute)"),
        ("1,5-5/10 * * * *", "field 1 (minute)"),
        ("0 24 * * *", "field 2 (hour)"),
        ("0 1-2-3 * * *", "field 2 (hour)"),
        ("0 */2/3 * * *", "field 2 (hour)"),
        ("0 0 0 * *", "field 3 (day of month)"),
        ("0 0 32 * *", "field 3 (day of month)"),
        ("0 0 L-1 * *", "field 3 (day of month)"),
        ("0 0 1W * *", "field 3 (day of month)"),
        ("0 0 ? * *", "field 3 (day of month)"),
        ("0 0 * 0 *", "field 4 (month)"),
        ("0 0 * 13 *", "field 4 (month)"),
        ("0 0 * JANUARY *", "field 4 (month)"),
        ("0 0 * FEB-02/3 *", "field 4 (month)"),
        ("0 0 * * 8", "field 5 (day of week)"),
        ("0 0 * * FRI-SUN", "field 5 (day of week)"),
        ("0 0 * * 1#6", "field 5 (day of week)"),
        ("0 0 * * L", "field 5 (day of week)"),
        ("0 0 * * ²L", "field 5 (day of week)"),
        ("0 0 * * FRIL", "field 5 (day of week)"),
        ("0 0 * * 1-5L", "field 5 (day of week)"),
    ],
)
def test_the_wrong_field_is_named(expression: str, named: str) -> None:
    with pytest.raises(InputError) as raised:
        Cron(expression)
    wrong = expression.split()[int(named[6]) - 1]
    assert named in str(raised.value.where) and repr(wrong) in raised.value.message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "0 fields instead of five"),
        ("   ", "0 fields instead of five"),
        ("* * * *", "4 fields instead of five (minute, hour, day of month, month, day of week)"),
        ("0 * * * * *", "6 fields instead of five (minute, hour, day of month, month, day of week); there is no field"),
        ("@daily", "names such as @daily are not known"),
        ("0 0 30 2 *", "never fire"),
        ("0 0 31 4,6,9,11 *", "never fire"),
        ("0 0 */31 * 1L", "never fire"),
        ("0 0 */30 * 3#3", "never fire"),
        (f"{','.join(['1'] * 100)} * * * *", "more than 200 characters"),
    ],
)
def test_other_expressions_are_refused(expression: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        Cron(expression)
    assert message in raised.value.message and "cron expression" in str(raised.value.where)


@settings(max_examples=300)
@given(st.text(alphabet="0123456789*/,-#LWMONJA @?²", max_size=40) | st.text(max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        cron = Cron(text)
    except InputError as error:
        assert "cron expression" in str(error)
        return
    assert cron.next_fires(1, at("2026-01-01 00:00"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("berlin", "did you mean 'Europe/Berlin'?"),
        (" New York", "did you mean 'America/New_York'?"),
        ("Europe/Berlln", "did you mean 'Europe/Berlin'?"),
        ("utc", "did you mean 'UTC'?"),
        ("", "names are as in the IANA database"),
        ("../../etc/passwd", ""),
        ("Nowhere at all \0", "names are as in the IANA database"),
        ("x" * 10_000, "names are as in the IANA database"),
        *((name, "") for name in sorted(OF_A_MACHINE)),
    ],
)
def test_unknown_zones(name: str, hint: str) -> None:
    with pytest.raises(InputError) as raised:
        Cron("0 0 * * *", name)
    assert raised.value.where == "time zone" and hint in raised.value.message and len(str(raised.value)) < 300
    assert raised.value.message.startswith(f"unknown time zone {name[:100]!r}; ")


def test_every_known_zone_is_a_zone() -> None:
    assert len(_zones()) > 400 and not OF_A_MACHINE & set(_zones().values())
    assert all(zone_named(name).key == name for name in _zones().values())


# --- how many fires


@settings(max_examples=20)
@given(TIMES, st.builds("{} {} {}".format, DAYS, st.sampled_from(["2", "Apr", "6,12"]), WEEKDAYS), st.data())
def test_no_stretch_holds_more_than_the_most(times: str, days: str, data: st.DataObject) -> None:
    expression = f"{times} {days}"
    try:
        cron = Cron(expression)
    except InputError:
        return
    span = timedelta(seconds=data.draw(st.integers(10, 5 * 86400)))
    fire = cron.next_fires(1, at("2000-01-01 00:00") + data.draw(st.integers(0, 9000)) * DAY)[0]
    held = sum(1 for _ in cron.after(fire - MINUTE, fire + span)) if fire.year < 2027 else 0
    assert held <= most_fires(expression, span)


@pytest.mark.parametrize(
    ("expression", "days", "most"),
    [
        ("* * * * *", 7, 7 * 1440 + 1),
        ("0 0 * * *", 7, 9),  # seven days touch eight dates; one more at most is counted
        ("0 0 1 * *", 366, 13),
        ("0 0 29 2 *", 366, 1),
        ("*/15 9-17 * * MON-FRI", 7, 36 * 7),
    ],
)
def test_most_fires(expression: str, days: int, most: int) -> None:
    assert most_fires(expression, days * DAY) == most
