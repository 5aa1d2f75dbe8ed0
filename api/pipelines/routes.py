"""``/pipelines``: named recipes; a change is a new revision, and revisions never change."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection, RowMapping, insert, select, update

from api.access.audit import record
from api.access.principals import Principal
from api.http import pages
from api.http.context import Context, Ctx, Needs
from api.http.models import Name, Text, example
from api.http.named import find_named, is_taken, page_by_name
from api.http.times import text_of
from api.problems import Problem, responses
from api.runs.requests import RecipeChoice, recipe_of
from api.store.ids import new_id
from api.store.tables import pipelines, revisions
from pipelines.canonical import key_of

router = APIRouter(prefix="/pipelines", tags=["pipelines"])
Reader = Annotated[Principal, Depends(Needs("pipelines:read"))]
Writer = Annotated[Principal, Depends(Needs("pipelines:write"))]
PipelineName = Annotated[str, Path(max_length=100)]
Number = Annotated[int, Path(ge=1, lt=1 << 31)]


class NewPipeline(RecipeChoice):
    """A pipeline with its first revision."""

    model_config = example(name="web", recipe="crawl", description="Everything we know of the web")

    name: Name
    description: Text = Field(default="", max_length=2000)


class Pipeline(BaseModel):
    """A pipeline."""

    id: str
    name: str
    description: str
    latest: int = Field(description="Number of the latest revision.")
    created_at: str
    created_by: str


class PipelinePage(BaseModel):
    """Pipelines by name."""

    items: list[Pipeline]
    next: str | None


class Revision(BaseModel):
    """A recipe as it was written down."""

    number: int
    recipe: dict[str, Any]
    digest: str = Field(description="Of the recipe: equal digests, equal recipes.")
    created_at: str
    created_by: str


class RevisionList(BaseModel):
    """All revisions, oldest first."""

    items: list[Revision]


def _pipeline(row: RowMapping) -> Pipeline:
    same = {name: row[name] for name in ("id", "name", "description", "latest", "created_by")}
    return Pipeline(**same, created_at=text_of(row["created_at"]))


def _revision(row: RowMapping) -> Revision:
    same = {name: row[name] for name in ("number", "recipe", "digest", "created_by")}
    return Revision(**same, created_at=text_of(row["created_at"]))


@router.get("", summary="List pipelines")
def list_pipelines(context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> PipelinePage:
    with context.database.read() as connection:
        rows, following = page_by_name(connection, pipelines, limit, cursor)
    return PipelinePage(items=[_pipeline(row) for row in rows], next=following)


@router.post("", status_code=201, summary="Make a pipeline", responses=responses("conflict"))
def make_pipeline(new: NewPipeline, response: Response, context: Ctx, principal: Writer) -> Pipeline:
    recipe = _recipe(context, new)
    with context.database.write() as connection:
        if is_taken(connection, pipelines, new.name):
            raise Problem("conflict", "there is a pipeline of this name; add a revision to it")
        now = context.database.now(connection)
        values = {"id": new_id(now), "name": new.name, "description": new.description, "latest": 0,
                  "created_at": now, "created_by": principal.name}  # fmt: skip
        connection.execute(insert(pipelines).values(values))
        _add(connection, find_named(connection, pipelines, new.name), recipe, principal.name, now)
        row = find_named(connection, pipelines, new.name)
    response.headers["Location"] = f"/api/v1/pipelines/{new.name}"
    return _pipeline(row)


def _recipe(context: Context, choice: RecipeChoice) -> dict[str, Any]:
    """The recipe, checked; that takes its time, and must not hold up who writes."""
    with context.database.read() as connection:
        return recipe_of(connection, context.settings, choice)


def _add(connection: Connection, row: RowMapping, recipe: dict[str, Any], who: str, now: int) -> RowMapping:
    """A recipe as the next revision; the latest one, if it says the same."""
    digest = key_of("recipe", recipe)
    here = (revisions.c.pipeline_id == row["id"]) & (revisions.c.number == row["latest"])
    latest = connection.execute(select(revisions).where(here)).mappings().one_or_none()
    if latest is not None and latest["digest"] == digest:
        return latest
    number = row["latest"] + 1
    connection.execute(
        insert(revisions).values(
            pipeline_id=row["id"], number=number, recipe=recipe, digest=digest, created_at=now, created_by=who
        )
    )
    connection.execute(update(pipelines).where(pipelines.c.id == row["id"]).values(latest=number))
    record(connection, who, "pipeline.revise", row["name"], now, {"revision": number, "digest": digest})
    return _find_revision(connection, row, number)


def _find_revision(connection: Connection, row: RowMapping, number: int) -> RowMapping:
    here = (revisions.c.pipeline_id == row["id"]) & (revisions.c.number == number)
    found = connection.execute(select(revisions).where(here)).mappings().one_or_none()
    if found is None:
        raise Problem("not-found", "this pipeline has no such revision")
    return found


@router.get("/{name}", summary="One pipeline", responses=responses("not-found"))
def get_pipeline(name: PipelineName, context: Ctx, _: Reader) -> Pipeline:
    with context.database.read() as connection:
        return _pipeline(find_named(connection, pipelines, name))


@router.get("/{name}/revisions", summary="Revisions of a pipeline", responses=responses("not-found"))
def list_revisions(name: PipelineName, context: Ctx, _: Reader) -> RevisionList:
    with context.database.read() as connection:
        row = find_named(connection, pipelines, name)
        query = select(revisions).where(revisions.c.pipeline_id == row["id"]).order_by(revisions.c.number)
        return RevisionList(items=[_revision(one) for one in connection.execute(query).mappings()])


@router.post("/{name}/revisions", status_code=201, summary="Add a revision", responses=responses("not-found"))
def add_revision(name: PipelineName, choice: RecipeChoice, context: Ctx, principal: Writer) -> Revision:
    """A recipe that equals the latest revision adds none."""
    recipe = _recipe(context, choice)
    with context.database.write() as connection:
        row = find_named(connection, pipelines, name, lock=True)
        return _revision(_add(connection, row, recipe, principal.name, context.database.now(connection)))


@router.get("/{name}/revisions/{number}", summary="One revision", responses=responses("not-found"))
def get_revision(name: PipelineName, number: Number, context: Ctx, _: Reader) -> Revision:
    with context.database.read() as connection:
        return _revision(_find_revision(connection, find_named(connection, pipelines, name), number))
