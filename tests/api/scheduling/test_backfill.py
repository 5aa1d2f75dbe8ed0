"""Backfills hold the fires of their dates, as the zone's calendar counts them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.scheduling.backfill import MOST_BACKFILL, backfill_times
from api.scheduling.policy import SchedulePolicy
from curation.errors import InputError
from tests.api.scheduling import reference
from tests.api.scheduling.reference import DAY

ZONES = [
    "UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Australia/Lord_Howe", "Africa/Casablanca",
    "Asia/Kolkata", "Asia/Tehran", "Pacific/Apia", "Pacific/Kiritimati", "Etc/GMT+12", "Kwajalein",
]  # fmt: skip
CRONS = ["*/20 * * * *", "0 0 * * *", "59 23 * * *", "30 2 * * *", "0,30 0-3 * * *", "*/15 1,2 * * *", "0 12 L * *"]


def walked(cron: str, zone: str, first: date, last: date) -> list[datetime]:
    """Fires of the slow walk whose date is one of these."""
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - DAY
    fires = reference.fires(cron, zone, begin, begin + (last - first) + 3 * DAY)
    return [fire for fire in fires if first <= fire.astimezone(ZoneInfo(zone)).date() <= last]


@settings(max_examples=60)
@given(st.sampled_from(CRONS), st.sampled_from(ZONES), st.integers(0, 3), st.integers(0, 3), st.data())
def test_dates_around_changes_of_clocks(cron: str, zone: str, before: int, days: int, data: st.DataObject) -> None:
    changes = reference.changes(zone, 1974, 2037)
    near = data.draw(st.sampled_from(changes).map(datetime.date) if changes else st.dates(date(1974, 1, 1)))
    if not 1974 <= near.year <= 2198:
        return
    first = near - before * DAY
    last = first + days * DAY
    assert backfill_times(SchedulePolicy(cron=cron, time_zone=zone), first, last) == walked(cron, zone, first, last)


@pytest.mark.parametrize(
    ("zone", "first", "last", "fires"),
    [
        ("Europe/Berlin", "2026-03-28", "2026-03-30", ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"]),
        ("Europe/Berlin", "2026-10-25", "2026-10-25", ["2026-10-25 00:30"]),
        ("Asia/Kolkata", "2026-01-01", "2026-01-01", ["2025-12-31 21:00"]),
        ("Pacific/Kiritimati", "2026-01-01", "2026-01-01", ["2025-12-31 12:30"]),
        ("Etc/GMT+12", "2026-01-01", "2026-01-01", ["2026-01-01 14:30"]),
        # Samoa had no 2011-12-30; what was skipped fires as the 31st begins, and is of that date.
        ("Pacific/Apia", "2011-12-30", "2011-12-30", []),
        ("Pacific/Apia", "2011-12-31", "2011-12-31", ["2011-12-30 10:00", "2011-12-30 12:30"]),
    ],
)
def test_published(zone: str, first: str, last: str, fires: list[str]) -> None:
    policy = SchedulePolicy(cron="30 2 * * *", time_zone=zone)
    times = backfill_times(policy, date.fromisoformat(first), date.fromisoformat(last))
    assert [f"{time:%Y-%m-%d %H:%M}" for time in times] == fires


@pytest.mark.parametrize("zone", ZONES)
def test_ranges_that_touch_share_no_fire_and_lose_none(zone: str) -> None:
    policy = SchedulePolicy(cron="*/30 0,1,2,3,12,23 * * *", time_zone=zone)
    for middle in [date(2011, 12, 29), date(2026, 3, 28), date(2018, 11, 3), date(1994, 12, 31)]:
        first, last = middle - 5 * DAY, middle + 5 * DAY
        whole = backfill_times(policy, first, last)
        assert backfill_times(policy, first, middle) + backfill_times(policy, middle + DAY, last) == whole
        assert len(whole) > 100


def test_start_and_end_of_the_schedule_do_not_count() -> None:
    policy = SchedulePolicy(
        cron="0 3 * * *",
        starts_at=datetime(2026, 2, 1, tzinfo=UTC),
        ends_at=datetime(2026, 2, 2, tzinfo=UTC),
        jitter_seconds=3600,
    )
    assert backfill_times(policy, date(2026, 1, 1), date(2026, 1, 2)) == [
        datetime(2026, 1, 1, 3, tzinfo=UTC),
        datetime(2026, 1, 2, 3, tzinfo=UTC),
    ]


def test_limit() -> None:
    policy = SchedulePolicy(cron="*/15 * * * *", time_zone="Europe/Berlin")
    first, last = date(2026, 10, 24), date(2026, 10, 26)
    assert len(backfill_times(policy, first, last, most=3 * 96 + 4)) == 3 * 96 + 4  # a day of 25 hours
    with pytest.raises(InputError, match="more than 291 nominal times; choose fewer dates"):
        backfill_times(policy, first, last, most=3 * 96 + 3)
    daily = SchedulePolicy(cron="0 0 * * *")
    assert len(backfill_times(daily, date(2000, 1, 1), date(2000, 1, 1) + (MOST_BACKFILL - 1) * DAY)) == MOST_BACKFILL
    with pytest.raises(InputError, match="more than 10000 nominal times"):
        backfill_times(daily, date(2000, 1, 1), date(2000, 1, 1) + MOST_BACKFILL * DAY)
    with pytest.raises(InputError, match="more than 0 nominal times"):
        backfill_times(daily, date(2000, 1, 1), date(2000, 1, 1), most=0)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2026-01-02", "2026-01-01", "backfill 2026-01-02 to 2026-01-01: the first date is after the last"),
        ("1972-12-31", "1973-01-02", "the dates lie in the years 1973 to 2199"),
        ("2199-12-31", "2200-01-01", "the dates lie in the years 1973 to 2199"),
        ("0001-01-01", "9999-12-31", "the dates lie in the years 1973 to 2199"),
    ],
)
def test_ranges_are_refused(first: str, last: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        backfill_times(SchedulePolicy(cron="0 0 1 1 *"), date.fromisoformat(first), date.fromisoformat(last))
    assert message in str(raised.value)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_all_years(zone: str) -> None:
    times = backfill_times(SchedulePolicy(cron="0 0 1 1 *", time_zone=zone), date(1973, 1, 1), date(2199, 12, 31))
    years = [time.astimezone(ZoneInfo(zone)).year for time in times]
    assert years == list(range(1973, 2200))
    assert max(times) - min(times) > timedelta(days=226 * 365)
