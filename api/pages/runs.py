"""``/runs`` and ``/runs/{id}``: all runs, and one with everything that happened to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, get_args

import yaml
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.pages.render import page, query
from api.pages.run_figures import figures_of, flows
from api.pages.visitors import Form, Visitor, Visits
from api.pipelines.routes import list_pipelines
from api.problems import Problem, invalid
from api.runs.events import events_of
from api.runs.models import Run, RunPage
from api.runs.routes import (
    Change,
    RunId,
    State,
    change_run,
    command_run,
    get_run,
    list_attempts,
    list_logs,
    list_runs,
)
from api.runs.states import COMMANDS, TERMINAL, Actor, IllegalTransition, target
from api.scheduling.routes import list_schedules
from api.statistics.finished import finished_run
from api.statistics.routes import get_funnel, list_stages

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("runs:read"))]
Writes = Annotated[Visitor, Depends(Visits("runs:read", "runs:write"))]
Cursor = Annotated[str | None, Query(max_length=500)]
Word = Annotated[str, Query(max_length=100)]
PAGE = 25
KINDS = ("curate", "preview", "estimate", "training", "evaluation")
STATES = get_args(State)
OWN_PAGES = ("training", "evaluation")  # kinds that have pages of their own
EVENTS = 30  # that a run's page shows
LINES = 200
EVENT_KINDS = " ".join(["run.progress", *(f"run.{state}" for state in STATES)])
WORDS = {
    "cancel": ("Cancel", "It stops at once. What is committed stays, and a retry goes on from there."),
    "pause": ("Pause", "It stops at the next file and goes on when it is resumed."),
    "resume": ("Resume", "It goes on from what is committed."),
    "retry": ("Retry", "It goes on from what is committed."),
}


@dataclass(frozen=True)
class Asked:
    """Filters as the address has them; empty where there is none."""

    state: str = ""
    kind: str = ""
    pipeline: str = ""
    schedule: str = ""
    tag: str = ""
    parent: str = ""
    day: str = ""

    def query(self, **changes: Any) -> str:
        """As the query of an address, with some changed."""
        return query(**{**asdict(self), **changes})


def asked_of(
    state: Word = "", kind: Word = "", pipeline: Word = "", schedule: Word = "", tag: Word = "", parent: Word = "",
    day: Word = "",
) -> Asked:  # fmt: skip
    """Filters of an address."""
    return Asked(*(text.replace("\0", "") for text in (state, kind, pipeline, schedule, tag, parent, day)))


@router.get("/runs", name="page_runs")
def page_runs(visitor: Reads, asked: Annotated[Asked, Depends(asked_of)], cursor: Cursor = None) -> Response:
    problem, found = None, RunPage(items=[], next=None)
    try:
        found = _found(visitor, asked, cursor or None)
    except Problem as refused:
        problem = refused
    pipelines = list_pipelines(visitor.context, visitor.principal, 200).items if visitor.may("pipelines:read") else []
    schedules = list_schedules(visitor.context, visitor.principal, 200).items if visitor.may("schedules:read") else []
    return page(
        visitor, "runs.html", 422 if problem else 200, asked=asked, found=found, problem=problem, states=STATES,
        kinds=KINDS, pipelines=[one.name for one in pipelines], schedules=[one.name for one in schedules],
        chips=[(name, value, asked.query(**{name: ""})) for name, value in asdict(asked).items() if value],
    )  # fmt: skip


def _found(visitor: Visitor, asked: Asked, cursor: str | None) -> RunPage:
    """Runs as the API lists them; it looks at filters only where a request brings them, so they are checked here.

    Raises:
        Problem: for filters that cannot be.
    """
    if asked.state and asked.state not in STATES:
        raise Problem("invalid", "There is no such state.")
    since = None
    if asked.day:
        try:
            since = datetime.combine(date.fromisoformat(asked.day), datetime.min.time(), UTC)
            until = since + timedelta(days=1)
        except (ValueError, OverflowError):
            raise Problem("invalid", "A day is written like 2026-11-25.") from None
    return list_runs(
        visitor.context, visitor.principal, PAGE, cursor, asked.state or None, asked.kind or None,  # type: ignore[arg-type]
        asked.pipeline or None, asked.schedule or None, asked.parent or None, asked.tag or None, since,
        until if since else None,
    )  # fmt: skip


@router.get("/runs/{run_id}", name="page_run")
def page_run(
    run_id: RunId, visitor: Reads, part: Word = "", attempt: Word = "", level: Word = "", after: Word = ""
) -> Response:
    run = _run(visitor, run_id)
    if run.kind in OWN_PAGES and not part:
        return RedirectResponse(f"/{run.kind}s/{run_id}", 303)
    return _page(visitor, run, part, logs={"attempt": attempt, "level": level, "after": after})


def _run(visitor: Visitor, run_id: str) -> Run:
    return get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal)


def _page(
    visitor: Visitor, run: Run, part: str = "", problem: Problem | None = None, given: dict[str, Any] | None = None,
    logs: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    attempts = list_attempts(run.id, visitor.context, visitor.principal).items
    live: dict[str, Any] = {
        "run": run, "attempts": attempts, "figures": figures_of(run, attempts), "commands": commands_of(visitor, run),
        "events": events_of(visitor.context, run.id, max(0, run.events - EVENTS), EVENTS),
        "ended": run.state in TERMINAL,
    }  # fmt: skip
    if part == "live":
        answer = page(visitor, "run_live.html", **live)
        if live["ended"]:
            answer.headers["HX-Refresh"] = "true"  # there is more to see now than what was live
        return answer
    looks = run.kind in ("curate", "preview") and run.state == "succeeded" and not (run.result or {}).get("nothing_new")
    funnel = stages = None
    unreadable = ""
    if looks and visitor.may("statistics:read"):
        try:
            finished = finished_run(run.id, visitor.context)
            funnel, stages = get_funnel(visitor.principal, finished), list_stages(visitor.principal, finished).items
        except Problem as refused:
            unreadable = refused.detail or "Its files cannot be read."
    given_logs = logs or {"attempt": "", "level": "", "after": ""}
    return page(
        visitor, "run.html", 422 if problem else 200, **live, looks=looks, funnel=funnel, stages=stages,
        flow_documents=flows(funnel.rows, "documents", run.id) if funnel else None,
        flow_tokens=flows(funnel.rows, "tokens", run.id) if funnel else None,
        recipe=yaml.safe_dump(run.recipe, allow_unicode=True, sort_keys=False), problem=problem, given=given,
         unreadable=unreadable, log=_log(visitor, run.id, given_logs), asked_log=given_logs,
        event_kinds=EVENT_KINDS, forks=list_runs(visitor.context, visitor.principal, 10, parent=run.id).items,
    )  # fmt: skip


def commands_of(visitor: Visitor, run: Run) -> list[tuple[str, str, str]]:
    """Commands that the state allows: action, word, what it does."""
    if not visitor.may("runs:write"):
        return []
    found = []
    for action in COMMANDS:
        try:
            target(run.state, action, Actor.USER)
        except IllegalTransition:
            continue
        found.append((action, *WORDS[action]))
    return found


def _log(visitor: Visitor, run_id: str, asked: dict[str, str]) -> Any:
    def number(text: str) -> int | None:
        return int(text) if text.isascii() and text.isdigit() and int(text) < 1 << 31 else None

    level: Any = asked["level"] if asked["level"] in ("info", "warning", "error") else None
    attempt = number(asked["attempt"]) or None
    return list_logs(
        run_id, visitor.context, visitor.principal, attempt, level, number(asked["after"]) or 0, LINES
    )  # fmt: skip


@router.post("/runs/{run_id}/change", name="page_change_run")
def page_change_run(run_id: RunId, visitor: Writes, form: Form) -> Response:
    body = {
        "name": form.get("name", "").strip(), "tags": words_of(form.get("tags", "")), "note": form.get("note", ""),
        "priority": form.get("priority", "0").strip(),
    }  # fmt: skip
    try:
        change = Change.model_validate(body)
    except ValidationError as error:
        return _page(visitor, _run(visitor, run_id), problem=invalid(error, body), given=form)
    change_run(run_id, change, visitor.request, Response(), visitor.context, visitor.principal)
    return RedirectResponse(f"/runs/{run_id}", 303)


def words_of(text: str) -> list[str]:
    """Tags of a field: parted by blanks or commas."""
    return text.replace(",", " ").split()


@router.get("/runs/{run_id}/commands/{action}", name="page_ask_command")
def page_ask_command(run_id: RunId, action: str, visitor: Writes) -> Response:
    """The question before a command."""
    if action not in COMMANDS:
        raise Problem("not-found")
    run = _run(visitor, run_id)
    possible = any(action == one for one, _, _ in commands_of(visitor, run))
    word, effect = WORDS[action]
    return page(visitor, "run_command.html", run=run, action=action, word=word, effect=effect, possible=possible)


@router.post("/runs/{run_id}/commands/{action}", name="page_command")
def page_command(run_id: RunId, action: str, visitor: Writes, form: Form) -> Response:
    if action not in COMMANDS:
        raise Problem("not-found")
    command_run(action, run_id, visitor.request, Response(), visitor.context, visitor.principal)
    return RedirectResponse(f"/runs/{run_id}", 303)
