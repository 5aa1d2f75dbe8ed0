"""``/evaluations``: ask models something.  Everything else of an evaluation is a run: ``/runs/{id}``."""

from __future__ import annotations

from io import BufferedReader
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field
from sqlalchemy import Connection

from api.access.principals import Principal
from api.evaluations.files import File, part_of
from api.http import pages
from api.http.context import Ctx, Needs
from api.http.models import Body, Name, example
from api.problems import Problem, responses
from api.runs import store
from api.runs.models import Run, RunPage
from api.runs.requests import Tag
from api.runs.routes import Key, RunId, State, submit
from api.runs.states import SUCCEEDED
from api.trainings.given import GivenModel, TrainingData, link, resolve
from api.trainings.routes import page_of_kind
from pipelines.storage import Storage

router = APIRouter(prefix="/evaluations", tags=["evaluations"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
Writer = Annotated[Principal, Depends(Needs("trainings:write"))]
Task = Literal["generate", "perplexity", "win_rate", "compare", "cost"]
LINES = "application/jsonl"
_PART: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Lines of JSON",
        "content": {LINES: {"schema": {"type": "string"}}},
        "headers": {
            "Link": {
                "description": "Where the lines behind these are, with `rel=next` (RFC 8288); absent at the end.",
                "schema": {"type": "string"},
            }
        },
    },
    **responses("not-found", "conflict"),
}


class ModelOfEvaluation(GivenModel):
    """A model version that is asked."""

    role: Name = Field(default="model", description="`model`; or `a`, `b` and `reward` where two are compared.")


class NewEvaluation(Body):
    """What is asked of which models."""

    model_config = example(
        name="how well the base reads",
        task="perplexity",
        models=[{"name": "base", "version": "latest"}],
        datasets=[{"name": "web", "version": "stable"}],
        config={"first": 1000},
    )

    name: str = Field(min_length=1, max_length=200)
    task: Task
    models: list[ModelOfEvaluation] = Field(default=[], max_length=20)
    datasets: list[TrainingData] = Field(default=[], max_length=50)
    config: dict[str, Any] = Field(
        default={}, max_length=200, description="Of the task, given to the trainer as it is; it checks it."
    )
    priority: int = Field(default=0, ge=-100, le=100)
    tags: list[Tag] = Field(default=[], max_length=20)
    note: str = Field(default="", max_length=10_000)


@router.post("", status_code=202, summary="Start an evaluation", responses=responses("key-reused"))
def start_evaluation(
    new: NewEvaluation, response: Response, context: Ctx, principal: Writer, key: Key = None
) -> Run:  # fmt: skip
    """What comes out is the `result` of the run; what is too long for that lies in its files."""

    def make(connection: Connection) -> store.NewRun:
        request = {"task": new.task, **resolve(connection, new.datasets, new.models), "config": new.config}
        return store.NewRun("evaluation", new.name, request, context.settings.runs, principal.name, new.priority,
                            tuple(new.tags), new.note)  # fmt: skip

    return submit(context, response, principal.name, key, {"evaluation": new.model_dump()}, make, link)


@router.get("", summary="List evaluations")
def list_evaluations(
    context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None, state: State | None = None
) -> RunPage:  # fmt: skip
    return page_of_kind(context, "evaluation", limit, cursor, state)


@router.get("/{run_id}/files/{file:path}", summary="Lines of what an evaluation wrote", response_class=Response,
            responses=_PART)  # fmt: skip
def get_evaluation_file(
    run_id: RunId, file: Annotated[File, Path(description="A task writes some of these.")], context: Ctx, _: Reader,
    after: Annotated[int, Query(ge=0, lt=1 << 31, description="How many lines are known.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Lines.")] = 100,
) -> Response:  # fmt: skip
    with context.database.read() as connection:
        run = store.find(connection, run_id)
    if run["kind"] != "evaluation":
        raise Problem("not-found", "this run is no evaluation")
    if run["state"] != SUCCEEDED:
        raise Problem("conflict", f"the evaluation is {run['state']}; its files are there when it has succeeded")
    try:
        with BufferedReader(Storage(run["output"]).open(f"output/{file}")) as stream:  # type: ignore[type-var]
            part = part_of(stream, after, limit)
    except OSError:
        raise Problem("not-found", "this evaluation has no such file") from None
    headers = {"Cache-Control": "private, no-cache"}
    if part.next is not None:
        place = f"/api/v1/evaluations/{run_id}/files/{file}?after={part.next}&limit={limit}"
        headers["Link"] = f'<{place}>; rel="next"'
    return Response(part.lines, headers=headers, media_type=LINES)
