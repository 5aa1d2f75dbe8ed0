"""``/schedules``: nights of the past and to come, and commands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.http.models import NoNul
from api.pages.forms import body_of, tried
from api.pages.render import page, query
from api.pages.schedule_forms import COALESCES, OVERLAPS
from api.pages.visitors import Form, Visitor, Visits
from api.pages.words import wall
from api.problems import Problem
from api.scheduling.cron import zone_named
from api.scheduling.decide import Outcome
from api.scheduling.models import Backfill, Calendar, CalendarDay, FirePage, FireRecord, Schedule
from api.scheduling.routes import (
    ScheduleName,
    backfill_schedule,
    get_calendar,
    get_schedule,
    list_fires,
    list_next_fires,
    list_schedules,
    pause_schedule,
    remove_schedule,
    resume_schedule,
    trigger_schedule,
)

router = APIRouter(prefix="/schedules", include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("schedules:read"))]
Writes = Annotated[Visitor, Depends(Visits("schedules:read", "schedules:write"))]
Word = Annotated[NoNul, Query(max_length=100)]
Cursor = Annotated[str | None, Query(max_length=500)]
WORDS = {  # what a fire or its run is: words, colour
    "succeeded": ("done", "good"), "failed": ("failed", "bad"), "cancelled": ("cancelled", "wait"),
    "skipped": ("skipped", "wait"), "missed": ("missed", "bad"), "coalesced": ("merged", "wait"),
    "queued": ("waits", "busy"), "paused": ("paused", "wait"),
}  # fmt: skip
MEANT = (
    ("done, failed, cancelled", "its run has ended so"),
    ("skipped", "nothing was started: an earlier run had not ended, or the schedule was paused"),
    ("missed", "nobody was there in time: the service was down for longer than the schedule allows"),
    ("merged", "several were due together, and another of them was started"),
)


@router.get("", name="page_schedules")
def page_schedules(visitor: Reads, cursor: Cursor = None) -> Response:
    found = list_schedules(visitor.context, visitor.principal, 50, cursor or None)
    return page(
        visitor, "schedules.html", schedules=found.items,
        following=f"/schedules{query(cursor=found.next)}" if found.next else None,
    )  # fmt: skip


def word_of(name: str) -> tuple[str, str]:
    """Word and colour of an outcome, or of the state of its run."""
    return WORDS.get(name, ("at work", "busy"))


def _read(visitor: Visitor, name: str) -> Schedule:
    return get_schedule(name, Response(), visitor.context, visitor.principal)


@router.get("/{name}", name="page_schedule")
def page_schedule(
    name: ScheduleName, visitor: Reads, month: Word = "", outcome: Word = "", day: Word = "", cursor: Cursor = None,
) -> Response:  # fmt: skip
    schedule = _read(visitor, name)
    zone = zone_named(schedule.policy["time_zone"])
    calendar, problem = tried(lambda: get_calendar(name, visitor.context, visitor.principal, month or None))
    if calendar is None:
        calendar = get_calendar(name, visitor.context, visitor.principal, None)
    fires, wrong = tried(lambda: _fires(visitor, schedule, outcome, day, cursor or None))
    fires, problem = fires or FirePage(items=[], next=None), problem or wrong
    first = calendar.days[0].date
    following = query(month=month, outcome=outcome, day=day, cursor=fires.next)
    return page(
        visitor, "schedule.html", problem.status if problem else 200, schedule=schedule, problem=problem,
        calendar=calendar, weeks=list(_weeks(calendar)), title=f"{first:%B %Y}", word_of=word_of, meant=MEANT,
        months=(f"{first - timedelta(days=1):%Y-%m}", f"{first + timedelta(days=31):%Y-%m}"), outcome=outcome,
        coming=list_next_fires(name, visitor.context, visitor.principal, 10).items, day="" if wrong else day,
        outcomes=get_args(Outcome),
        fires=[(fire, local_of(fire.nominal, zone), _shown(fire)) for fire in fires.items],
        following=f"/schedules/{name}{following}#fires" if fires.next else None,
        now=local_of(None, zone), overlap_word=OVERLAPS.__getitem__, coalesce_word=_coalesces,
    )  # fmt: skip


def _fires(visitor: Visitor, schedule: Schedule, outcome: str, day: str, cursor: str | None) -> FirePage:
    """Decisions of an outcome and, perhaps, of a date on the schedule's wall clock."""
    if outcome and outcome not in get_args(Outcome):
        raise Problem("invalid", "There is no such outcome.")
    begin = end = None
    if day:
        zone = zone_named(schedule.policy["time_zone"])
        try:
            begin, end = (
                datetime.combine(date.fromisoformat(day) + timedelta(days=more), datetime.min.time(), zone)
                for more in (0, 1)
            )
        except (ValueError, OverflowError):
            raise Problem("invalid", "A day is written like 2026-11-25.") from None
    wanted: Any = outcome or None
    return list_fires(schedule.name, visitor.context, visitor.principal, 25, cursor, wanted, begin, end)


def local_of(moment: str | None, zone: Any) -> str:
    """A moment of the API, or now, on a wall clock, with its difference from UTC."""
    at = datetime.now(zone) if moment is None else datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return wall(at.astimezone(zone).isoformat())


def _coalesces(policy: dict[str, Any]) -> str:
    """What is started of several that are due together."""
    number = f" of {policy['max_catch_up']}" if policy["coalesce"] == "all" else ""
    return COALESCES[policy["coalesce"]] + number


def _shown(fire: FireRecord) -> tuple[str, str]:
    return word_of(fire.run_state or fire.outcome)


def _weeks(calendar: Calendar) -> Iterator[list[CalendarDay | None]]:
    """Rows of seven, from Monday on."""
    cells: list[CalendarDay | None] = [None] * calendar.days[0].date.weekday() + list(calendar.days)
    cells += [None] * (-len(cells) % 7)
    for begin in range(0, len(cells), 7):
        yield cells[begin : begin + 7]


@router.post("/{name}/pause", name="page_pause_schedule")
def page_pause_schedule(name: ScheduleName, visitor: Writes, _: Form) -> Response:
    pause_schedule(name, visitor.request, Response(), visitor.context, visitor.principal)
    return RedirectResponse(f"/schedules/{name}", 303)


@router.post("/{name}/resume", name="page_resume_schedule")
def page_resume_schedule(name: ScheduleName, visitor: Writes, _: Form) -> Response:
    resume_schedule(name, visitor.request, Response(), visitor.context, visitor.principal)
    return RedirectResponse(f"/schedules/{name}", 303)


@router.get("/{name}/trigger", name="page_ask_trigger")
def page_ask_trigger(name: ScheduleName, visitor: Writes) -> Response:
    schedule = _read(visitor, name)
    return page(
        visitor, "schedule_ask.html", schedule=schedule, heading="Start a run of it now?", word="Start it",
        effect="It runs for this moment, beside what the schedule starts by itself. Unless runs may overlap, it waits "
        "for those that have not ended.", action="trigger", danger=False,
    )  # fmt: skip


@router.post("/{name}/trigger", name="page_trigger")
def page_trigger(name: ScheduleName, visitor: Writes, _: Form) -> Response:
    run = trigger_schedule(name, Response(), visitor.context, visitor.principal)
    return RedirectResponse(f"/runs/{run.id}", 303)


@router.get("/{name}/remove", name="page_ask_remove_schedule")
def page_ask_remove_schedule(name: ScheduleName, visitor: Writes) -> Response:
    schedule = _read(visitor, name)
    return page(
        visitor, "schedule_ask.html", schedule=schedule, heading="Remove this schedule?", word="Remove it",
        effect="It starts nothing more, and its calendar is forgotten. Runs and datasets of it stay. To let it rest, "
        "pause it instead.", action="remove", danger=True,
    )  # fmt: skip


@router.post("/{name}/remove", name="page_remove_schedule")
def page_remove_schedule(name: ScheduleName, visitor: Writes, _: Form) -> Response:
    remove_schedule(name, visitor.context, visitor.principal)
    return RedirectResponse("/schedules", 303)


@router.get("/{name}/backfill", name="page_ask_backfill")
def page_ask_backfill(name: ScheduleName, visitor: Writes) -> Response:
    schedule = _read(visitor, name)
    today = datetime.now(zone_named(schedule.policy["time_zone"])).date()
    given = {"first_date": f"{today - timedelta(days=7)}", "last_date": f"{today - timedelta(days=1)}"}
    return page(visitor, "schedule_backfill.html", schedule=schedule, given=given, problem=None, result=None)


@router.post("/{name}/backfill", name="page_backfill")
def page_backfill(name: ScheduleName, visitor: Writes, form: Form) -> Response:
    """Without ``start``, what would be started is shown."""
    schedule = _read(visitor, name)
    zone = zone_named(schedule.policy["time_zone"])
    given = {field: form.get(field, "").strip() for field in ("first_date", "last_date")}
    body = {**given, "dry_run": form.get("start") != "yes"}
    result, problem = tried(
        lambda: backfill_schedule(name, body_of(Backfill, body), visitor.context, visitor.principal)
    )
    items = [(one, local_of(one.nominal, zone)) for one in result.items] if result else []
    return page(
        visitor, "schedule_backfill.html", problem.status if problem else 200, schedule=schedule, given=given,
        problem=problem, result=result, times=items, starting=sum(one.action == "start" for one, _ in items),
    )  # fmt: skip
