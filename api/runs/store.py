"""Runs in the database: every change of state goes through ``transition``, with its event in the same transaction."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update

from api.runs.states import ACTIVE, QUEUED, TERMINAL, UNFINISHED, Actor, target
from api.settings import Settings
from api.store.ids import new_id
from api.store.tables import attempts, events, runs
from api.webhooks.outbox import enqueue

LONGEST_PAUSE = 300_000  # milliseconds between two attempts


class NoSuchRun(Exception):
    """There is no run with this id."""


class Fenced(Exception):
    """A driver speaks whose attempt is not the current one any more."""


@dataclass(frozen=True)
class NewRun:
    """A run to be inserted.

    Attributes:
        request: what shall be done, as the driver gets it.
        runs_root: folder or URI below which the run gets a folder of its own.
        nominal: time that its schedule started it for, milliseconds since the epoch.
        waits: whether it starts only when all earlier runs of its schedule have ended.
    """

    kind: str
    name: str
    request: Mapping[str, Any]
    runs_root: str
    created_by: str
    priority: int = 0
    tags: tuple[str, ...] = ()
    note: str = ""
    pipeline_id: str | None = None
    revision: int | None = None
    schedule_id: str | None = None
    nominal: int | None = None
    waits: bool = False
    parent_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class Limits(NamedTuple):
    """How often a run is tried.

    Attributes:
        max_attempts: that may end without an end.
        first_pause: milliseconds before the second attempt; twice as long each time, up to ``LONGEST_PAUSE``.
    """

    max_attempts: int
    first_pause: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those that the service is set to."""
        return cls(settings.max_attempts, int(settings.retry_seconds * 1000))


def submit(connection: Connection, new: NewRun, now: int) -> RowMapping:
    """Insert a queued run with its first event."""
    run_id = new_id(now)
    values = {
        "id": run_id, "kind": new.kind, "name": new.name, "state": QUEUED, "version": 1, "epoch": 0,
        "priority": new.priority, "tags": list(new.tags), "note": new.note, "request": dict(new.request),
        "pipeline_id": new.pipeline_id, "revision": new.revision, "schedule_id": new.schedule_id,
        "nominal": new.nominal, "waits": int(new.waits), "parent_id": new.parent_id,
        "output": f"{new.runs_root.rstrip('/')}/{run_id}", "progress": {}, "events": 0, "created_at": now,
        "created_by": new.created_by, "updated_at": now,
    }  # fmt: skip
    connection.execute(insert(runs).values(values))
    emit(connection, run_id, "run.queued", new.created_by, now, dict(new.data))
    return find(connection, run_id)


def find(connection: Connection, run_id: str, lock: bool = False) -> RowMapping:
    """One run.

    Raises:
        NoSuchRun: if there is none.
    """
    query = select(runs).where(runs.c.id == run_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise NoSuchRun(run_id)
    return row


def transition(
    connection: Connection, run_id: str, action: str, actor: Actor, who: str, now: int,
    reason: str | None = None, changes: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None,
) -> RowMapping:  # fmt: skip
    """Let an action take a run from its state to the next, and record it as an event.

    Args:
        who: name of the actor, for the event.
        reason: why, in one line; stays with the run until the next transition.
        changes: other columns to set.
        data: of the event.

    Raises:
        NoSuchRun: if there is none.
        IllegalTransition: if the table of states does not have it.
    """
    run = find(connection, run_id, lock=True)
    state = target(run["state"], action, actor)
    values: dict[str, Any] = {"state": state, "reason": reason, "updated_at": now, **(changes or {})}
    if state in TERMINAL:
        values["finished_at"] = now
    elif action == "retry":
        values |= {"finished_at": None, "failures": 0, "not_before": 0}
    _change(connection, run, values)
    if run["state"] in ACTIVE and state not in ACTIVE:
        _end_attempt(connection, run_id, run["epoch"], action, reason, now)
    said = {"from": run["state"], **({"reason": reason} if reason else {}), **(data or {})}
    emit(connection, run_id, f"run.{state}", who, now, said, run["epoch"] or None)
    return find(connection, run_id)


def change(connection: Connection, run_id: str, now: int, **values: Any) -> RowMapping:
    """Set columns that are no state."""
    run = find(connection, run_id, lock=True)
    _change(connection, run, {**values, "updated_at": now})
    return find(connection, run_id)


def _change(connection: Connection, run: RowMapping, values: Mapping[str, Any]) -> None:
    """A compare-and-set on the version that was read; the lock makes it always succeed, the set proves it."""
    statement = update(runs).where(runs.c.id == run["id"], runs.c.version == run["version"])
    done = connection.execute(statement.values({**values, "version": run["version"] + 1}))
    if done.rowcount != 1:
        raise RuntimeError(f"run {run['id']} changed while its row was locked")


def emit(
    connection: Connection, run_id: str, kind: str, who: str, now: int, data: Mapping[str, Any],
    epoch: int | None = None,
) -> int:  # fmt: skip
    """Record an event and what webhooks are to be told of it; return its number, from 1 without a gap."""
    counted = update(runs).where(runs.c.id == run_id).values(events=runs.c.events + 1).returning(runs.c.events)
    number = int(connection.execute(counted).scalar_one())
    values = {"number": number, "at": now, "kind": kind, "actor": who, "epoch": epoch, "data": dict(data)}
    connection.execute(insert(events).values(run_id=run_id, **values))
    enqueue(connection, kind, {"run": run_id, "event": number, "at": now, "kind": kind, "data": dict(data)}, now)
    return number


def claim(
    connection: Connection, controller: str, token_digest: str, now: int, lease: int, max_running: int,
    kinds: Sequence[str] = (),
) -> RowMapping | None:  # fmt: skip
    """Take the next queued run and give it an attempt, unless enough are running.

    Args:
        token_digest: SHA-256 of the attempt's token, hex.
        lease: milliseconds until the driver must have been heard.
        kinds: of runs that are counted and taken; empty for all.

    Returns:
        The run, starting; None where there is nothing to take, or somebody else took it.
    """
    if connection.dialect.name == "postgresql":  # counting and claiming is one step; on SQLite every write is
        connection.execute(select(func.pg_advisory_xact_lock(_CLAIMS)))
    active = select(func.count()).select_from(runs).where(runs.c.state.in_(sorted(ACTIVE)))
    if kinds:
        active = active.where(runs.c.kind.in_(sorted(kinds)))
    if connection.execute(active).scalar_one() >= max_running:
        return None
    before = runs.alias("before")
    earlier = select(before.c.id).where(
        before.c.schedule_id == runs.c.schedule_id, before.c.id < runs.c.id, before.c.state.in_(sorted(UNFINISHED))
    )
    waiting = select(runs.c.id).where(runs.c.state == QUEUED, runs.c.not_before <= now)
    waiting = waiting.where(or_(runs.c.waits == 0, ~earlier.exists()))
    if kinds:
        waiting = waiting.where(runs.c.kind.in_(sorted(kinds)))
    query = waiting.order_by(runs.c.priority.desc(), runs.c.id).limit(1).with_for_update(skip_locked=True)
    run_id = connection.execute(query).scalar_one_or_none()
    if run_id is None:
        return None
    epoch = find(connection, run_id)["epoch"] + 1
    started = {"started_at": func.coalesce(runs.c.started_at, now)}
    run = transition(
        connection, run_id, "claim", Actor.CONTROLLER, controller, now, changes={"epoch": epoch, **started}
    )
    connection.execute(
        insert(attempts).values(
            run_id=run_id, epoch=epoch, controller=controller, token_digest=token_digest, lease_until=now + lease,
            started_at=now,
        )
    )  # fmt: skip
    return run


_CLAIMS = 4_738_222


def check_token(connection: Connection, run_id: str, epoch: int, token: str) -> None:
    """Whether a token is an attempt's, whether or not that still counts.

    Raises:
        NoSuchRun: if there is no such run.
        Fenced: if it is not.
    """
    find(connection, run_id)
    here = (attempts.c.run_id == run_id) & (attempts.c.epoch == epoch)
    known = connection.execute(select(attempts.c.token_digest).where(here)).scalar_one_or_none()
    given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    if known is None or not hmac.compare_digest(known, given):
        raise Fenced("unknown attempt")


def current_attempt(connection: Connection, run_id: str, epoch: int, token: str) -> RowMapping:
    """The attempt that a token belongs to, if its run still counts on it; its row and the run's are locked.

    Raises:
        Fenced: for a wrong token, an older epoch, or an attempt that has ended.
    """
    run = find(connection, run_id, lock=True)
    query = select(attempts).where(attempts.c.run_id == run_id, attempts.c.epoch == epoch).with_for_update()
    attempt = connection.execute(query).mappings().one_or_none()
    given = hashlib.sha256(token.encode()).hexdigest()
    if attempt is None or not hmac.compare_digest(attempt["token_digest"], given):
        raise Fenced("unknown attempt")
    if run["epoch"] != epoch or run["state"] not in ACTIVE or attempt["finished_at"] is not None:
        raise Fenced(f"attempt {epoch} has ended; the run is {run['state']}, at attempt {run['epoch']}")
    return attempt


def renew(connection: Connection, run_id: str, epoch: int, now: int, lease: int) -> None:
    """A sign of life of the current attempt."""
    here = (attempts.c.run_id == run_id) & (attempts.c.epoch == epoch)
    connection.execute(update(attempts).where(here).values(heartbeat_at=now, lease_until=now + lease))


def open_attempts(connection: Connection) -> list[RowMapping]:
    """Attempts that have not ended, in the order of their runs."""
    query = select(attempts).where(attempts.c.finished_at.is_(None)).order_by(attempts.c.run_id)
    return list(connection.execute(query).mappings())


def is_late(attempt: RowMapping, now: int) -> bool:
    """Whether the lease of an attempt has run out."""
    return bool(attempt["lease_until"] < now)


def lose(
    connection: Connection, run_id: str, epoch: int, who: str, actor: Actor, reason: str, now: int, limits: Limits
) -> RowMapping | None:
    """An attempt ended without an end: its run goes back to the queue, later each time, and fails at last.

    Returns:
        The run; None where the attempt was not the current one any more.
    """
    run = find(connection, run_id, lock=True)
    if run["epoch"] != epoch or run["state"] not in ACTIVE:
        return None
    failures = run["failures"] + 1
    stays = run["state"] in ("starting", "running")
    if stays and failures >= limits.max_attempts:
        said = f"{reason}; that was attempt {failures} of {limits.max_attempts}"
        return transition(connection, run_id, "fail", actor, who, now, said, {"failures": failures})
    pause = min(LONGEST_PAUSE, limits.first_pause << min(failures - 1, 16))
    changes = {"failures": failures, "not_before": now + pause} if stays else {}
    return transition(connection, run_id, "release", actor, who, now, reason, changes)


def _end_attempt(connection: Connection, run_id: str, epoch: int, outcome: str, reason: str | None, now: int) -> None:
    here = (attempts.c.run_id == run_id) & (attempts.c.epoch == epoch) & attempts.c.finished_at.is_(None)
    connection.execute(update(attempts).where(here).values(finished_at=now, outcome=outcome, reason=reason))
