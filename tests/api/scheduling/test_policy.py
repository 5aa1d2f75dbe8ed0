"""Policies are checked when they are made; their fires keep order, bounds and jitter wherever one begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from api.scheduling.policy import MOST_FIRES_IN_WINDOW, Fire, SchedulePolicy, jitter

BEGIN = datetime(2026, 3, 28, tzinfo=UTC)  # a day before clocks change in Europe
YEAR = 366 * 24 * 3600


def test_defaults() -> None:
    policy = SchedulePolicy(cron="0 3 * * *")
    assert policy.model_dump() == {
        "cron": "0 3 * * *", "time_zone": "UTC", "starts_at": None, "ends_at": None, "jitter_seconds": 0,
        "overlap": "skip", "misfire_window_seconds": 3600, "coalesce": "latest", "max_catch_up": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("cron", ["0 3 * * *", " 0  3 * *\tmon-fri "], ["", "0 3 * *", "@daily", "0 25 * * *", "0 0 30 2 *", None, 7]),
        ("time_zone", ["UTC", "Asia/Kolkata"], ["", "Europe/berlin", "localtime", "x" * 101, None]),
        ("starts_at", [None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+05:30"], ["2026-01-01T00:00:00", "soon"]),
        ("ends_at", [None, "2200-12-31T23:59:00Z"], ["2201-01-01T00:00:00Z", "2200-12-31T23:59:00-01:00"]),
        ("jitter_seconds", [0, 3600], [-1, 3601, 1.5, float("inf"), "a minute", None]),
        ("overlap", ["skip", "queue_one", "queue_all", "cancel_other", "allow"], ["queue", "", None]),
        ("misfire_window_seconds", [10, YEAR], [9, YEAR + 1, 0, None]),
        ("coalesce", ["latest", "earliest", "all"], ["none", "", None]),
        ("max_catch_up", [1, 100], [0, 101, None]),
        ("colour", [], ["red"]),
    ],
)
def test_bounds(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        SchedulePolicy.model_validate({"cron": "0 3 * * *", field: value})
    for value in bad:
        with pytest.raises(ValidationError) as raised:
            SchedulePolicy.model_validate({"cron": "0 3 * * *", field: value})
        assert [error["loc"] for error in raised.value.errors()] == [(field,)]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cron", "0 3 * 13 *", "cron expression, field 4 (month): '13' is no month: 1-12 or JAN-DEC"),
        ("time_zone", "kolkata", "did you mean 'Asia/Kolkata'?"),
        ("starts_at", "2026-01-01T00:00:00", "a moment needs a time zone"),
    ],
)
def test_messages_help(field: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError, match="1 validation error") as raised:
        SchedulePolicy.model_validate({"cron": "0 3 * * *", field: value})
    assert message in raised.value.errors()[0]["msg"]


def test_a_policy_does_not_change() -> None:
    policy = SchedulePolicy(cron=" 0  3 * * * ")
    assert policy.cron == "0 3 * * *"
    with pytest.raises(ValidationError):
        policy.cron = "0 4 * * *"


def test_it_ends_after_it_starts() -> None:
    for end in (BEGIN, BEGIN - timedelta(seconds=1)):
        with pytest.raises(ValidationError, match="ends_at is not after starts_at"):
            SchedulePolicy(cron="0 3 * * *", starts_at=BEGIN, ends_at=end)
    SchedulePolicy(cron="0 3 * * *", starts_at=BEGIN, ends_at=BEGIN + timedelta(microseconds=1))


@given(
    st.none() | st.datetimes(datetime(1971, 12, 30), datetime(1972, 1, 3)),
    st.none() | st.datetimes(datetime(2200, 12, 29), datetime(2201, 1, 2)),
    st.integers(-12, 14),
)
def test_a_policy_comes_back_from_json(start: datetime | None, end: datetime | None, hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    moments = {"starts_at": start and start.replace(tzinfo=zone), "ends_at": end and end.replace(tzinfo=zone)}
    try:
        policy = SchedulePolicy.model_validate({"cron": "5 * * * *", **moments})
    except ValidationError:
        return
    assert SchedulePolicy.model_validate_json(policy.model_dump_json()) == policy
    assert (policy.starts_at, policy.ends_at) == tuple(moments.values())
    after = policy.starts_at or datetime(1972, 1, 1, tzinfo=UTC)
    assert next(policy.fires("s", after)).nominal - after <= timedelta(hours=1)


# --- how many fires a window may hold


@pytest.mark.parametrize(
    ("cron", "most_window"),
    [("* * * * *", 599_999), ("*/3 * * * *", 18 * 86400), ("0-9 3 * * *", YEAR), ("0 * * * *", YEAR)],
)
def test_a_window_holds_few_enough_fires(cron: str, most_window: int) -> None:
    policy = SchedulePolicy(cron=cron, misfire_window_seconds=most_window)
    end = BEGIN + policy.window
    held = sum(1 for _ in policy.clock.after(BEGIN - timedelta(microseconds=1), end))
    assert held <= MOST_FIRES_IN_WINDOW
    if most_window < YEAR:
        assert held > 0.85 * MOST_FIRES_IN_WINDOW


@pytest.mark.parametrize(
    ("cron", "window"), [("* * * * *", 600_000), ("*/3 * * * *", 22 * 86400), ("*/50 * * * *", YEAR)]
)
def test_a_window_of_too_many_fires_is_refused(cron: str, window: int) -> None:
    with pytest.raises(ValidationError, match=r"misfire_window_seconds: a window of \d+ s may hold \d+ fires of"):
        SchedulePolicy(cron=cron, misfire_window_seconds=window)


# --- fires

CRONS = st.sampled_from(
    ["* * * * *", "*/15 * * * *", "0,1 * * * *", "0,30 0-4 * * *", "30 2 * * *", "*/30 2 * * *", "0 0 L * *"]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
MOMENTS = st.integers(0, 400 * 86_400_000).map(lambda passed: BEGIN + timedelta(milliseconds=passed))


@settings(max_examples=100)
@given(CRONS, ZONES, st.integers(0, 3600), MOMENTS, st.text(max_size=20))
def test_jitter_keeps_order_and_bounds(cron: str, zone: str, seconds: int, after: datetime, schedule: str) -> None:
    policy = SchedulePolicy(cron=cron, time_zone=zone, jitter_seconds=seconds)
    fires = list(islice(policy.fires(schedule, after), 12))
    assert [fire.nominal for fire in fires] == policy.clock.next_fires(12, after)
    for fire, following in pairwise(fires):
        assert fire.nominal <= fire.due < following.nominal <= following.due
        assert fire.due - fire.nominal <= timedelta(seconds=seconds)
        assert (fire.due - fire.nominal).microseconds == 0
        assert next(policy.fires(schedule, fire.nominal)) == following  # the same wherever one begins


@settings(max_examples=150)
@given(CRONS, MOMENTS, MOMENTS, MOMENTS, st.integers(0, 3 * 86_400), st.integers(0, 3600))
def test_start_and_end_cut_and_change_nothing(
    cron: str, starts_at: datetime, after: datetime, ends_at: datetime, passed: int, seconds: int
) -> None:
    if starts_at >= ends_at:
        return
    whole = SchedulePolicy(cron=cron, time_zone="Europe/Berlin", jitter_seconds=seconds)
    cut = whole.model_copy(update={"starts_at": starts_at, "ends_at": ends_at})
    until = max(after, starts_at) + timedelta(seconds=passed)
    expected = [fire for fire in whole.fires("s", starts_at - timedelta(days=1), until) if after < fire.nominal]
    expected = [fire for fire in expected if starts_at <= fire.nominal < ends_at]
    assert list(cut.fires("s", after, until)) == expected
    assert list(islice(cut.fires("s", after), len(expected))) == expected


def test_start_is_inclusive_and_end_is_not() -> None:
    hours = [BEGIN + timedelta(hours=n) for n in range(4)]
    policy = SchedulePolicy(cron="0 * * * *", starts_at=hours[1], ends_at=hours[3])
    assert list(policy.fires("s", hours[0])) == [Fire(hours[1], hours[1]), Fire(hours[2], hours[2])]
    assert list(policy.fires("s", hours[1])) == [Fire(hours[2], hours[2])]
    assert list(policy.fires("s", hours[0], hours[1])) == [Fire(hours[1], hours[1])]
    assert list(policy.fires("s", hours[2])) == []


def test_jitter_is_the_same_everywhere_and_spreads() -> None:
    """The numbers are written down: others would move every schedule."""
    assert [jitter("nightly", BEGIN + timedelta(days=n), 3600) for n in range(4)] == [3178, 1323, 2304, 3535]
    east = BEGIN.astimezone(timezone(timedelta(hours=9)))
    assert jitter("nightly", east, 3600) == 3178
    assert {jitter(f"schedule-{n}", BEGIN, 9) for n in range(300)} == set(range(10))
    assert {jitter("one", BEGIN + timedelta(minutes=n), 9) for n in range(300)} == set(range(10))
    assert jitter("nightly", BEGIN, 0) == 0
