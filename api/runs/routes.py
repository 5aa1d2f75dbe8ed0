"""``/runs``: submit, look, command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, RowMapping, insert, select
from sqlalchemy.exc import IntegrityError

from api.access.audit import record
from api.access.principals import Principal
from api.http import pages
from api.http.context import Context, Ctx, Needs, check_match, etag
from api.http.models import Body, Name, Text, example
from api.http.times import milliseconds_of, text_of
from api.problems import Problem, responses
from api.runs import queries, store
from api.runs.models import (
    Attempt,
    AttemptList,
    LogLine,
    LogPage,
    Run,
    RunPage,
    attempt_of,
    run_of,
    summary_of,
)
from api.runs.requests import Resolved, RunRequest, Tag, forked, resolve
from api.runs.states import SUCCEEDED, Actor
from api.store.tables import idempotency

router = APIRouter(prefix="/runs", tags=["runs"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
Writer = Annotated[Principal, Depends(Needs("runs:write"))]
commands = APIRouter(tags=["runs"])
RunId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="Id of the run.")]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$",
           description="The same key with the same body gives the same run, however often it is sent."),
]  # fmt: skip
State = Literal["queued", "starting", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]


class Validation(BaseModel):
    """A valid request: the recipe with everything resolved."""

    recipe: dict[str, Any]
    inputs: int


class Change(Body):
    """What may be changed of a run."""

    model_config = example(tags=["checked"], note="looks good", priority=10)

    name: Text | None = Field(default=None, min_length=1, max_length=200)
    tags: list[Tag] | None = Field(default=None, max_length=20)
    note: Text | None = Field(default=None, max_length=10_000)
    priority: int | None = Field(default=None, ge=-100, le=100)


class Fork(Body):
    """A run like another, with other thresholds."""

    model_config = example(thresholds={"gopher-quality.few-words": 80, "perplexity.max-perplexity": {"en": 3000}})

    thresholds: dict[str, float | dict[str, float | None] | None] = Field(max_length=200)
    name: Text | None = Field(default=None, min_length=1, max_length=200)
    publish: Name | None = None
    tags: list[Tag] = Field(default=[], max_length=20)


@router.post("", status_code=202, summary="Submit a run", responses=responses("key-reused"))
def submit_run(
    request: RunRequest, response: Response, context: Ctx, principal: Writer, key: Key = None,
) -> Run:  # fmt: skip
    def new(connection: Connection) -> store.NewRun:
        resolved = resolve(connection, context.settings, request)
        return new_run(context, request, resolved, principal.name)

    return submit(context, response, principal.name, key, request.model_dump(), new)


def new_run(context: Context, request: RunRequest, resolved: Resolved, who: str) -> store.NewRun:
    """A resolved request as a run to be inserted."""
    name = request.name or str(resolved["recipe"].get("name", request.kind))
    return store.NewRun(
        request.kind, name, resolved, context.settings.runs, who, request.priority, tuple(request.tags), request.note,
        resolved.pipeline_id, resolved.revision,
    )  # fmt: skip


def submit(
    context: Context, response: Response, who: str, key: str | None, body: Any,
    new: Callable[[Connection], store.NewRun],
    then: Callable[[Connection, RowMapping], None] = lambda connection, row: None,
) -> Run:  # fmt: skip
    """Insert a run, or find the one that the key stands for; both in one transaction.

    Args:
        new: makes the run, with everything checked.
        then: what else belongs into the transaction of a run that was inserted.
    """
    row: RowMapping | None = None
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    with context.database.read() as connection:  # checking takes its time, and must not hold up who writes
        draft = None if _known(connection, who, key, fingerprint) else new(connection)
    for attempt in (1, 2):
        try:
            with context.database.write() as connection:
                row = _known(connection, who, key, fingerprint)
                if row is not None:
                    response.headers["Idempotent-Replayed"] = "true"
                else:
                    assert draft is not None, "what was known stays known"
                    now = context.database.now(connection)
                    row = store.submit(connection, draft, now)
                    then(connection, row)
                    record(connection, who, "run.submit", row["id"], now)
                    if key is not None:
                        values = {"owner": who, "key": key, "fingerprint": fingerprint, "run_id": row["id"]}
                        connection.execute(insert(idempotency).values(**values, created_at=now))
            break
        except IntegrityError:  # the same key at the same moment: the other one won
            if attempt == 2:
                raise Problem("conflict", "the same request is being handled right now; send it again") from None
    assert row is not None
    response.headers["Location"] = f"/api/v1/runs/{row['id']}"
    response.headers["ETag"] = etag(row)
    return run_of(row)


def _known(connection: Connection, who: str, key: str | None, fingerprint: str) -> RowMapping | None:
    if key is None:
        return None
    query = select(idempotency).where(idempotency.c.owner == who, idempotency.c.key == key)
    known = connection.execute(query).mappings().one_or_none()
    if known is None:
        return None
    if known["fingerprint"] != fingerprint:
        raise Problem("key-reused", "send another Idempotency-Key, or the same body")
    return store.find(connection, known["run_id"])


@commands.post("/runs:validate", summary="Check a request and do nothing")
def validate_run(request: RunRequest, context: Ctx, _: Reader) -> Validation:
    with context.database.read() as connection:
        resolved = resolve(connection, context.settings, request)
    return Validation(recipe=resolved["recipe"], inputs=len(resolved["inputs"]))


@commands.post("/runs:estimate", status_code=202, summary="Forecast a run from samples of its shards")
def estimate_run(
    request: RunRequest, response: Response, context: Ctx, principal: Writer, key: Key = None,
) -> Run:  # fmt: skip
    """A forecast is a run of kind `estimate`; its `result` has documents, kept share, bytes and seconds with ranges.

    It is about the whole inputs; earlier corpora are not compared with, and nothing is published.
    """

    def new(connection: Connection) -> store.NewRun:
        resolved = resolve(connection, context.settings, request.model_copy(update={"publish": None, "earlier": []}))
        name = request.name or str(resolved["recipe"].get("name", "estimate"))
        return store.NewRun("estimate", name, resolved, context.settings.runs, principal.name, request.priority)

    return submit(context, response, principal.name, key, {"estimate": request.model_dump()}, new)


@router.get("", summary="List runs")
def list_runs(
    context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None,
    state: State | None = None,
    kind: Annotated[str | None, Query(max_length=20, pattern=r"^[a-z]+$")] = None,
    pipeline: Annotated[Name | None, Query(description="Name of a pipeline.")] = None,
    schedule: Annotated[Name | None, Query(description="Name of a schedule.")] = None,
    parent: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None,
    tag: Tag | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> RunPage:  # fmt: skip
    filters = {
        "state": state, "kind": kind, "pipeline": pipeline, "schedule": schedule, "parent": parent, "tag": tag,
        "created_after": _moment(created_after), "created_before": _moment(created_before),
    }  # fmt: skip
    after = pages.decode(cursor, filters, (int, str))
    with context.database.read() as connection:
        rows = queries.page_of_runs(connection, filters, after, limit + 1)
    following = None
    if len(rows) > limit:
        rows = rows[:limit]
        following = pages.encode([rows[-1]["created_at"], rows[-1]["id"]], filters)
    return RunPage(items=[summary_of(row) for row in rows], next=following)


def _moment(moment: datetime | None) -> int | None:
    try:
        return None if moment is None else milliseconds_of(moment)
    except (OverflowError, ValueError):
        raise Problem("invalid", "that moment lies outside of what can be told") from None


@router.get("/{run_id}", summary="One run", responses={**responses("not-found"), 304: {"description": "Not modified"}})
def get_run(run_id: RunId, request: Request, response: Response, context: Ctx, _: Reader) -> Run:
    with context.database.read() as connection:
        row = store.find(connection, run_id)
    if request.headers.get("if-none-match") == etag(row):
        return Response(status_code=304, headers={"ETag": etag(row)})  # type: ignore[return-value]
    response.headers["ETag"] = etag(row)
    return run_of(row)


@router.patch(
    "/{run_id}", summary="Change name, tags, note, priority", responses=responses("not-found", "changed-meanwhile")
)
def change_run(
    run_id: RunId, change: Change, request: Request, response: Response, context: Ctx, principal: Writer,
) -> Run:  # fmt: skip
    values = {name: value for name, value in change.model_dump(exclude_unset=True).items() if value is not None}
    with context.database.write() as connection:
        row = store.find(connection, run_id, lock=True)
        check_match(request, row)
        if values:
            now = context.database.now(connection)
            row = store.change(connection, run_id, now, **values)
            record(connection, principal.name, "run.change", run_id, now, {"fields": sorted(values)})
    response.headers["ETag"] = etag(row)
    return run_of(row)


def command_run(
    action: str, run_id: str, request: Request, response: Response, context: Context, principal: Principal
) -> Run:
    """One of ``COMMANDS``."""
    with context.database.write() as connection:
        run = store.find(connection, run_id, lock=True)
        check_match(request, run)
        now = context.database.now(connection)
        # Later nights may have read what this one did not finish: what it builds on is told anew.
        fresh = {"request": {k: v for k, v in run["request"].items() if k != "after"}} if action == "retry" else {}
        row = store.transition(connection, run_id, action, Actor.USER, principal.name, now, changes=fresh)
        record(connection, principal.name, f"run.{action}", run_id, now)
    response.headers["ETag"] = etag(row)
    return run_of(row)


def _command(action: str, summary: str) -> None:
    @router.post(
        f"/{{run_id}}/{action}", summary=summary, name=f"{action}_run",
        responses=responses("not-found", "illegal-transition", "changed-meanwhile"),
    )  # fmt: skip
    def command(run_id: RunId, request: Request, response: Response, context: Ctx, principal: Writer) -> Run:
        return command_run(action, run_id, request, response, context, principal)


_command("cancel", "Stop it; what is committed stays")
_command("pause", "Stop it at the next shard, to go on later")
_command("resume", "Go on with a paused run")
_command("retry", "Go on with a failed or cancelled run, from what is committed")


@router.post(
    "/{run_id}/fork", status_code=202, summary="Run it again with other thresholds",
    responses=responses("not-found", "conflict", "key-reused"),
)  # fmt: skip
def fork_run(
    run_id: RunId, fork: Fork, response: Response, context: Ctx, principal: Writer, key: Key = None,
) -> Run:  # fmt: skip
    """What the thresholds do not change is taken over, not computed again."""

    def new(connection: Connection) -> store.NewRun:
        parent = store.find(connection, run_id)
        if parent["state"] != SUCCEEDED or parent["kind"] not in ("curate", "preview"):
            raise Problem("conflict", f"a run of kind {parent['kind']} that is {parent['state']} cannot be forked")
        request = forked(context.settings, parent, fork.thresholds)
        if fork.publish:
            request["publish"] = fork.publish
        name = fork.name or f"{parent['name']} (fork)"[:200]
        return store.NewRun(
            parent["kind"], name, request, context.settings.runs, principal.name, parent["priority"], tuple(fork.tags),
            "", parent["pipeline_id"], parent["revision"], parent_id=run_id,
        )  # fmt: skip

    return submit(context, response, principal.name, key, {"fork": run_id, **fork.model_dump()}, new)


@router.get("/{run_id}/attempts", summary="Attempts at a run", responses=responses("not-found"))
def list_attempts(run_id: RunId, context: Ctx, _: Reader) -> AttemptList:
    with context.database.read() as connection:
        store.find(connection, run_id)
        rows: list[Attempt] = [attempt_of(row) for row in queries.attempts_of(connection, run_id)]
    return AttemptList(items=rows)


@router.get("/{run_id}/logs", summary="What the attempts said", responses=responses("not-found"))
def list_logs(
    run_id: RunId, context: Ctx, _: Reader,
    attempt: Annotated[int | None, Query(ge=1, lt=1 << 31)] = None,
    level: Literal["info", "warning", "error"] | None = None,
    after: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> LogPage:  # fmt: skip
    with context.database.read() as connection:
        store.find(connection, run_id)
        rows = queries.log_after(connection, run_id, after, limit, attempt, level)
    items = [
        LogLine(number=row["number"], attempt=row["epoch"], at=text_of(row["at"]), level=row["level"], text=row["text"])
        for row in rows
    ]
    return LogPage(items=items, last=items[-1].number if items else after)
