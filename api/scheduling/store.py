"""Schedules in the database: decisions, the runs they start, and what each night builds on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from api.http.named import find_named
from api.problems import Problem
from api.runs import store as run_store
from api.runs.requests import resolve
from api.runs.states import ACTIVE, PAUSED, QUEUED, SUCCEEDED, UNFINISHED, Actor
from api.scheduling.cron import zone_named
from api.scheduling.decide import Active, Decision, decide
from api.scheduling.models import ScheduledRun
from api.scheduling.policy import SchedulePolicy
from api.settings import Settings
from api.store.tables import fires, runs, schedules

PER_ROUND = 1000  # decisions of one transaction, where nobody was there for a long time
PAUSED_REASON = "the schedule is paused"


def find_schedule(connection: Connection, name: str, lock: bool = False) -> RowMapping:
    """A schedule by its name; a problem where there is none."""
    return find_named(connection, schedules, name, lock)


def moment(milliseconds: int) -> datetime:
    """Milliseconds since the epoch as a moment, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(at: datetime) -> int:
    """A moment as milliseconds since the epoch."""
    return round(at.timestamp() * 1000)


def policy_of(row: RowMapping) -> SchedulePolicy:
    """The policy of a schedule's row."""
    return _policy(row["id"], row["version"], _Unhashed(row["policy"]))


class _Unhashed(dict[str, Any]):
    """A mapping that takes no part in a cache's key: id and version name it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return 0

    def __eq__(self, other: object) -> bool:
        return True


@lru_cache(maxsize=4096)
def _policy(schedule_id: str, version: int, plain: _Unhashed) -> SchedulePolicy:
    return SchedulePolicy.model_validate(dict(plain))


def active_of(connection: Connection, schedule_id: str) -> Active:
    """The unfinished runs of a schedule."""
    query = select(runs.c.state, func.count()).where(
        runs.c.schedule_id == schedule_id, runs.c.state.in_(sorted(UNFINISHED))
    )
    counts: dict[str, int] = dict(connection.execute(query.group_by(runs.c.state)).tuples().all())
    running = sum(count for state, count in counts.items() if state in ACTIVE or state == PAUSED)
    return Active(running=running, queued=counts.get(QUEUED, 0))


def settle(connection: Connection, settings: Settings, row: RowMapping, now: int, who: str) -> int:
    """Decide what is due of a schedule, record it, and start what is to start; all in the caller's transaction.

    Args:
        row: of the schedule, locked.
        who: decides.

    Returns:
        Number of decisions; ``PER_ROUND`` or more may mean that there are others.
    """
    policy, until, at = policy_of(row), moment(row["decided_until"]), moment(now)
    if row["paused"]:
        decisions = list(_skipped(policy, row["id"], until, at))
    else:
        active = active_of(connection, row["id"])
        decisions = decide(policy, row["id"], until, at, active, PER_ROUND)
    if not decisions:
        return 0
    for place, decision in enumerate(decisions):
        _record(connection, settings, row, decision, now + place, who)
    _move(connection, row, milliseconds(decisions[-1].nominal))
    return len(decisions)


def _skipped(policy: SchedulePolicy, schedule_id: str, until: datetime, now: datetime) -> Iterator[Decision]:
    for fire in islice(policy.fires(schedule_id, until, now), PER_ROUND):
        if fire.due > now:
            return
        yield Decision(fire.nominal, "skipped", PAUSED_REASON)


def close_out(connection: Connection, settings: Settings, row: RowMapping, now: int, who: str) -> RowMapping:
    """Decide everything up to now, so that a policy can be replaced: what waits for its jitter is skipped.

    Returns:
        The schedule's row as it is then.
    """
    while settle(connection, settings, row, now, who):
        row = find_schedule(connection, row["name"], lock=True)
    policy = policy_of(row)
    for fire in policy.fires(row["id"], moment(row["decided_until"]), moment(now)):
        reason = "the schedule was changed before it was due"
        _record(connection, settings, row, Decision(fire.nominal, "skipped", reason), now, who)
    _move(connection, row, now)
    return find_schedule(connection, row["name"], lock=True)


def _move(connection: Connection, row: RowMapping, until: int) -> None:
    """A compare-and-set; the lock makes it always succeed, the set proves it."""
    here = (schedules.c.id == row["id"]) & (schedules.c.decided_until == row["decided_until"])
    moved = connection.execute(update(schedules).where(here).values(decided_until=until))
    if moved.rowcount != 1:
        raise RuntimeError(f"schedule {row['id']} was decided by two at once")


def _record(
    connection: Connection, settings: Settings, row: RowMapping, decision: Decision, now: int, who: str
) -> None:
    run_id, outcome, reason = None, decision.outcome, decision.reason
    if outcome == "started":
        if decision.cancel_others:
            cancel_unfinished(connection, row["id"], who, now, reason)
        waits = decision.queue_behind or decision.cancel_others
        try:
            run_id = start(connection, settings, row, decision.nominal, waits, who, now, reason)["id"]
        except Problem as problem:
            outcome, reason = "skipped", f"its request is not valid any more: {_said(problem)}"
    connection.execute(
        insert(fires).values(
            schedule_id=row["id"], nominal=milliseconds(decision.nominal), outcome=outcome, reason=reason,
            run_id=run_id, decided_at=now,
        )
    )  # fmt: skip


def _said(problem: Problem) -> str:
    faults = "; ".join(f"{fault.pointer}: {fault.message}" for fault in problem.errors)
    return (faults or problem.detail or problem.code)[:1000]


def cancel_unfinished(connection: Connection, schedule_id: str, who: str, now: int, reason: str) -> None:
    """Cancel every unfinished run of a schedule."""
    states = sorted(UNFINISHED - {"cancelling"})
    query = select(runs.c.id).where(runs.c.schedule_id == schedule_id, runs.c.state.in_(states)).order_by(runs.c.id)
    for run_id in connection.execute(query).scalars().all():
        run_store.transition(
            connection, run_id, "cancel", Actor.CONTROLLER, who, now, f"a later run takes over; {reason}"
        )


def start(
    connection: Connection, settings: Settings, row: RowMapping, nominal: datetime | None, waits: bool, who: str,
    now: int, reason: str,
) -> RowMapping:  # fmt: skip
    """Insert a run of a schedule.

    Args:
        nominal: time it runs for; None for one that somebody triggered, which runs for now.

    Raises:
        Problem: with every fault of the schedule's request.
    """
    policy = policy_of(row)
    local = (nominal or moment(now)).astimezone(zone_named(policy.time_zone))
    request = dated(ScheduledRun.model_validate(row["request"]), local)
    resolved = resolve(connection, settings, request)
    if row["only_new"]:
        resolved |= {"only_new": True, "index": f"{settings.runs.rstrip('/')}/indexes/{row['id']}"}
    name = request.name or f"{row['name']} {local:%Y-%m-%d %H:%M}"
    return run_store.submit(
        connection,
        run_store.NewRun(
            request.kind, name, resolved, settings.runs, who, request.priority, tuple(request.tags), request.note,
            resolved.pipeline_id, resolved.revision, row["id"], None if nominal is None else milliseconds(nominal),
            waits, data={"schedule": row["name"], "reason": reason},
        ),
        now,
    )  # fmt: skip


def dated(request: ScheduledRun, local: datetime) -> ScheduledRun:
    """A request with the places for dates filled in."""
    words = {
        "{date}": f"{local:%Y-%m-%d}", "{year}": f"{local:%Y}", "{month}": f"{local:%m}", "{day}": f"{local:%d}",
        "{hour}": f"{local:%H}",
    }  # fmt: skip
    inputs = []
    for entry in request.inputs:
        path = entry.path
        for word, value in words.items():
            path = path.replace(word, value)
        inputs.append(entry.model_copy(update={"path": path}))
    return request.model_copy(update={"inputs": inputs})


def pin_nights(connection: Connection, run: RowMapping) -> dict[str, Any]:
    """The request of a run with the nights that it builds on: those of its schedule that have succeeded.

    Which they are is written down when the first attempt begins, so that every attempt reads the same.
    """
    request = dict(run["request"])
    if not request.get("only_new") or "after" in request:
        return request
    query = select(runs.c.output, runs.c.result).where(
        runs.c.schedule_id == run["schedule_id"], runs.c.state == SUCCEEDED, runs.c.id != run["id"]
    )
    before = connection.execute(query.order_by(runs.c.finished_at, runs.c.id)).all()
    request["after"] = [row.output for row in before if not (row.result or {}).get("nothing_new")]
    connection.execute(update(runs).where(runs.c.id == run["id"]).values(request=request))
    return request
