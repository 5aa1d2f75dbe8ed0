"""``/evaluations``: what models were asked, and what came out."""

from __future__ import annotations

import json
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.evaluations.files import File
from api.evaluations.routes import NewEvaluation, Task, get_evaluation_file, list_evaluations, start_evaluation
from api.http.models import NoNul
from api.pages.forms import body_of, lines_of, tried
from api.pages.new_training import json_of, model_options, ref_of
from api.pages.render import page, query
from api.pages.runs import commands_of
from api.pages.trainings import LIVE
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Problem
from api.runs.models import RunPage
from api.runs.routes import RunId, State, get_run
from api.runs.states import TERMINAL

router = APIRouter(prefix="/evaluations", include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("runs:read"))]
Starts = Annotated[Visitor, Depends(Visits("runs:read", "models:read", "trainings:write"))]
Word = Annotated[NoNul, Query(max_length=210)]
ROWS = 20  # of a file
TASKS = {  # what it does, the models it is given, its usual configuration
    "generate": ("lets a model answer the prompts of a dataset", "model=", {"first": 20}),
    "perplexity": ("how well a model foretells the texts of a dataset", "model=", {"first": 1000}),
    "win_rate": ("whose answers a reward model likes better", "a=\nb=\nreward=", {"first": 200}),
    "compare": ("which of two models to use: quality and cost in one verdict", "a=\nb=",
                {"evidence": "loss", "rule": {"margin": 0.01}}),
    "cost": ("time, memory and operations of models, measured where the job runs", "model=",
             {"lengths": [1024, 4096], "batches": [1]}),
}  # fmt: skip


@router.get("", name="page_evaluations")
def page_evaluations(
    visitor: Reads, state: Annotated[NoNul, Query(max_length=20)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:  # fmt: skip
    states = get_args(State)
    wanted: Any = state if state in states else None
    found, problem = tried(lambda: list_evaluations(visitor.context, visitor.principal, 25, cursor or None, wanted))
    found = found or RunPage(items=[], next=None)
    return page(
        visitor, "evaluations.html", problem.status if problem else 200, found=found.items, state=wanted,
        states=states, problem=problem,
        following=f"/evaluations{query(state=wanted, cursor=found.next)}" if found.next else None,
    )  # fmt: skip


@router.get("/new", name="page_new_evaluation")
def page_new_evaluation(visitor: Starts, task: Word = "", model: Word = "") -> Response:
    chosen = task if task in TASKS else next(iter(TASKS))
    _, roles, config = TASKS[chosen]
    models = [f"{line}{model}" if place == 0 else line for place, line in enumerate(roles.split("\n"))]
    fields = {"name": chosen, "models": "\n".join(models), "datasets": "", "config": json.dumps(config, indent=2)}
    return _form(visitor, chosen, fields)


def _form(visitor: Visitor, task: str, fields: dict[str, Any], problem: Problem | None = None) -> Response:
    return page(
        visitor, "evaluation_new.html", problem.status if problem else 200, task=task, given=fields, problem=problem,
        tasks=[(name, f"{name}: {TASKS[name][0]}") for name in get_args(Task)], models=model_options(visitor),
    )  # fmt: skip


@router.post("/new", name="page_start_evaluation")
def page_start_evaluation(visitor: Starts, form: Form) -> Response:
    fields = {name: form.get(name, "") for name in ("name", "models", "datasets", "config")}
    task = form.get("task", "")

    def body() -> dict[str, Any]:
        given = []
        for line in lines_of(fields["models"]):
            role, _, ref = line.partition("=")
            given.append({**ref_of(ref), "role": role.strip()})
        return {
            "name": fields["name"].strip(), "task": task, "models": given, "config": json_of(fields["config"]),
            "datasets": [ref_of(line) for line in lines_of(fields["datasets"])],
        }  # fmt: skip

    made, problem = tried(
        lambda: start_evaluation(body_of(NewEvaluation, body()), Response(), visitor.context, visitor.principal)
    )
    if made is None:
        return _form(visitor, task if task in TASKS else next(iter(TASKS)), fields, problem)
    return RedirectResponse(f"/evaluations/{made.id}", 303)


@router.get("/{run_id}", name="page_evaluation")
def page_evaluation(
    run_id: RunId, visitor: Reads, part: Word = "", file: Word = "",
    after: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
) -> Response:  # fmt: skip
    run = get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal)
    if run.kind != "evaluation":
        raise Problem("not-found", "this run is no evaluation")
    ended = run.state in TERMINAL
    live: dict[str, Any] = {"run": run, "ended": ended, "commands": commands_of(visitor, run)}
    if part == "live":
        answer = page(visitor, "evaluation_live.html", **live)
        if ended:
            answer.headers["HX-Refresh"] = "true"
        return answer
    result = dict(run.result or {})
    plain = {name: value for name, value in result.items() if not isinstance(value, dict | list) and name != "table"}
    nested = {name: value for name, value in result.items() if isinstance(value, dict | list)}
    files = [name for name in get_args(File) if ended and _lines(visitor, run_id, name, 0, 1)[0]]
    shown = file if file in files else next(iter(files), "")
    rows, following = _lines(visitor, run_id, shown, after, ROWS) if shown else ([], None)
    return page(
        visitor, "evaluation.html", **live, kinds=LIVE, plain=plain, table=result.get("table"),
        nested=json.dumps(nested, indent=2, ensure_ascii=False) if nested else "", files=files, shown=shown,
        rows=[_row(number, row) for number, row in enumerate(rows, after + 1)],
        config=json.dumps(run.config, indent=2, ensure_ascii=False),
        following=f"/evaluations/{run_id}{query(file=shown, after=following)}#rows" if following else None,
    )  # fmt: skip


def _row(number: int, row: dict[str, Any]) -> tuple[int, list[tuple[str, Any]], list[tuple[str, str]]]:
    """Number of a line, its figures, and what is text or has parts."""
    long = {name: value for name, value in row.items() if isinstance(value, str | dict | list)}
    texts = [(n, v if isinstance(v, str) else json.dumps(v, indent=1, ensure_ascii=False)) for n, v in long.items()]
    return number, [pair for pair in row.items() if pair[0] not in long], texts


def _lines(visitor: Visitor, run_id: str, name: Any, after: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """Lines of a file, and the number of the next one; nothing where there is no such file."""
    try:
        answer = get_evaluation_file(run_id, name, visitor.context, visitor.principal, after, limit)
    except Problem:
        return [], None
    rows = [json.loads(line) for line in bytes(answer.body).splitlines() if line.strip()]
    more = "link" in answer.headers
    return [row if isinstance(row, dict) else {"": row} for row in rows], after + len(rows) if more else None
