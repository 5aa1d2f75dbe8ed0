"""The one decision that each nominal time of a schedule gets, as a function of state and time.

A controller reads a schedule's ``decided_until`` and its unfinished runs, calls ``decide``, and records the whole
list in one transaction: a row for each nominal time (unique by schedule and nominal time), the runs that start, and
``decided_until`` moved from what was read to the last nominal time by compare-and-set.  Any number of controllers may
do so at once: the one whose compare-and-set fails drops its list and reads anew.  Rows one by one would still leave
one decision for each nominal time, but two controllers could then choose twice among the same due fires.

After a long downtime a call returns ``limit`` misses at most; the controller records them and calls again.  This
changes no choice: a miss is decided by its age alone, misses are the oldest fires (due times ascend with nominal
times), and the fires inside of the misfire window, among which one is chosen, are always looked at whole and returned
in one list.  A policy admits 10,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from api.scheduling.cron import utc
from api.scheduling.policy import Fire, SchedulePolicy

Outcome = Literal["started", "skipped", "missed", "coalesced"]


@dataclass(frozen=True, slots=True)
class Active:
    """A schedule's unfinished runs: how many run, and how many are queued."""

    running: int = 0
    queued: int = 0

    def __str__(self) -> str:
        return f"{self.running} running, {self.queued} queued"

    def __bool__(self) -> bool:
        return self.running + self.queued > 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one nominal time.

    Attributes:
        nominal: the time that the cron expression names, in UTC.
        outcome: what was decided.
        reason: one line for people.
        queue_behind: the run starts only when all earlier runs of the schedule have ended.
        cancel_others: all earlier runs of the schedule are cancelled as this one starts, also those that started by
            an earlier decision of the same list.
    """

    nominal: datetime
    outcome: Outcome
    reason: str
    queue_behind: bool = False
    cancel_others: bool = False


def decide(
    policy: SchedulePolicy,
    schedule_id: str,
    decided_until: datetime,
    now: datetime,
    active: Active,
    limit: int = 1000,
) -> list[Decision]:
    """Decide every fire that is due and undecided, oldest first.

    Args:
        policy: what the schedule promises.
        schedule_id: enters the jitter.
        decided_until: every nominal time up to this one, inclusive, has its decision.
        now: the present; a fire is due if its nominal time plus jitter is not later.
        active: the schedule's unfinished runs.
        limit: after this many misses the list ends, and is to be continued by another call; see the module.

    Returns:
        One decision for each due nominal time after ``decided_until``, ascending and without gaps; empty if nothing
        is due, also when ``now`` lies before ``decided_until``.

    Raises:
        ValueError: a time has no zone, or ``limit`` is less than 1.
    """
    if limit < 1:
        raise ValueError("limit is at least 1")
    now = utc(now)
    missed: list[Decision] = []
    startable: list[Fire] = []
    for fire in policy.fires(schedule_id, decided_until, now):
        if fire.due > now:
            break
        if now - fire.due <= policy.window:
            startable.append(fire)
            continue
        reason = f"was due {_seconds(fire, now)} s ago, more than {policy.misfire_window_seconds} s"
        missed.append(Decision(fire.nominal, "missed", reason))
        if len(missed) == limit:
            return missed
    return [*missed, *_decide_window(policy, startable, now, active)]


def next_due(policy: SchedulePolicy, schedule_id: str, decided_until: datetime) -> datetime | None:
    """When the first undecided fire is due, in UTC; ``None`` if the schedule has ended."""
    fire = next(policy.fires(schedule_id, decided_until), None)
    return None if fire is None else fire.due


def _decide_window(policy: SchedulePolicy, fires: Sequence[Fire], now: datetime, active: Active) -> Iterator[Decision]:
    """Choose among fires that are due and not missed; the chosen ones meet the overlap rule in order."""
    chosen = _chosen(policy, fires)
    for place, fire in enumerate(fires):
        if place not in chosen:
            names = f"{fires[chosen[0]].nominal.isoformat()}" + (" and later ones" if len(chosen) > 1 else "")
            yield Decision(fire.nominal, "coalesced", f"due together with {names}")
            continue
        decision = _meet(policy, fire, now, active)
        active = _afterwards(decision, active)
        yield decision


def _chosen(policy: SchedulePolicy, fires: Sequence[Fire]) -> range:
    """Places of the fires that are tried."""
    if policy.coalesce == "earliest":
        return range(min(1, len(fires)))
    most = 1 if policy.coalesce == "latest" else policy.max_catch_up
    return range(max(0, len(fires) - most), len(fires))


def _meet(policy: SchedulePolicy, fire: Fire, now: datetime, active: Active) -> Decision:
    """What one fire does when it meets the schedule's unfinished runs."""
    reason = f"{_seconds(fire, now)} s after it was due"
    if not active or policy.overlap == "allow":
        return Decision(fire.nominal, "started", reason)
    if policy.overlap == "cancel_other":
        return Decision(fire.nominal, "started", f"{reason}; cancels {active}", cancel_others=True)
    if policy.overlap == "queue_all" or (policy.overlap == "queue_one" and active.queued == 0):
        return Decision(fire.nominal, "started", f"{reason}; waits behind {active}", queue_behind=True)
    return Decision(fire.nominal, "skipped", f"earlier runs are unfinished: {active}")


def _afterwards(decision: Decision, active: Active) -> Active:
    """The unfinished runs once a decision is carried out."""
    if decision.outcome != "started":
        return active
    if decision.cancel_others:
        return Active(running=1)
    if decision.queue_behind:
        return Active(active.running, active.queued + 1)
    return Active(active.running + 1, active.queued)


def _seconds(fire: Fire, now: datetime) -> int:
    return int((now - fire.due).total_seconds())
