"""``/internal/v1/attempts``: what a driver may say, with the token of its attempt, while the attempt counts."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from sqlalchemy import Connection, RowMapping, update

from api.datasets.store import publish_run
from api.http.context import Context, Ctx
from api.http.models import Body
from api.problems import Problem
from api.runs import queries, store
from api.runs.states import CANCELLING, PAUSING, STARTING, Actor
from api.store.tables import runs

router = APIRouter(prefix="/internal/v1/attempts/{run_id}/{epoch}", include_in_schema=False)


class Line(Body):
    """A line of a log."""

    level: Literal["info", "warning", "error"]
    text: str = Field(max_length=5000)


class Report(Body):
    """How far an attempt is."""

    state: dict[str, Any] = Field(default={}, max_length=64)
    lines: list[Line] = Field(default=[], max_length=500)


class Begin(Body):
    """A driver is there."""

    process: int | None = None


class End(Body):
    """How an attempt ended.

    Attributes:
        outcome: ``broken`` is what another attempt may mend, ``failed`` what none will.
    """

    outcome: Literal["succeeded", "failed", "broken", "released"]
    reason: str | None = Field(default=None, max_length=10_000)
    result: dict[str, Any] | None = Field(default=None, max_length=100)
    progress: Report = Report()


class Metrics(Body):
    """Points of a training's curves."""

    points: list[dict[str, float | int | str]] = Field(max_length=1000)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("key-required", headers={"WWW-Authenticate": "Bearer"})
    return token


def _who(epoch: int) -> str:
    return f"driver:{epoch}"


@router.post("/begin")
def begin(run_id: str, epoch: int, _: Begin, request: Request, context: Ctx) -> dict[str, Any]:
    """Take up the work; a second driver of one attempt is refused."""
    settings = context.settings
    with context.database.write() as connection:
        store.current_attempt(connection, run_id, epoch, _token(request))
        now = context.database.now(connection)
        run = store.find(connection, run_id)
        if run["state"] in (PAUSING, CANCELLING):  # it was stopped before it began
            store.transition(connection, run_id, "release", Actor.DRIVER, _who(epoch), now)
            return {"stopped": True}
        if run["state"] != STARTING:
            raise Problem("attempt-fenced", "this attempt has a driver already")
        run = store.transition(connection, run_id, "begin", Actor.DRIVER, _who(epoch), now)
        store.renew(connection, run_id, epoch, now, lease_of(context))
    return {
        "kind": run["kind"], "request": run["request"], "output": run["output"],
        "models_root": str(settings.models_root.absolute()), "backend": settings.backend, "workers": settings.workers,
        "ray_address": settings.ray_address, "lease_seconds": settings.lease_seconds,
    }  # fmt: skip


@router.post("/heartbeat")
def heartbeat(run_id: str, epoch: int, report: Report, request: Request, context: Ctx) -> dict[str, Any]:
    """Keep the lease, tell progress, hear what is wanted."""
    with context.database.write() as connection:
        store.current_attempt(connection, run_id, epoch, _token(request))
        now = context.database.now(connection)
        store.renew(connection, run_id, epoch, now, lease_of(context))
        run = store.find(connection, run_id)
        _note(connection, run, epoch, report, now)
    wanted = {PAUSING: "pause", CANCELLING: "cancel"}
    return {"command": wanted.get(run["state"], "go")}


@router.post("/metrics")
def metrics(run_id: str, epoch: int, body: Metrics, request: Request, context: Ctx) -> dict[str, Any]:
    """Points of curves become events."""
    with context.database.write() as connection:
        store.current_attempt(connection, run_id, epoch, _token(request))
        now = context.database.now(connection)
        store.renew(connection, run_id, epoch, now, lease_of(context))
        store.emit(connection, run_id, "training.metrics", _who(epoch), now, {"points": body.points}, epoch)
    return {}


@router.post("/complete")
def complete(run_id: str, epoch: int, end: End, request: Request, context: Ctx) -> dict[str, Any]:
    """End the attempt.  Success and the version of the dataset that it publishes are one transaction."""
    with context.database.write() as connection:
        store.current_attempt(connection, run_id, epoch, _token(request))
        now = context.database.now(connection)
        run = store.find(connection, run_id)
        _note(connection, run, epoch, end.progress, now)
        _finish(connection, context, run, epoch, end, now)
        return {"state": store.find(connection, run_id)["state"]}


def _finish(connection: Connection, context: Context, run: RowMapping, epoch: int, end: End, now: int) -> None:
    who, run_id = _who(epoch), run["id"]
    if run["state"] == CANCELLING or end.outcome == "released":
        store.transition(connection, run_id, "release", Actor.DRIVER, who, now, end.reason)
    elif end.outcome == "succeeded":
        result = end.result or {}
        changes = {"result": result, "plan_key": result.get("plan_key")}
        reason = "nothing in its source was new" if result.get("nothing_new") else None
        run = store.transition(connection, run_id, "succeed", Actor.DRIVER, who, now, reason, changes)
        if run["request"].get("publish") and not result.get("nothing_new"):
            publish_run(connection, run, run["request"]["publish"], run["created_by"], now)
    elif end.outcome == "failed":
        store.transition(connection, run_id, "fail", Actor.DRIVER, who, now, end.reason)
    else:
        limit = context.settings.max_attempts
        store.lose(connection, run_id, epoch, who, Actor.DRIVER, end.reason or "the driver broke", now, limit)


def _note(connection: Connection, run: RowMapping, epoch: int, report: Report, now: int) -> None:
    """Progress goes to the run, and as an event to those who watch, where it says something new."""
    if report.lines:
        queries.write_log(connection, run["id"], epoch, [line.model_dump() for line in report.lines], now)
    if not report.state or report.state == run["progress"]:
        return
    # No state of the run changes with progress, so its version, the entity tag, stays too.
    connection.execute(update(runs).where(runs.c.id == run["id"]).values(progress=report.state, updated_at=now))
    same = ("phase", "done", "shards", "records")
    if any(report.state.get(name) != run["progress"].get(name) for name in same):
        store.emit(connection, run["id"], "run.progress", _who(epoch), now, report.state, epoch)


def lease_of(context: Context) -> int:
    """Milliseconds of a lease."""
    return int(context.settings.lease_seconds * 1000)
