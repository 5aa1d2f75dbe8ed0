"""``/trainings``: start one, follow its curves.  Everything else of it is a run: ``/runs/{id}``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from api.access.principals import Principal
from api.http import pages
from api.http.context import Context, Ctx, Needs
from api.http.models import Body, Name, example
from api.http.times import text_of
from api.models.store import name_of
from api.problems import Problem, responses
from api.runs import queries, store
from api.runs.models import Run, RunPage, summary_of
from api.runs.requests import Tag
from api.runs.routes import Key, RunId, State, submit
from api.store.tables import events
from api.trainings.curves import MOST_POINTS, known_of, thinned
from api.trainings.given import GivenModel, TrainingData, link, resolve

router = APIRouter(prefix="/trainings", tags=["trainings"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
Writer = Annotated[Principal, Depends(Needs("trainings:write"))]


class ModelOfTraining(GivenModel):
    """A model version that a training is given; most often the one that it goes on from."""

    role: Name = Field(default="start", description="Such as `start`, `reward`, `tokenizer`; the stage says which.")


class NewTraining(Body):
    """A training."""

    model_config = example(
        name="small",
        datasets=[{"name": "chats", "version": "stable"}],
        models=[{"name": "base", "version": "latest", "role": "start"}],
        model="small",
        config={"stage": "sft", "loop": {"steps": 1000}},
    )

    name: str = Field(min_length=1, max_length=200)
    datasets: list[TrainingData] = Field(min_length=1, max_length=50)
    models: list[ModelOfTraining] = Field(default=[], max_length=20)
    model: Name | None = Field(
        default=None, description="Model that gets a version when the training succeeds; by default named after it."
    )
    config: dict[str, Any] = Field(max_length=200, description="Given to the trainer as it is; it checks it.")
    priority: int = Field(default=0, ge=-100, le=100)
    tags: list[Tag] = Field(default=[], max_length=20)
    note: str = Field(default="", max_length=10_000)


class Point(BaseModel):
    """A point of a training's curves."""

    at: str
    attempt: int | None
    values: dict[str, Any]


class Curves(BaseModel):
    """Points in order."""

    items: list[Point]
    last: int = Field(description="Number of the last event that was read; give it as `after`.")


class Curve(BaseModel):
    """A figure over the steps of a training."""

    name: str
    points: list[tuple[float, float]] = Field(description="Step and value; of each stretch the least and the greatest.")
    count: int = Field(description="How many points were read, repeated ones included.")
    odd: list[tuple[float, str]] = Field(description="Steps at which it was no number, the first ones.")


class CurveList(BaseModel):
    """Curves by name."""

    items: list[Curve]
    more: bool = Field(description="Whether it has said more than could be read at once; ask again.")


class Checkpoint(BaseModel):
    """A state that a training can be taken up from."""

    at: str
    attempt: int | None
    values: dict[str, Any]


class CheckpointList(BaseModel):
    """Checkpoints in order."""

    items: list[Checkpoint]


@router.post("", status_code=202, summary="Start a training", responses=responses("key-reused"))
def start_training(
    new: NewTraining, response: Response, context: Ctx, principal: Writer, key: Key = None
) -> Run:  # fmt: skip
    def make(connection: Connection) -> store.NewRun:
        given = resolve(connection, new.datasets, new.models)
        request = {"task": "train", **given, "config": new.config, "model": new.model or name_of(new.name)}
        return store.NewRun("training", new.name, request, context.settings.runs, principal.name, new.priority,
                            tuple(new.tags), new.note)  # fmt: skip

    return submit(context, response, principal.name, key, {"training": new.model_dump()}, make, link)


@router.get("", summary="List trainings")
def list_trainings(
    context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None, state: State | None = None
) -> RunPage:  # fmt: skip
    return page_of_kind(context, "training", limit, cursor, state)


def page_of_kind(context: Context, kind: str, limit: int, cursor: str | None, state: str | None) -> RunPage:
    """Runs of a kind, newest first."""
    filters = {"kind": kind, "state": state}
    after = pages.decode(cursor, filters, (int, str))
    with context.database.read() as connection:
        rows = queries.page_of_runs(connection, filters, after, limit + 1)
    following = None
    if len(rows) > limit:
        following = pages.encode([rows[limit - 1]["created_at"], rows[limit - 1]["id"]], filters)
    return RunPage(items=[summary_of(row) for row in rows[:limit]], next=following)


@router.get("/{run_id}/metrics", summary="Curves of a training", responses=responses("not-found"))
def list_metrics(
    run_id: RunId, context: Ctx, _: Reader,
    after: Annotated[int, Query(ge=0, lt=1 << 31, description="Number of the last event that is known.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Events; each holds some points.")] = 200,
) -> Curves:  # fmt: skip
    rows = _events(context, run_id, "training.metrics", after, limit)
    items = [
        Point(at=text_of(row["at"]), attempt=row["epoch"], values=values)
        for row in rows
        for values in row["data"]["points"]
    ]
    return Curves(items=items, last=rows[-1]["number"] if rows else after)


@router.get("/{run_id}/curves", summary="Curves of a training, to be drawn", responses=responses("not-found"))
def list_curves(
    run_id: RunId, context: Ctx, _: Reader,
    points: Annotated[int, Query(ge=4, le=MOST_POINTS, description="Of each curve, at most.")] = MOST_POINTS,
) -> CurveList:  # fmt: skip
    """However long the training: thinned, with the extremes kept. What an attempt said that a later one said anew is
    left out."""
    with context.database.read() as connection:
        _training(connection, run_id)
    known, more = known_of(context.database, run_id)
    with known.lock:
        items = [
            Curve(
                name=name, points=thinned(known.curves.get(name, []), points), count=count, odd=known.odd.get(name, [])
            )
            for name, count in sorted(known.counts.items())
        ]
    return CurveList(items=items, more=more)


@router.get("/{run_id}/checkpoints", summary="Checkpoints of a training", responses=responses("not-found"))
def list_checkpoints(run_id: RunId, context: Ctx, _: Reader) -> CheckpointList:
    rows = _events(context, run_id, "training.checkpoint", 0, 10_000)
    items = [Checkpoint(at=text_of(row["at"]), attempt=row["epoch"], values=row["data"]) for row in rows]
    return CheckpointList(items=items)


def _events(context: Ctx, run_id: str, kind: str, after: int, limit: int) -> list[Any]:
    query = select(events).where(events.c.run_id == run_id, events.c.number > after, events.c.kind == kind)
    with context.database.read() as connection:
        _training(connection, run_id)
        return list(connection.execute(query.order_by(events.c.number).limit(limit)).mappings())


def _training(connection: Connection, run_id: str) -> None:
    if store.find(connection, run_id)["kind"] != "training":
        raise Problem("not-found", "this run is no training")
