"""``/trainings``: which there are, and what one of them has learnt so far."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.http import pages
from api.pages.charts import lines
from api.pages.render import page, query
from api.pages.visitors import Visitor, Visits
from api.problems import Problem
from api.runs import store
from api.runs.models import run_of
from api.runs.routes import RunId, State
from api.trainings.routes import list_checkpoints, list_metrics, list_trainings

router = APIRouter(include_in_schema=False)
Reader = Annotated[Visitor, Depends(Visits("runs:read"))]
MOST_EVENTS = 1000
SHOWN = 20
CURVES = (
    ("Loss", ("loss", "held_out_loss", "value_loss", "policy_loss")),
    ("Reward", ("reward", "held_out_reward", "win_rate", "accuracy", "held_out_accuracy")),
    ("Divergence and entropy", ("kl", "policy_kl", "entropy", "clip_share")),
    ("Learning rate", ("learning_rate",)),
    ("Speed", ("per_second", "answers_per_second")),
)
"""Figures that are drawn together; what a training does not say is left out."""
POINTS = 500


@router.get("/trainings", name="page_trainings")
def page_trainings(visitor: Reader, state: State | None = None, cursor: pages.Cursor = None) -> Response:
    found = list_trainings(visitor.context, visitor.principal, 50, cursor, state)
    following = f"/trainings{query(state=state, cursor=found.next)}" if found.next else None
    return page(visitor, "trainings.html", trainings=found.items, following=following, state=state)


@router.get("/trainings/{run_id}", name="page_training")
def page_training(visitor: Reader, run_id: RunId, after: Annotated[int, Query(ge=0, lt=1 << 31)] = 0) -> Response:
    with visitor.context.database.read() as connection:
        run = run_of(store.find(connection, run_id))
    if run.kind != "training":
        raise Problem("not-found", "this run is no training")
    points = [one.values for one in list_metrics(run_id, visitor.context, visitor.principal, after, MOST_EVENTS).items]
    checkpoints = list_checkpoints(run_id, visitor.context, visitor.principal).items
    return page(
        visitor, "training.html", run=run, curves=_curves(points), last=points[-SHOWN:][::-1],
        columns=sorted({name for values in points[-SHOWN:] for name in values} - {"step"}),
        checkpoints=checkpoints[-SHOWN:][::-1], config=json.dumps(run.config, indent=1, ensure_ascii=False),
    )  # fmt: skip


def _curves(points: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Title and chart of each group of figures that there are."""
    found = []
    for title, names in CURVES:
        series = {name: _thinned([(p["step"], p[name]) for p in points if _number(p, name)]) for name in names}
        series = {name: curve for name, curve in series.items() if curve}
        if series:
            found.append((title, lines(series, x="step")))
    return found


def _number(point: dict[str, Any], name: str) -> bool:
    return isinstance(point.get(name), int | float) and isinstance(point.get("step"), int | float)


def _thinned(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS``: of each stretch the least and the greatest."""
    if len(curve) <= POINTS:
        return curve
    size = -(-2 * len(curve) // POINTS)
    found: list[tuple[float, float]] = []
    for first in range(0, len(curve), size):
        part = curve[first : first + size]
        found += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return found
