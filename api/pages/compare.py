"""``/compare``: two runs side by side."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.pages.bins import Bins, bins, distance
from api.pages.render import page
from api.pages.visitors import Visitor, Visits
from api.problems import Problem
from api.runs.models import Run
from api.runs.routes import get_run, list_runs
from api.runs.store import NoSuchRun
from api.statistics.finished import finished_run
from api.statistics.routes import compare_runs, get_histogram, list_measures, list_rules
from pipelines.look import FinishedRun

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("runs:read", "statistics:read"))]
_ID = re.compile(r"[0-9a-f-]{36}")
DRAWN = 4  # measures that are drawn where none is chosen
CHANGES = 60
SAMPLES = 5


@router.get("/compare", name="page_compare")
def page_compare(
    visitor: Reads, a: Annotated[str, Query(max_length=40)] = "", b: Annotated[str, Query(max_length=40)] = "",
    measure: Annotated[str, Query(max_length=100)] = "",
) -> Response:  # fmt: skip
    choices = list_runs(visitor.context, visitor.principal, 100, state="succeeded", kind="curate").items
    values: dict[str, Any] = {"a": a, "b": b, "measure": measure, "choices": choices, "sides": None, "problem": None}
    if a or b:
        try:
            values |= _compared(visitor, a, b, measure)
        except NoSuchRun:
            values["problem"] = Problem("invalid", "There is no such run.")
        except Problem as refused:
            if refused.code not in ("conflict", "invalid", "not-found"):
                raise
            values["problem"] = refused
    return page(visitor, "compare.html", 422 if values["problem"] else 200, **values)


def _compared(visitor: Visitor, a: str, b: str, measure: str) -> dict[str, Any]:
    """What the page says of two runs."""
    if not (_ID.fullmatch(a) and _ID.fullmatch(b)):
        raise Problem("invalid", "Choose two runs, or give the ids of two.")
    sides = [get_run(id_, visitor.request, Response(), visitor.context, visitor.principal) for id_ in (a, b)]
    runs = [finished_run(id_, visitor.context) for id_ in (a, b)]
    found = compare_runs(visitor.principal, runs[0], visitor.context, b, SAMPLES)
    measures = _measures(visitor, runs)
    known = [name for name, *_ in measures]
    drawn = [measure] if measure in known else known[:DRAWN]
    return {
        "sides": sides, "found": found, "changes": found.changes[:CHANGES], "more": len(found.changes) - CHANGES,
        "thresholds": _thresholds(visitor, runs), "measures": measures,
        "charts": [one for name in drawn if (one := _chart(visitor, runs, name, sides)) is not None],
        "may": visitor.may("documents:read"),
    }  # fmt: skip


def _measures(visitor: Visitor, runs: list[FinishedRun]) -> list[tuple[str, float, Any, Any]]:
    """Measures of both: name, share of documents that lie elsewhere, and what each run says of it."""
    told = [{one.name: one for one in list_measures(visitor.principal, run).items} for run in runs]
    rows = []
    for name in told[0]:
        if name in told[1]:
            counts = [get_histogram(visitor.principal, run, name, None, None).counts for run in runs]
            rows.append((name, distance(*counts), told[0][name], told[1][name]))
    return sorted(rows, key=lambda row: -row[1])


def _chart(visitor: Visitor, runs: list[FinishedRun], name: str, sides: list[Run]) -> dict[str, Any] | None:
    told = [get_histogram(visitor.principal, run, name, None, None) for run in runs]
    counts = {f"{letter}: {side.name}": one.counts for letter, side, one in zip("AB", sides, told, strict=True)}
    found: Bins | None = bins(told[0].edges, counts)
    if found is None:
        return None
    marks = []
    for letter, run in zip("AB", runs, strict=True):
        for rule in list_rules(visitor.principal, run).items:
            limit = rule.thresholds.get("default")
            if rule.measure == name and rule.adjustable and limit is not None:
                marks.append((f"{letter}: {rule.rule}", limit))
    return {"name": name, "bins": found, "option": found.option(thresholds=marks, unit=name)}


def _thresholds(visitor: Visitor, runs: list[FinishedRun]) -> list[dict[str, Any]]:
    """Rules whose thresholds differ, or that only one of the runs has."""
    told = [{(one.stage, one.rule): one for one in list_rules(visitor.principal, run).items} for run in runs]
    found = []
    for key in [*told[0], *(key for key in told[1] if key not in told[0])]:
        pair = [side.get(key) for side in told]
        first, second = pair
        if first is None or second is None or first.thresholds != second.thresholds:
            found.append({"stage": key[0], "rule": key[1], "sides": pair})
    return found
