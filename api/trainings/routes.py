"""``/trainings``: start one, follow its curves.  Everything else of it is a run: ``/runs/{id}``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, insert, select

from api.access.principals import Principal
from api.datasets.routes import find_version
from api.http import pages
from api.http.context import Ctx, Needs
from api.http.models import Body, Name, example
from api.http.times import text_of
from api.problems import Fault, Problem, responses
from api.runs import queries, store
from api.runs.models import Run, RunPage, summary_of
from api.runs.requests import Tag
from api.runs.routes import Key, RunId, State, submit
from api.store.tables import events, training_inputs

router = APIRouter(prefix="/trainings", tags=["trainings"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
Writer = Annotated[Principal, Depends(Needs("trainings:write"))]


class TrainingData(Body):
    """A dataset version, and what it is for."""

    name: Name
    version: str = Field(
        default="latest", max_length=100, pattern=r"^[a-z0-9][a-z0-9._-]*$",
        description="Number, alias or `latest`; what it stands for now is what the training reads.",
    )  # fmt: skip
    role: Name = Field(default="corpus", description="What the trainer uses it for; the configuration names it.")


class NewTraining(Body):
    """A training."""

    model_config = example(
        name="small",
        datasets=[{"name": "web", "version": "stable", "role": "corpus"}],
        config={"steps": 1000},
    )

    name: str = Field(min_length=1, max_length=200)
    datasets: list[TrainingData] = Field(min_length=1, max_length=50)
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
        datasets, faults = [], []
        for place, wanted in enumerate(new.datasets):
            try:
                found = find_version(connection, wanted.name, wanted.version)
            except Problem as problem:
                message = problem.detail or "there is no such dataset"
                faults.append(Fault(pointer=f"/datasets/{place}", code="dataset", message=message))
                continue
            row = found.version
            datasets.append(
                {
                    "name": wanted.name, "version": row["number"], "role": wanted.role, "location": row["location"],
                    "manifest_digest": row["manifest_digest"], "dataset_id": row["dataset_id"],
                }
            )  # fmt: skip
        if faults:
            raise Problem("invalid", f"{len(faults)} thing(s) are wrong", faults)
        display = [{"source": d["name"], "path": f"version {d['version']}"} for d in datasets]
        request = {"datasets": datasets, "config": new.config, "display": display}
        return store.NewRun("training", new.name, request, context.settings.runs, principal.name, new.priority,
                            tuple(new.tags), new.note)  # fmt: skip

    def link(connection: Connection, run: Any) -> None:
        """Lineage from each version to the training, in the transaction of the training."""
        pairs = {(d["dataset_id"], d["version"]) for d in run["request"]["datasets"]}
        rows = [{"run_id": run["id"], "dataset_id": id_, "number": number} for id_, number in sorted(pairs)]
        connection.execute(insert(training_inputs), rows)

    return submit(context, response, principal.name, key, {"training": new.model_dump()}, make, link)


@router.get("", summary="List trainings")
def list_trainings(
    context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None, state: State | None = None
) -> RunPage:  # fmt: skip
    filters = {"kind": "training", "state": state}
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


@router.get("/{run_id}/checkpoints", summary="Checkpoints of a training", responses=responses("not-found"))
def list_checkpoints(run_id: RunId, context: Ctx, _: Reader) -> CheckpointList:
    rows = _events(context, run_id, "training.checkpoint", 0, 10_000)
    items = [Checkpoint(at=text_of(row["at"]), attempt=row["epoch"], values=row["data"]) for row in rows]
    return CheckpointList(items=items)


def _events(context: Ctx, run_id: str, kind: str, after: int, limit: int) -> list[Any]:
    query = select(events).where(events.c.run_id == run_id, events.c.number > after, events.c.kind == kind)
    with context.database.read() as connection:
        if store.find(connection, run_id)["kind"] != "training":
            raise Problem("not-found", "this run is no training")
        return list(connection.execute(query.order_by(events.c.number).limit(limit)).mappings())
