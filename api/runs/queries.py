"""Lists of runs, events, attempts and log lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, String, cast, insert, select, tuple_

from api.store.tables import attempts, events, log_lines, pipelines, runs, schedules

# What a list shows; requests and recipes stay out of it.
_SUMMARY = tuple(
    runs.c[name]
    for name in (
        "id", "kind", "name", "state", "reason", "tags", "schedule_id", "parent_id", "created_at", "finished_at",
        "progress", "result",
    )
)  # fmt: skip
MAX_LOG_LINES = 10_000  # of one attempt


def page_of_runs(
    connection: Connection, filters: Mapping[str, Any], after: list[Any] | None, limit: int
) -> list[RowMapping]:
    """Runs, newest first.

    Args:
        filters: ``state``, ``kind``, ``pipeline``, ``schedule``, ``parent``, ``tag``, ``created_after``,
            ``created_before``; None where it does not matter.
        after: creation time and id of the last run of the page before.
    """
    query = _filtered(select(*_SUMMARY), filters)
    if after is not None:
        query = query.where(tuple_(runs.c.created_at, runs.c.id) < tuple_(*after))
    query = query.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit)
    return list(connection.execute(query).mappings())


def _filtered(query: Select[Any], filters: Mapping[str, Any]) -> Select[Any]:
    for name, column in (("state", runs.c.state), ("kind", runs.c.kind), ("parent", runs.c.parent_id)):
        if filters.get(name) is not None:
            query = query.where(column == filters[name])
    if filters.get("pipeline") is not None:
        named = select(pipelines.c.id).where(pipelines.c.name == filters["pipeline"]).scalar_subquery()
        query = query.where(runs.c.pipeline_id == named)
    if filters.get("schedule") is not None:
        named = select(schedules.c.id).where(schedules.c.name == filters["schedule"]).scalar_subquery()
        query = query.where(runs.c.schedule_id == named)
    if filters.get("tag") is not None:  # a tag holds no character that JSON or LIKE would write otherwise but _
        wanted = json.dumps(filters["tag"]).replace("_", "\\_")
        query = query.where(cast(runs.c.tags, String).like(f"%{wanted}%", escape="\\"))
    if filters.get("created_after") is not None:
        query = query.where(runs.c.created_at >= filters["created_after"])
    if filters.get("created_before") is not None:
        query = query.where(runs.c.created_at < filters["created_before"])
    return query


def events_after(connection: Connection, run_id: str, after: int, limit: int) -> list[RowMapping]:
    """Events behind a number, in order."""
    query = select(events).where(events.c.run_id == run_id, events.c.number > after)
    return list(connection.execute(query.order_by(events.c.number).limit(limit)).mappings())


def attempts_of(connection: Connection, run_id: str) -> list[RowMapping]:
    """All attempts at a run, in order."""
    query = select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.epoch)
    return list(connection.execute(query).mappings())


def log_after(
    connection: Connection, run_id: str, after: int, limit: int, epoch: int | None = None, level: str | None = None
) -> list[RowMapping]:
    """Log lines behind a number, in order."""
    query = select(log_lines).where(log_lines.c.run_id == run_id, log_lines.c.number > after)
    if epoch is not None:
        query = query.where(log_lines.c.epoch == epoch)
    if level is not None:
        query = query.where(log_lines.c.level == level)
    return list(connection.execute(query.order_by(log_lines.c.number).limit(limit)).mappings())


def write_log(connection: Connection, run_id: str, epoch: int, lines: Sequence[Mapping[str, str]], now: int) -> None:
    """Append to an attempt's log; the run's row is locked by the caller."""
    query = select(log_lines.c.number).where(log_lines.c.run_id == run_id).order_by(log_lines.c.number.desc()).limit(1)
    last = connection.execute(query).scalar_one_or_none() or 0
    own = select(log_lines.c.number).where(log_lines.c.run_id == run_id, log_lines.c.epoch == epoch).limit(1)
    first = connection.execute(own.order_by(log_lines.c.number)).scalar_one_or_none() or last + 1
    room = MAX_LOG_LINES - (last + 1 - first)
    kept: list[Mapping[str, str]] = list(lines[: max(0, room)])
    if kept and len(kept) == room:
        kept[-1] = {"level": "warning", "text": f"this attempt has said {MAX_LOG_LINES} lines; the rest is not kept"}
    rows = [
        {"run_id": run_id, "number": last + 1 + n, "epoch": epoch, "at": now, **line} for n, line in enumerate(kept)
    ]
    if rows:
        connection.execute(insert(log_lines), rows)
