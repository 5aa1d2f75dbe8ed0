"""``/runs/{id}/fork``: the same inputs with other thresholds; what they do not change is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.pages.render import page
from api.pages.runs import words_of
from api.pages.thresholds import changed_thresholds, fields_of, frequent
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Problem, invalid
from api.runs.routes import Fork, RunId, fork_run, get_run
from api.statistics.finished import finished_run
from api.statistics.models import MeasureSummary, RuleSummary
from api.statistics.routes import get_funnel, list_measures, list_rules

router = APIRouter(include_in_schema=False)
Writes = Annotated[Visitor, Depends(Visits("runs:read", "runs:write", "statistics:read"))]


@router.get("/runs/{run_id}/fork", name="page_fork")
def page_fork(run_id: RunId, visitor: Writes) -> Response:
    return _page(visitor, run_id, {name: value[:200] for name, value in visitor.request.query_params.items()})


@router.post("/runs/{run_id}/fork", name="page_fork_run")
def page_fork_run(run_id: RunId, visitor: Writes, form: Form) -> Response:
    thresholds, faults = changed_thresholds(_rules(visitor, run_id), form)
    if faults:
        return _page(visitor, run_id, form, Problem("invalid", "These thresholds cannot be:", faults))
    body: dict[str, Any] = {"thresholds": thresholds, "tags": words_of(form.get("tags", ""))}
    body |= {name: form[name].strip() for name in ("name", "publish") if form.get(name, "").strip()}
    key = form["key"][:64] if form.get("key", "").isalnum() and form["key"].isascii() else None
    try:
        fork = Fork.model_validate(body)
        run = fork_run(run_id, fork, Response(), visitor.context, visitor.principal, key)
    except ValidationError as error:
        return _page(visitor, run_id, form, invalid(error, body))
    except Problem as refused:
        if refused.code not in ("invalid", "key-reused"):
            raise
        return _page(visitor, run_id, form, refused)
    return RedirectResponse(f"/runs/{run.id}", 303)


def _rules(visitor: Visitor, run_id: str) -> list[RuleSummary]:
    run = finished_run(run_id, visitor.context)
    return [rule for rule in list_rules(visitor.principal, run).items if rule.adjustable]


def _page(visitor: Visitor, run_id: str, form: Mapping[str, str], problem: Problem | None = None) -> Response:
    finished = finished_run(run_id, visitor.context)
    languages = frequent(get_funnel(visitor.principal, finished).languages)
    measures = {one.name: one for one in list_measures(visitor.principal, finished).items}
    stages: dict[str, list[Any]] = {}
    for rule in _rules(visitor, run_id):
        told = {**rule.model_dump(), **_about(measures.get(rule.measure))}
        stages.setdefault(rule.stage, []).append((told, fields_of(rule, form, languages)))
    return page(
        visitor, "run_fork.html", 422 if problem else 200, problem=problem, form=form, key=uuid4().hex,
        run=get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal),
        stages=[(name, "", rules, any(one.changed for _, fields in rules for one in fields))
                for name, rules in stages.items()],
    )  # fmt: skip


def _about(measure: MeasureSummary | None) -> dict[str, str]:
    return {"about": measure.about, "unit": measure.unit} if measure else {"about": "", "unit": ""}
