"""Every nominal time gets one decision, the one that a naive schedule gives, whoever decides and whenever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, pairwise, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from api.scheduling.decide import Active, Decision, decide, next_due
from api.scheduling.policy import Fire, SchedulePolicy

BEGIN = datetime(2025, 3, 1, tzinfo=UTC)

Told = tuple[datetime, str, bool, bool]


def seconds(number: float) -> timedelta:
    return timedelta(seconds=int(number))


def naive(policy: SchedulePolicy, fires: list[Fire], now: datetime, running: int, queued: int) -> list[Told]:
    """What the documentation says becomes of due fires, one after the other."""
    late = [fire for fire in fires if (now - fire.due).total_seconds() > policy.misfire_window_seconds]
    in_time = [fire for fire in fires if fire not in late]
    tried = {
        "latest": in_time[-1:],
        "earliest": in_time[:1],
        "all": in_time[-policy.max_catch_up :],
    }[policy.coalesce]
    told: list[Told] = []
    for fire in fires:
        outcome, behind, cancel = "started", False, False
        if fire in late:
            outcome = "missed"
        elif fire not in tried:
            outcome = "coalesced"
        elif running + queued == 0 or policy.overlap == "allow":
            running += 1
        elif policy.overlap == "cancel_other":
            cancel, running, queued = True, 1, 0
        elif policy.overlap == "queue_all" or (policy.overlap == "queue_one" and queued == 0):
            behind, queued = True, queued + 1
        else:
            outcome = "skipped"
        told.append((fire.nominal, outcome, behind, cancel))
    return told


def tell(decisions: list[Decision]) -> list[Told]:
    return [(d.nominal, d.outcome, d.queue_behind, d.cancel_others) for d in decisions]


@st.composite
def policies(draw: st.DrawFn) -> tuple[SchedulePolicy, int]:
    """A policy, and about how many seconds lie between its fires."""
    cron, between = draw(
        st.sampled_from(
            [
                ("* * * * *", 60), ("*/20 * * * *", 1200), ("0,5 * * * *", 1800), ("0,30 1-4 * * *", 10_800),
                ("30 2 * * *", 86_400), ("*/30 2 * * *", 43_200), ("0 3 * * MON", 604_800), ("0 0 L * *", 2_600_000),
            ]
        )
    )  # fmt: skip
    policy = SchedulePolicy(
        cron=cron,
        time_zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"])),
        starts_at=draw(st.none() | st.just(BEGIN + seconds(3.5 * between))),
        ends_at=draw(st.none() | st.just(BEGIN + seconds(150 * between))),
        jitter_seconds=draw(st.sampled_from([0, 30, 3600])),
        overlap=draw(st.sampled_from(["skip", "queue_one", "queue_all", "cancel_other", "allow"])),
        misfire_window_seconds=min(draw(st.sampled_from([10, between // 2 + 10, 5 * between, 50 * between])), 31622400),
        coalesce=draw(st.sampled_from(["latest", "earliest", "all"])),
        max_catch_up=draw(st.sampled_from([1, 2, 5, 100])),
    )
    return policy, between


# --- two controllers, years, downtimes


@dataclass
class Run:
    """A run that a decision started; times are virtual."""

    nominal: datetime
    made: datetime
    lasts: timedelta
    behind: bool
    start: datetime | None = None
    end: datetime | None = None  # while it runs, when it will end


class Schedules(RuleBasedStateMachine):
    """A schedule, its runs, and two controllers whose reads and writes interleave."""

    @initialize(chosen=policies(), lengths=st.lists(st.sampled_from([0.01, 0.4, 1, 2.5, 20]), min_size=1, max_size=4))
    def begin(self, chosen: tuple[SchedulePolicy, int], lengths: list[float]) -> None:
        self.policy, self.between = chosen
        self.now = self.decided_until = BEGIN
        self.lengths: Iterator[timedelta] = cycle(seconds(length * self.between) for length in lengths)
        self.coming = self.policy.fires("s", BEGIN)  # one walk; controllers begin anew each time
        self.fires: list[Fire] = []
        self.more = True
        self.decided: dict[datetime, str] = {}
        self.held: dict[int, tuple[datetime, list[Decision]]] = {}
        self.runs: list[Run] = []

    def undecided(self, now: datetime) -> list[Fire]:
        """Due fires without a decision."""
        while self.more and (not self.fires or self.fires[-1].nominal <= now):
            following = next(self.coming, None)
            self.more = following is not None
            self.fires += [following] if following is not None else []
        return [fire for fire in self.fires if fire.due <= now and fire.nominal not in self.decided]

    def unfinished(self) -> tuple[int, int]:
        """How many run and how many are queued."""
        free = BEGIN  # when the last of the earlier runs ends
        running = queued = 0
        for run in self.runs:
            if run.start is None and (not run.behind or free <= self.now):
                run.start = max(run.made, free) if run.behind else run.made
            if run.start is None:
                queued += 1
                free = datetime.max.replace(tzinfo=UTC)
                continue
            run.end = run.end or run.start + run.lasts
            running += run.end > self.now
            free = max(free, run.end)
        return running, queued

    @rule(steps=st.floats(0, 3) | st.sampled_from([0.1, 1, 10, 40]))
    def time_passes(self, steps: float) -> None:
        self.now += seconds(steps * self.between)

    @rule(controller=st.integers(0, 1), behind=st.sampled_from([0, 0, 1, 90]), limit=st.sampled_from([1, 7, 1000]))
    def read(self, controller: int, behind: int, limit: int) -> None:
        """A controller reads and decides; its clock may be behind."""
        now = self.now - seconds(behind)
        running, queued = self.unfinished()
        decisions = decide(self.policy, "s", self.decided_until, now, Active(running, queued), limit)
        expected = naive(self.policy, self.undecided(now), now, running, queued)
        if [outcome for _, outcome, _, _ in expected[:limit]] == ["missed"] * limit:
            expected = expected[:limit]
        assert tell(decisions) == expected
        self.held[controller] = self.decided_until, decisions

    @precondition(lambda self: bool(self.held))
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """A controller writes what it decided, if nobody has since it read."""
        until, decisions = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        if until != self.decided_until or not decisions:
            return
        waiting = [fire.nominal for fire in self.undecided(self.now)]
        assert [decision.nominal for decision in decisions] == waiting[: len(decisions)]  # none lost, none twice
        for decision in decisions:
            self.carry_out(decision)
        self.decided_until = decisions[-1].nominal

    @rule(controller=st.integers(0, 1))
    def work(self, controller: int) -> None:
        """A controller reads and writes undisturbed until nothing is due."""
        for _ in range(100):
            self.read(controller, 0, 50)
            _, decisions = self.held.pop(controller)
            if not decisions:
                return
            for decision in decisions:
                assert decision.nominal > self.decided_until
                self.carry_out(decision)
            self.decided_until = decisions[-1].nominal
        raise AssertionError("never done")

    def carry_out(self, decision: Decision) -> None:
        assert decision.nominal not in self.decided
        self.decided[decision.nominal] = decision.outcome
        if decision.outcome != "started":
            return
        self.unfinished()
        if decision.cancel_others:
            for run in self.runs:
                run.start = run.start or self.now
                run.end = min(run.end or self.now, self.now)
        self.runs.append(Run(decision.nominal, self.now, next(self.lengths), decision.queue_behind))

    @invariant()
    def runs_meet_as_promised(self) -> None:
        running, queued = self.unfinished()
        overlap = self.policy.overlap
        most_queued = {"queue_one": 1, "queue_all": len(self.runs)}.get(overlap, 0)
        assert queued <= most_queued
        if overlap != "allow":
            assert running <= 1
            for run, following in pairwise(run for run in self.runs if run.start is not None):
                assert run.end is not None and following.start is not None and run.end <= following.start
        if queued:
            assert running == 1

    def teardown(self) -> None:
        self.work(0)
        due = [fire.nominal for fire in self.fires if fire.due <= self.now]
        assert list(self.decided) == due  # one decision each, in order
        assert [run.nominal for run in self.runs] == [n for n, outcome in self.decided.items() if outcome == "started"]
        following = next((fire.due for fire in self.fires if fire.nominal not in self.decided), None)
        assert next_due(self.policy, "s", self.decided_until) == following


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=80, stateful_step_count=25)


# --- one call


@settings(max_examples=100)
@given(policies(), st.integers(0, 200), st.floats(0, 60), st.integers(0, 3), st.integers(0, 3), st.integers(1, 20))
def test_pages_are_the_whole(
    chosen: tuple[SchedulePolicy, int], first: int, steps: float, running: int, queued: int, limit: int
) -> None:
    policy, between = chosen
    until = BEGIN + seconds(first * between)
    now, active = until + seconds(steps * between), Active(running, queued)
    whole = decide(policy, "s", until, now, active, 10_000)
    due = list(takewhile(lambda fire: fire.due <= now, policy.fires("s", until)))
    assert tell(whole) == naive(policy, due, now, running, queued)
    pages: list[Decision] = []
    while page := decide(policy, "s", pages[-1].nominal if pages else until, now, active, limit):
        assert len([decision for decision in page if decision.outcome == "missed"]) <= limit
        pages += page
    assert pages == whole
    assert decide(policy, "s", whole[-1].nominal if whole else until, now, active) == []


def daily(**changes: object) -> SchedulePolicy:
    return SchedulePolicy.model_validate({"cron": "0 3 * * *", "misfire_window_seconds": 5 * 86_400, **changes})


def day(number: int, hour: int = 3, minute: int = 0) -> datetime:
    return datetime(2026, 1, number, hour, minute, tzinfo=UTC)


def outcomes(policy: SchedulePolicy, now: datetime, active: Active = Active()) -> list[str]:  # noqa: B008
    return [decision.outcome for decision in decide(policy, "s", day(1), now, active)]


def test_three_days_of_downtime() -> None:
    after = day(4, 9)
    assert outcomes(daily(), after) == ["coalesced", "coalesced", "started"]
    assert outcomes(daily(coalesce="earliest"), after) == ["started", "coalesced", "coalesced"]
    assert outcomes(daily(coalesce="all", overlap="allow"), after) == ["started"] * 3
    assert outcomes(daily(coalesce="all", overlap="skip"), after) == ["started", "skipped", "skipped"]
    assert outcomes(daily(coalesce="all", overlap="queue_all"), after) == ["started"] * 3
    assert outcomes(daily(coalesce="all", overlap="queue_one"), after) == ["started", "started", "skipped"]
    assert outcomes(daily(coalesce="all", max_catch_up=2, overlap="allow"), after) == ["coalesced"] + ["started"] * 2
    assert outcomes(daily(misfire_window_seconds=86_400), after) == ["missed", "missed", "started"]
    assert outcomes(daily(misfire_window_seconds=3600), after) == ["missed"] * 3


def test_each_of_several_cancels_the_one_before() -> None:
    decisions = decide(daily(coalesce="all", overlap="cancel_other"), "s", day(1), day(4, 9), Active(1, 2))
    assert [decision.cancel_others for decision in decisions] == [True] * 3
    assert "cancels 1 running, 2 queued" in decisions[0].reason and "1 running, 0 queued" in decisions[1].reason
    alone = decide(daily(coalesce="all", overlap="cancel_other"), "s", day(1), day(3, 9), Active())
    assert [decision.cancel_others for decision in alone] == [False, True]


@pytest.mark.parametrize(
    ("overlap", "active", "outcome", "behind", "cancels"),
    [
        ("skip", Active(), "started", False, False),
        ("skip", Active(1, 0), "skipped", False, False),
        ("skip", Active(0, 1), "skipped", False, False),
        ("queue_one", Active(1, 0), "started", True, False),
        ("queue_one", Active(2, 0), "started", True, False),
        ("queue_one", Active(1, 1), "skipped", False, False),
        ("queue_one", Active(0, 1), "skipped", False, False),
        ("queue_all", Active(1, 7), "started", True, False),
        ("queue_all", Active(), "started", False, False),
        ("cancel_other", Active(), "started", False, False),
        ("cancel_other", Active(0, 1), "started", False, True),
        ("allow", Active(3, 3), "started", False, False),
    ],
)
def test_one_fire_meets_unfinished_runs(
    overlap: str, active: Active, outcome: str, behind: bool, cancels: bool
) -> None:
    decisions = decide(daily(overlap=overlap), "s", day(1), day(2), active)
    assert tell(decisions) == [(day(2), outcome, behind, cancels)]
    if outcome == "skipped" or behind or cancels:
        assert str(active) in decisions[0].reason


def test_reasons_tell_people_why() -> None:
    policy = daily(coalesce="all", max_catch_up=2, misfire_window_seconds=3 * 86_400)
    reasons = [decision.reason for decision in decide(policy, "s", day(1), day(5, 3, 1), Active())]
    assert reasons == [
        "was due 259260 s ago, more than 259200 s",
        "due together with 2026-01-04T03:00:00+00:00 and later ones",
        "86460 s after it was due",
        "earlier runs are unfinished: 1 running, 0 queued",
    ]
    assert decide(daily(), "s", day(1), day(3), Active())[0].reason == "due together with 2026-01-03T03:00:00+00:00"


def test_bounds_of_the_window_belong_to_it() -> None:
    policy = daily(misfire_window_seconds=60)
    late = timedelta(microseconds=1)
    assert outcomes(policy, day(2) - late) == []
    assert outcomes(policy, day(2)) == ["started"]
    assert outcomes(policy, day(2, 3, 1)) == ["started"]
    assert outcomes(policy, day(2, 3, 1) + late) == ["missed"]


def test_jitter_moves_what_is_due_and_what_is_missed() -> None:
    policy = daily(jitter_seconds=3600, misfire_window_seconds=60)
    fire = next(policy.fires("s", day(1)))
    assert fire.nominal < fire.due == next_due(policy, "s", day(1))
    assert outcomes(policy, fire.due - timedelta(seconds=1)) == []
    assert outcomes(policy, fire.due + policy.window) == ["started"]
    assert outcomes(policy, fire.due + timedelta(seconds=61)) == ["missed"]


def test_a_window_of_10000_fires_is_chosen_from_whole() -> None:
    policy = SchedulePolicy(cron="* * * * *", misfire_window_seconds=599_999)
    decisions = decide(policy, "s", day(1), day(20), Active(), limit=3)
    assert [decision.outcome for decision in decisions] == ["missed"] * 3
    decisions = decide(policy, "s", day(20) - policy.window, day(20), Active(), limit=3)
    assert [decision.outcome for decision in decisions] == ["coalesced"] * 9_999 + ["started"]


def test_nothing_is_due_before_what_is_decided() -> None:
    assert decide(daily(), "s", day(5), day(2), Active()) == []
    assert decide(daily(starts_at=day(9)), "s", day(1), day(8), Active()) == []
    ended = daily(ends_at=day(3))
    assert [decision.nominal for decision in decide(ended, "s", day(1), day(9), Active())] == [day(2)]
    assert next_due(ended, "s", day(1)) == day(2) and next_due(ended, "s", day(2)) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: decide(daily(), "s", day(1), day(2), Active(), limit=0),
        lambda: decide(daily(), "s", day(1), datetime(2026, 1, 2), Active()),
        lambda: decide(daily(), "s", datetime(2026, 1, 1), day(2), Active()),
        lambda: next_due(daily(), "s", datetime(2026, 1, 1)),
    ],
)
def test_what_is_no_moment_or_limit_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()
