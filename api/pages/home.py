"""``/``: what runs, what comes next, what failed, what is stored."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.pages import charts
from api.pages.render import page
from api.pages.visitors import Visitor, Visits
from api.runs.models import RunSummary
from api.runs.overview import DayList, count_runs_by_day, get_storage
from api.runs.routes import list_runs
from api.scheduling.models import Schedule
from api.scheduling.routes import list_schedules
from api.sources.routes import list_sources

router = APIRouter(include_in_schema=False)
NOW = ("running", "starting", "pausing", "cancelling", "queued", "paused")  # states that are shown, in this order
SHOWN = 20  # runs of each
NIGHTS = 5


@router.get("/", name="page_home")
def page_home(visitor: Annotated[Visitor, Depends(Visits("runs:read"))]) -> Response:
    now = [run for state in NOW for run in _runs(visitor, state, SHOWN)]
    if visitor.live:
        return page(visitor, "home_now.html", now=now)
    days = count_runs_by_day(visitor.context, visitor.principal, 30)
    latest = list_runs(visitor.context, visitor.principal, 5).items
    return page(
        visitor, "home.html", now=now, failed=_runs(visitor, "failed", 5), latest=latest, nights=_nights(visitor),
        storage=get_storage(visitor.context, visitor.principal), days=days, bars=_bars(days), used=states_of(days),
        sources=list_sources(visitor.context, visitor.principal).items if visitor.may("sources:read") else [],
    )  # fmt: skip


def _runs(visitor: Visitor, state: str, limit: int) -> list[RunSummary]:
    return list_runs(visitor.context, visitor.principal, limit, state=state).items  # type: ignore[arg-type]


def _nights(visitor: Visitor) -> list[Schedule]:
    """Schedules that fire next; of the first two hundred by name."""
    if not visitor.may("schedules:read"):
        return []
    items = list_schedules(visitor.context, visitor.principal, 200).items
    return sorted((one for one in items if one.next), key=lambda one: (one.next or "", one.name))[:NIGHTS]


def states_of(days: DayList) -> list[str]:
    """States that any run is in, the good ones first."""
    order = ("succeeded", "running", "starting", "queued", "paused", "pausing", "cancelling", "cancelled", "failed")
    return [state for state in order if any(day.states.get(state) for day in days.items)]


def _bars(days: DayList) -> charts.Option:
    series = {state: [day.states.get(state, 0) for day in days.items] for state in states_of(days)}
    option = charts.stacked_bars([day.day[5:] for day in days.items], series, unit="runs")
    option["yAxis"]["minInterval"] = 1
    for one in option["series"]:  # a bar leads to its runs
        one["data"] = [
            {"value": value, "address": f"/runs?state={one['name']}&day={day.day}"}
            for value, day in zip(one["data"], days.items, strict=True)
        ]
    return option
