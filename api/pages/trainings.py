"""``/trainings``: which there are, what one of them has learnt so far, and several beside each other."""

from __future__ import annotations

import json
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Response

from api.http import pages
from api.http.models import NoNul
from api.pages.curves import compared, drawn
from api.pages.forms import tried
from api.pages.render import page, query
from api.pages.runs import commands_of
from api.pages.visitors import Visitor, Visits
from api.problems import Problem
from api.runs.models import Run, RunPage
from api.runs.routes import RunId, State, get_run
from api.runs.states import TERMINAL
from api.runs.store import NoSuchRun
from api.trainings.routes import list_checkpoints, list_curves, list_trainings

router = APIRouter(include_in_schema=False)
Reader = Annotated[Visitor, Depends(Visits("runs:read"))]
SHOWN = 20  # checkpoints
MOST_COMPARED = 6
LIVE = " ".join(
    ["training.metrics", "training.checkpoint", "run.progress", *(f"run.{state}" for state in get_args(State))]
)


@router.get("/trainings", name="page_trainings")
def page_trainings(
    visitor: Reader, state: Annotated[NoNul, Query(max_length=20)] = "", cursor: pages.Cursor = None
) -> Response:
    states = get_args(State)
    wanted: Any = state if state in states else None
    found, problem = tried(lambda: list_trainings(visitor.context, visitor.principal, 25, cursor or None, wanted))
    found = found or RunPage(items=[], next=None)
    following = f"/trainings{query(state=wanted, cursor=found.next)}" if found.next else None
    return page(
        visitor, "trainings.html", problem.status if problem else 200, trainings=found.items, following=following,
        state=wanted, states=states, problem=problem,
    )  # fmt: skip


@router.get("/trainings/compare", name="page_compare_trainings")
def page_compare_trainings(visitor: Reader, ids: Annotated[NoNul, Query(max_length=400)] = "") -> Response:
    """Curves of several trainings in the same charts."""
    wanted = list(dict.fromkeys(one.strip() for one in ids.split(",") if one.strip()))
    problem = None
    if len(wanted) > MOST_COMPARED:
        problem = Problem("invalid", f"At most {MOST_COMPARED} are compared; these are the first.")
    runs: list[Run] = []
    for one in wanted[:MOST_COMPARED]:
        try:
            runs.append(_training(visitor, one))
        except (Problem, NoSuchRun):
            problem = Problem("invalid", f"This is no training: {one[:40]}")
    names = {run.id: f"{run.name[:60]} ({run.id[:8]}…{run.id[-4:]})" for run in runs}
    found = {
        names[run.id]: list_curves(run.id, visitor.context, visitor.principal).items for run in runs
    }  # fmt: skip
    others = list_trainings(visitor.context, visitor.principal, 25).items
    return page(
        visitor, "trainings_compare.html", problem.status if problem else 200, runs=runs, problem=problem,
        charts=list(compared(found)), others=[one for one in others if one.id not in names], names=names,
        configs=_differing({names[run.id]: run.config or {} for run in runs}),
        ids=",".join(names), full=len(runs) >= MOST_COMPARED,
    )  # fmt: skip


def _differing(configs: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Fields of which configurations differ, with the value of each."""
    flat = [dict(_flat(config, "")) for config in configs.values()]
    names = sorted({name for one in flat for name in one})
    rows = [(name, [json.dumps(one[name], ensure_ascii=False) if name in one else "–" for one in flat])
            for name in names]  # fmt: skip
    return [(name, values) for name, values in rows if len(set(values)) > 1][:200]


def _flat(value: Any, at: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [pair for name, one in value.items() for pair in _flat(one, f"{at}/{name}")]
    return [(at, value)]


@router.get("/trainings/{run_id}", name="page_training")
def page_training(visitor: Reader, run_id: RunId, part: Annotated[str, Query(max_length=10)] = "") -> Response:
    run = _training(visitor, run_id)
    curves = list_curves(run_id, visitor.context, visitor.principal)
    ended = run.state in TERMINAL
    live: dict[str, Any] = {
        "run": run, "charts": drawn(curves.items), "odd": [one for one in curves.items if one.odd], "more": curves.more,
        "ended": ended, "commands": commands_of(visitor, run),
        "checkpoints": list_checkpoints(run_id, visitor.context, visitor.principal).items[: -SHOWN - 1 : -1],
    }  # fmt: skip
    if part == "live":
        answer = page(visitor, "training_live.html", **live)
        if ended and not curves.more:
            answer.headers["HX-Refresh"] = "true"  # there is a result now
        return answer
    return page(
        visitor, "training.html", **live, kinds=LIVE, config=json.dumps(run.config, indent=2, ensure_ascii=False)
    )  # fmt: skip


def _training(visitor: Visitor, run_id: str) -> Run:
    run = get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal)
    if run.kind != "training":
        raise Problem("not-found", "this run is no training")
    return run
