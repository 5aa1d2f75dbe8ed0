"""``/sources``: declare roots, browse below them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping, insert, select

from api.access.audit import record
from api.access.principals import Principal
from api.http.context import Ctx, Needs
from api.http.models import Body, Name, example
from api.http.named import find_named, is_taken
from api.http.times import text_of
from api.problems import Fault, Problem, responses
from api.sources.roots import LISTED, browse, check_root
from api.store.ids import new_id
from api.store.tables import sources
from curation.errors import InputError

router = APIRouter(prefix="/sources", tags=["sources"])
Reader = Annotated[Principal, Depends(Needs("sources:read"))]
Writer = Annotated[Principal, Depends(Needs("sources:write"))]
SourceName = Annotated[str, Path(max_length=100)]


class NewSource(Body):
    """A root that jobs may read from."""

    model_config = example(name="crawl", root="/data/crawl", description="What we fetched ourselves")

    name: Name
    root: str = Field(min_length=1, max_length=2000, examples=["/data/crawl", "s3://crawls/2026"])
    description: str = Field(default="", max_length=2000)


class Source(BaseModel):
    """A declared root."""

    name: str
    root: str
    description: str
    created_at: str
    created_by: str


class FolderEntry(BaseModel):
    """A file or folder of a source."""

    path: str
    folder: bool
    bytes: int | None


class SourceList(BaseModel):
    """All sources, by name."""

    items: list[Source]


class Folder(BaseModel):
    """What lies in a folder, folders first, by name."""

    items: list[FolderEntry]
    total: int = Field(description="How many there are; 1,000 are listed.")


def source_of(row: RowMapping | Any) -> Source:
    """A row as the API shows it."""
    return Source(**{name: row[name] for name in ("name", "root", "description", "created_by")},
                  created_at=text_of(row["created_at"]))  # fmt: skip


@router.get("", summary="List sources")
def list_sources(context: Ctx, _: Reader) -> SourceList:
    with context.database.read() as connection:
        rows = connection.execute(select(sources).order_by(sources.c.name)).mappings()
        return SourceList(items=[source_of(row) for row in rows])


@router.post("", status_code=201, summary="Declare a source", responses=responses("conflict"))
def declare_source(new: NewSource, context: Ctx, principal: Writer) -> Source:
    try:
        root = check_root(new.root)
    except InputError as error:
        raise Problem("invalid", error.message, [Fault(pointer="/root", code="root", message=error.message)]) from None
    with context.database.write() as connection:
        now = context.database.now(connection)
        if is_taken(connection, sources, new.name):
            raise Problem("conflict", "there is a source of this name; a source never changes, declare another")
        values = {"id": new_id(now), "name": new.name, "root": root, "description": new.description,
                  "created_at": now, "created_by": principal.name}  # fmt: skip
        connection.execute(insert(sources).values(values))
        record(connection, principal.name, "source.declare", new.name, now, {"root": root})
        return source_of(values)


@router.get("/{name}", summary="One source", responses=responses("not-found"))
def get_source(name: SourceName, context: Ctx, _: Reader) -> Source:
    with context.database.read() as connection:
        return source_of(find_named(connection, sources, name))


@router.get("/{name}/objects", summary="Browse below a source", responses=responses("not-found"))
def browse_source(
    name: SourceName, context: Ctx, _: Reader,
    path: Annotated[str, Query(max_length=2000, description="Folder below the root.")] = "",
) -> Folder:  # fmt: skip
    with context.database.read() as connection:
        root = find_named(connection, sources, name)["root"]
    try:
        found = browse(root, path)
        return Folder(items=[FolderEntry(**vars(entry)) for entry in found[:LISTED]], total=len(found))
    except InputError as error:
        raise Problem(
            "invalid", error.message, [Fault(pointer="query/path", code="path", message=error.message)]
        ) from None
