"""``/runs/{id}/stages/{stage}``: what a stage measured, where its thresholds lie, and what others would do."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Response

from api.pages.bins import Bins, bins
from api.pages.duplicates import STAGE as DEDUPLICATION
from api.pages.duplicates import repeated_of
from api.pages.render import page
from api.pages.thresholds import DEFAULT, Field, as_fields, changed_thresholds, fields_of, frequent
from api.pages.visitors import Visitor, Visits
from api.problems import Problem
from api.runs.routes import RunId, get_run
from api.statistics.finished import finished_run
from api.statistics.models import MeasureSummary, RuleSummary, WhatIfAnswer, WhatIfRequest
from api.statistics.routes import (
    ask_what_if,
    get_breakdown,
    get_funnel,
    get_histogram,
    list_measures,
    list_overlap,
    list_rules,
    list_stages,
)
from pipelines.hygiene.decisions import STAGE as HYGIENE
from pipelines.kinds import comparison_of, comparison_section
from pipelines.look import FinishedRun

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("statistics:read", "runs:read"))]
GROUPS = ("language", "domain", "host")
SAMPLES = 4
BREAKDOWN = 20  # groups that are shown
UNITS = {"share": "a share, from 0 to 1", "count": "a count", "yes or no": "yes (1) or no (0)", "": "a number"}


class Told(NamedTuple):
    """A measure with its distribution and the rules that go by it.

    Attributes:
        rules: each with its fields; none where its threshold is fixed.
    """

    measure: MeasureSummary
    bins: Bins | None
    option: dict[str, Any] | None
    rules: list[tuple[RuleSummary, list[Field]]]


@router.get("/runs/{run_id}/stages/{stage}", name="page_stage")
def page_stage(
    run_id: RunId, stage: str, visitor: Reads, by: Annotated[str, Query(max_length=20)] = "",
    group: Annotated[str, Query(max_length=500)] = "", part: Annotated[str, Query(max_length=20)] = "",
) -> Response:  # fmt: skip
    run = finished_run(run_id, visitor.context)
    stages = list_stages(visitor.principal, run).items
    found = next((one for one in stages if one.stage == stage), None)
    if found is None:
        raise Problem("not-found", "this run has no such stage")
    rules = [rule for rule in list_rules(visitor.principal, run).items if rule.stage == stage]
    given = {name: value for name, value in visitor.request.query_params.items() if name.startswith("t.")}
    counts = get_funnel(visitor.principal, run).languages
    languages = sorted(counts, key=lambda name: (-counts[name], name))
    answer, question, problem = _asked(visitor, run, rules, given)
    names = [one.stage for one in stages]
    said: dict[str, Any] = {
        "run": get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal), "stage": found,
        "answer": answer, "problem": problem, "question": question, "given": given,
        "fields": urlencode(as_fields(question, rules)), "rules": rules,
    }  # fmt: skip
    if part == "answer":
        return page(visitor, "stage_answer.html", **said)
    by = by if by in GROUPS else ""
    group = "" if group and group not in languages else group
    groups = get_breakdown(visitor.principal, run, by, BREAKDOWN) if by else None  # type: ignore[arg-type]
    if part == "groups":
        return page(visitor, "stage_groups.html", **said, by=by, groups=groups)
    measures = [one for one in list_measures(visitor.principal, run).items if one.stage == stage]
    repeated = repeated_of(visitor, run_id, run) if stage == HYGIENE else None
    return page(
        visitor, "stage.html", 422 if problem else 200, **said, by=by, groups=groups, group=group,
        measures=[_told(visitor, run, one, rules, given, frequent(counts), group) for one in measures],
        languages=languages[:30], fixed=[rule for rule in rules if not rule.adjustable], units=UNITS,
        overlap=[one for one in list_overlap(visitor.principal, run).items if one.stage == stage][:50],
        before=_beside(names, stage, -1), following=_beside(names, stage, 1),
        repeated=repeated, compared=stage == names[-1] and _deduplicates(run),
    )  # fmt: skip


def _deduplicates(run: FinishedRun) -> bool:
    """Whether what its stages left was compared by a deduplication, which has a page of its own."""
    recipe = run.run["recipe"]
    return comparison_section(recipe) == DEDUPLICATION and comparison_of(recipe) is not None


def _beside(names: list[str], name: str, step: int) -> str | None:
    place = names.index(name) + step
    return names[place] if 0 <= place < len(names) else None


def _asked(
    visitor: Visitor, run: FinishedRun, rules: list[RuleSummary], given: dict[str, str]
) -> tuple[WhatIfAnswer | None, dict[str, Any], Problem | None]:
    """The answer to other thresholds, if any are given, and the question as the API takes it."""
    question, faults = changed_thresholds([rule for rule in rules if rule.adjustable], given)
    if faults:
        return None, question, Problem("invalid", "These thresholds cannot be:", faults)
    if not question:
        return None, {}, None
    samples = SAMPLES if visitor.may("documents:read") else 0
    try:
        asked = WhatIfRequest(thresholds=dict(question), samples=samples)
        return ask_what_if(visitor.principal, run, asked), question, None
    except Problem as refused:
        if refused.code not in ("invalid", "too-slow"):
            raise
        return None, question, refused


def _told(
    visitor: Visitor, run: FinishedRun, measure: MeasureSummary, rules: list[RuleSummary], given: dict[str, str],
    languages: list[str], group: str,
) -> Told:  # fmt: skip
    counts = get_histogram(visitor.principal, run, measure.name, "language" if group else None, group or None)
    found = bins(counts.edges, {"documents": counts.counts})
    own = [rule for rule in rules if rule.measure == measure.name]
    shown = [group] if group else languages
    fields = [(rule, fields_of(rule, given, shown) if rule.adjustable else []) for rule in own]
    return Told(measure, found, None if found is None else _option(found, fields, measure.name), fields)


def _option(found: Bins, fields: list[tuple[RuleSummary, list[Field]]], name: str) -> dict[str, Any]:
    option = found.marked(_drawn(found, fields), name)
    for place, line in enumerate(option["series"][0].get("markLine", {}).get("data", [])):
        line["label"]["distance"] = 9 + 13 * (place % 2)  # names of near lines stand above each other
    return option


def _drawn(found: Bins, fields: list[tuple[RuleSummary, list[Field]]]) -> list[tuple[str, float]]:
    """Thresholds of the run that lie within the chart, by the name of their line."""
    return [
        (rule.rule + ("" if one.language == DEFAULT else f" ({one.language})"), float(one.now))
        for rule, own in fields
        for one in own
        if one.now and _within(found, float(one.now))
    ]


def _within(found: Bins, value: float) -> bool:
    return found.edges[0] <= value <= found.edges[-1] and (value > 0 or not found.log)
