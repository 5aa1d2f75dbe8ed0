"""``/runs/{id}/events``: what happened, as JSON or as server-sent events that a client can take up where it left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.access.principals import Principal
from api.http.context import Context, Ctx, Needs
from api.problems import Fault, Problem, responses
from api.runs import queries, store
from api.runs.models import EventPage, event_of
from api.runs.routes import RunId
from api.runs.states import TERMINAL
from api.store.database import Database

router = APIRouter(prefix="/runs", tags=["runs"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
POLL_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 15.0
BATCH = 500

_DESCRIBED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events; as `text/event-stream` they go on until the run has ended.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/EventPage"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    },
    **responses("not-found"),
}


@router.get("/{run_id}/events", summary="Events of a run", response_model=EventPage, responses=_DESCRIBED)
async def list_events(
    run_id: RunId, request: Request, context: Ctx, _: Reader,
    after: Annotated[int | None, Query(ge=0, lt=1 << 31, description="Number of the last event that is known.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Of the JSON form.")] = 200,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> Response:  # fmt: skip
    """As JSON, or with `Accept: text/event-stream` live: `id` is the number of the event, `event` its kind."""
    if last is not None and not (last.isascii() and last.isdigit() and int(last) < 1 << 31):
        message = "the id of an event is its number"
        raise Problem("invalid", message, [Fault(pointer="header/Last-Event-ID", code="event-id", message=message)])
    start = int(last) if last is not None else after or 0
    await run_in_threadpool(_check, context.database, run_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = _stream(context, request, run_id, start)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
    page = await run_in_threadpool(events_of, context, run_id, start, limit)
    return JSONResponse(page.model_dump(), headers={"Vary": "Accept"})


def events_of(context: Context, run_id: str, after: int, limit: int) -> EventPage:
    """Events behind a number, in order."""
    rows, _ = _read(context.database, run_id, after, limit)
    items = [event_of(row) for row in rows]
    return EventPage(items=items, last=items[-1].number if items else after)


def _check(database: Database, run_id: str) -> None:
    with database.read() as connection:
        store.find(connection, run_id)


def _read(database: Database, run_id: str, after: int, limit: int) -> tuple[list[Any], str]:
    with database.read() as connection:
        run = store.find(connection, run_id)
        return queries.events_after(connection, run_id, after, limit), run["state"]


async def _stream(context: Context, request: Request, run_id: str, last: int) -> AsyncIterator[str]:
    """Events from the table, in order, until the run has ended and all was said; bounded whatever the reader does."""
    quiet = 0.0
    yield "retry: 1000\n\n"
    while not await request.is_disconnected() and not request.app.state.stopping:
        rows, state = await run_in_threadpool(_read, context.database, run_id, last, BATCH)
        for row in rows:
            last = row["number"]
            data = json.dumps(event_of(row).model_dump(), ensure_ascii=True)
            yield f"id: {last}\nevent: {row['kind']}\ndata: {data}\n\n"
        if not rows and state in TERMINAL:
            yield "event: end\ndata: {}\n\n"
            return
        if rows:
            quiet = 0.0
            continue
        await asyncio.sleep(POLL_SECONDS)
        quiet += POLL_SECONDS
        if quiet >= KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield ": still here\n\n"
