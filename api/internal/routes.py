"""``/internal/v1/attempts``: what a driver may say, with the token of its attempt, while the attempt counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Path, Request
from pydantic import Field
from sqlalchemy import Connection, RowMapping, update

from api.datasets.store import publish_run
from api.http.context import Context, Ctx
from api.http.models import Body
from api.models.store import register
from api.problems import Problem
from api.runs import queries, store
from api.runs.states import CANCELLING, PAUSING, STARTING, Actor
from api.scheduling.store import pin_nights
from api.statistics.finished import look_through
from api.store.tables import attempts, runs

router = APIRouter(prefix="/internal/v1/attempts/{run_id}/{epoch}", include_in_schema=False)

RunId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
Epoch = Annotated[int, Path(ge=1, lt=1 << 31)]


class Saying(Body):
    """Something that is said once: a line of the log, a point of a training's curves, a checkpoint.

    Attributes:
        number: from 1, rising, within the attempt; what was heard before is passed over.
    """

    number: int = Field(ge=1, lt=1 << 31)
    kind: Literal["log", "metrics", "checkpoint"]
    level: Literal["info", "warning", "error"] = "info"
    text: str = Field(default="", max_length=5000)
    values: dict[str, float | int | str | None] = Field(default={}, max_length=200)


class Report(Body):
    """How far an attempt is."""

    state: dict[str, Any] = Field(default={}, max_length=64)
    sayings: list[Saying] = Field(default=[], max_length=500)


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


@contextmanager
def _speaking(
    context: Context, request: Request, run_id: str, epoch: int
) -> Iterator[tuple[Connection, RowMapping, int]]:
    """A transaction in which the driver of the current attempt speaks: connection, attempt, time."""
    token = _token(request, context, run_id, epoch)
    with context.database.write() as connection:
        yield connection, store.current_attempt(connection, run_id, epoch, token), context.database.now(connection)


def _token(request: Request, context: Context, run_id: str, epoch: int) -> str:
    """The token of a request, if it is the attempt's; asked before anything is locked."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem("key-required", headers={"WWW-Authenticate": "Bearer"})
    with context.database.read() as connection:
        store.check_token(connection, run_id, epoch, token)
    return token


def _who(epoch: int) -> str:
    return f"driver:{epoch}"


@router.post("/begin")
def begin(run_id: RunId, epoch: Epoch, _: Begin, request: Request, context: Ctx) -> dict[str, Any]:
    """Take up the work; a second driver of one attempt is refused."""
    settings = context.settings
    with _speaking(context, request, run_id, epoch) as (connection, _attempt, now):
        run = store.find(connection, run_id)
        if run["state"] in (PAUSING, CANCELLING):  # it was stopped before it began
            store.transition(connection, run_id, "release", Actor.DRIVER, _who(epoch), now)
            return {"stopped": True}
        if run["state"] != STARTING:
            raise Problem("attempt-fenced", "this attempt has a driver already")
        run = store.transition(connection, run_id, "begin", Actor.DRIVER, _who(epoch), now)
        wanted = pin_nights(connection, run)
        store.renew(connection, run_id, epoch, now, lease_of(context))
    return {
        "kind": run["kind"], "request": wanted, "output": run["output"],
        "models_root": str(settings.models_root.absolute()), "backend": settings.backend, "workers": settings.workers,
        "ray_address": settings.ray_address, "trainer_command": settings.trainer_command,
        "lease_seconds": settings.lease_seconds,
    }  # fmt: skip


@router.post("/heartbeat")
def heartbeat(run_id: RunId, epoch: Epoch, report: Report, request: Request, context: Ctx) -> dict[str, Any]:
    """Keep the lease, tell progress, hear what is wanted."""
    with _speaking(context, request, run_id, epoch) as (connection, attempt, now):
        store.renew(connection, run_id, epoch, now, lease_of(context))
        _note(connection, attempt, report, now)
        run = store.find(connection, run_id)
    wanted = {PAUSING: "pause", CANCELLING: "cancel"}
    return {"command": wanted.get(run["state"], "go")}


@router.post("/complete")
def complete(
    run_id: RunId, epoch: Epoch, end: End, request: Request, context: Ctx, afterwards: BackgroundTasks
) -> dict[str, Any]:  # fmt: skip
    """End the attempt.  Success and the version, of a dataset or a model, that comes of it are one transaction."""
    if end.outcome == "succeeded":
        afterwards.add_task(look_through, run_id, context)
    with _speaking(context, request, run_id, epoch) as (connection, attempt, now):
        _note(connection, attempt, end.progress, now)
        _finish(connection, context, store.find(connection, run_id), epoch, end, now)
        return {"state": store.find(connection, run_id)["state"]}


def _finish(connection: Connection, context: Context, run: RowMapping, epoch: int, end: End, now: int) -> None:
    who, run_id = _who(epoch), run["id"]
    if run["state"] == CANCELLING or end.outcome == "released":
        store.transition(connection, run_id, "release", Actor.DRIVER, who, now, end.reason)
    elif end.outcome == "succeeded":
        result = dict(end.result or {})
        trained = result.pop("trained", None)
        changes = {"result": result, "plan_key": result.get("plan_key")}
        reason = "nothing in its source was new" if result.get("nothing_new") else None
        run = store.transition(connection, run_id, "succeed", Actor.DRIVER, who, now, reason, changes)
        if run["request"].get("publish") and not result.get("nothing_new"):
            publish_run(connection, run, run["request"]["publish"], run["created_by"], now)
        if run["kind"] == "training" and trained and run["request"].get("model"):
            register(connection, run, trained, now)
    elif end.outcome == "failed":
        store.transition(connection, run_id, "fail", Actor.DRIVER, who, now, end.reason)
    else:
        limits = store.Limits.of(context.settings)
        store.lose(connection, run_id, epoch, who, Actor.DRIVER, end.reason or "the driver broke", now, limits)


def _note(connection: Connection, attempt: RowMapping, report: Report, now: int) -> None:
    """Progress goes to the run, and as an event to those who watch, where it says something new."""
    run_id, epoch = attempt["run_id"], attempt["epoch"]
    _hear(connection, attempt, [saying for saying in report.sayings if saying.number > attempt["heard"]], now)
    run = store.find(connection, run_id)
    if not report.state or report.state == run["progress"]:
        return
    # No state of the run changes with progress, so its version, the entity tag, stays too.
    connection.execute(update(runs).where(runs.c.id == run_id).values(progress=report.state, updated_at=now))
    same = ("phase", "done", "shards", "records")
    if any(report.state.get(name) != run["progress"].get(name) for name in same):
        store.emit(connection, run_id, "run.progress", _who(epoch), now, report.state, epoch)


def _hear(connection: Connection, attempt: RowMapping, fresh: list[Saying], now: int) -> None:
    """Write down what an attempt says, once, though it may send it again when an answer was lost."""
    if not fresh:
        return
    run_id, epoch = attempt["run_id"], attempt["epoch"]
    lines = [{"level": saying.level, "text": saying.text} for saying in fresh if saying.kind == "log"]
    queries.write_log(connection, run_id, epoch, lines, now)
    points = [saying.values for saying in fresh if saying.kind == "metrics"]
    if points:
        store.emit(connection, run_id, "training.metrics", _who(epoch), now, {"points": points}, epoch)
    for saying in fresh:
        if saying.kind == "checkpoint":
            store.emit(connection, run_id, "training.checkpoint", _who(epoch), now, saying.values, epoch)
    here = (attempts.c.run_id == run_id) & (attempts.c.epoch == epoch)
    connection.execute(update(attempts).where(here).values(heard=fresh[-1].number))


def lease_of(context: Context) -> int:
    """Milliseconds of a lease."""
    return int(context.settings.lease_seconds * 1000)
