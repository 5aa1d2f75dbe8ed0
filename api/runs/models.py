"""Runs as the API shows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.http.times import text_of
from api.runs.states import STATES_OF


class Run(BaseModel):
    """A run."""

    id: str
    kind: str
    name: str
    state: str = Field(description=", ".join(STATES_OF))
    reason: str | None = Field(description="Why it is in this state, where there is more to say.")
    priority: int
    tags: list[str]
    note: str
    pipeline: str | None = Field(description="Id of the pipeline.")
    revision: int | None
    schedule: str | None = Field(description="Id of the schedule that started it.")
    parent: str | None = Field(description="Id of the run that it was forked from.")
    attempts: int
    events: int = Field(description="Number of the last event.")
    inputs: list[dict[str, Any]]
    recipe: dict[str, Any] = Field(description="Empty for a training.")
    config: dict[str, Any] | None = Field(description="Of a training.")
    progress: dict[str, Any]
    result: dict[str, Any] | None
    created_at: str
    created_by: str
    updated_at: str
    started_at: str | None
    finished_at: str | None


class RunSummary(BaseModel):
    """A run in a list."""

    id: str
    kind: str
    name: str
    state: str
    reason: str | None
    tags: list[str]
    schedule: str | None
    parent: str | None
    created_at: str
    finished_at: str | None
    progress: dict[str, Any]
    result: dict[str, Any] | None


class RunPage(BaseModel):
    """A page of runs, newest first."""

    items: list[RunSummary]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class RunEvent(BaseModel):
    """Something that happened to a run."""

    number: int = Field(description="From 1, without a gap; the id of the server-sent event.")
    at: str
    kind: str
    actor: str
    attempt: int | None
    data: dict[str, Any]


class EventPage(BaseModel):
    """Events in order."""

    items: list[RunEvent]
    last: int = Field(description="Number of the last one here, or of the place asked for; give it as `after`.")


class Attempt(BaseModel):
    """One attempt at a run."""

    number: int
    outcome: str | None
    reason: str | None
    started_at: str
    heartbeat_at: str | None
    finished_at: str | None


class AttemptList(BaseModel):
    """All attempts, in order."""

    items: list[Attempt]


class LogLine(BaseModel):
    """A line of an attempt's log."""

    number: int
    attempt: int
    at: str
    level: str
    text: str


class LogPage(BaseModel):
    """Lines in order."""

    items: list[LogLine]
    last: int


def run_of(row: Any) -> Run:
    """A row as the API shows it."""
    request = row["request"]
    return Run(
        **_common(row), priority=row["priority"], note=row["note"], pipeline=row["pipeline_id"],
        revision=row["revision"], attempts=row["epoch"], events=row["events"], inputs=request.get("display", []),
        recipe=request.get("recipe", {}), config=request.get("config"), created_by=row["created_by"],
        updated_at=text_of(row["updated_at"]), started_at=_text(row["started_at"]),
    )  # fmt: skip


def summary_of(row: Any) -> RunSummary:
    """A row in a list."""
    return RunSummary(**_common(row))


def _common(row: Any) -> dict[str, Any]:
    same = {name: row[name] for name in ("id", "kind", "name", "state", "reason", "tags", "progress", "result")}
    moments = {"created_at": text_of(row["created_at"]), "finished_at": _text(row["finished_at"])}
    return {**same, **moments, "schedule": row["schedule_id"], "parent": row["parent_id"]}


def event_of(row: Any) -> RunEvent:
    """An event's row."""
    return RunEvent(number=row["number"], at=text_of(row["at"]), kind=row["kind"], actor=row["actor"],
                    attempt=row["epoch"], data=row["data"])  # fmt: skip


def attempt_of(row: Any) -> Attempt:
    """An attempt's row."""
    return Attempt(
        number=row["epoch"], outcome=row["outcome"], reason=row["reason"], started_at=text_of(row["started_at"]),
        heartbeat_at=_text(row["heartbeat_at"]), finished_at=_text(row["finished_at"]),
    )  # fmt: skip


def _text(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else text_of(milliseconds)
