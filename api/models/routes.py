"""``/models``: what trainings made; versions never change, aliases move."""

from __future__ import annotations

import logging
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Request, Response
from sqlalchemy import Connection, RowMapping, select

from api.access.principals import Principal
from api.datasets.files import FILE, Files, file_response
from api.http import pages
from api.http.context import Context, Ctx, Needs
from api.http.models import NoNul
from api.http.named import find_named, page_by_name
from api.http.times import text_of
from api.http.versioned import AliasName, Found, Ref
from api.models.shown import (
    Model,
    ModelAlias,
    ModelChange,
    ModelFile,
    ModelFileList,
    ModelLineage,
    ModelPage,
    ModelVersion,
    ModelVersionPage,
    RelatedModel,
    UsedDataset,
)
from api.models.store import MODELS
from api.problems import Problem, responses
from api.runs import store
from api.store.tables import model_inputs, model_versions, models, runs
from curation.errors import RunError
from pipelines.model_folder import read_manifest
from pipelines.storage import MANIFEST, Storage

router = APIRouter(prefix="/models", tags=["models"])
Reader = Annotated[Principal, Depends(Needs("models:read"))]
Writer = Annotated[Principal, Depends(Needs("models:write"))]
ModelName = Annotated[str, Path(max_length=100)]
THERE = responses("not-found", "conflict")
log = logging.getLogger("gristmill.files")


def model_of(connection: Connection, row: RowMapping) -> Model:
    """A row as the API shows it."""
    same = {name: row[name] for name in ("name", "description", "latest", "created_by")}
    return Model(**same, aliases=MODELS.named(connection, row), created_at=text_of(row["created_at"]))


def version_of(found: Found) -> ModelVersion:
    """A version's row as the API shows it."""
    row = found.version
    same = {name: row[name] for name in ("number", "digest", "kind", "family", "stage", "figures", "created_by")}
    return ModelVersion(**same, model=found.thing["name"], run=row["run_id"], created_at=text_of(row["created_at"]))


def _find(context: Context, name: str, ref: str) -> Found:
    with context.database.read() as connection:
        return MODELS.find(connection, name, ref)


@router.get("", summary="List models")
def list_models(context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> ModelPage:
    with context.database.read() as connection:
        rows, following = page_by_name(connection, models, limit, cursor)
        return ModelPage(items=[model_of(connection, row) for row in rows], next=following)


@router.get("/{name}", summary="One model", responses=responses("not-found"))
def get_model(name: ModelName, context: Ctx, _: Reader) -> Model:
    with context.database.read() as connection:
        return model_of(connection, find_named(connection, models, name))


@router.patch("/{name}", summary="Describe a model", responses=responses("not-found"))
def change_model(name: ModelName, change: ModelChange, context: Ctx, principal: Writer) -> Model:
    with context.database.write() as connection:
        now = context.database.now(connection)
        return model_of(connection, MODELS.describe(connection, name, change.description, principal.name, now))


@router.get("/{name}/versions", summary="Versions of a model", responses=responses("not-found"))
def list_model_versions(
    name: ModelName, context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None
) -> ModelVersionPage:  # fmt: skip
    with context.database.read() as connection:
        found, following = MODELS.page(connection, name, limit, cursor)
    return ModelVersionPage(items=[version_of(one) for one in found], next=following)


@router.get("/{name}/versions/{ref}", summary="One version of a model", responses=responses("not-found"))
def get_model_version(name: ModelName, ref: Ref, context: Ctx, _: Reader) -> ModelVersion:
    return version_of(_find(context, name, ref))


@router.get(
    "/{name}/versions/{ref}/lineage", summary="Run, datasets, models before and behind it",
    responses=responses("not-found"),
)  # fmt: skip
def get_model_lineage(name: ModelName, ref: Ref, context: Ctx, _: Reader) -> ModelLineage:
    with context.database.read() as connection:
        found = MODELS.find(connection, name, ref)
        run = store.find(connection, found.version["run_id"])
        given = {kind: _runs_given(connection, found.version, kind) for kind in ("training", "evaluation")}
        children = _children(connection, found.version)
    request = run["request"]
    datasets = [
        UsedDataset(dataset=d["name"], version=d["version"], role=d["role"], manifest_digest=d["manifest_digest"])
        for d in request["datasets"]
    ]
    parents = [RelatedModel(model=m["name"], version=m["version"], role=m["role"]) for m in request["models"]]
    return ModelLineage(
        run=run["id"], config=request["config"], datasets=datasets, parents=parents, children=children,
        trainings=given["training"], evaluations=given["evaluation"],
    )  # fmt: skip


def _runs_given(connection: Connection, version: RowMapping, kind: str) -> list[str]:
    """Runs of a kind that a version was given to, in the order of their submission."""
    query = select(runs.c.id).join(model_inputs, model_inputs.c.run_id == runs.c.id).distinct()
    query = query.where(*_is(version), runs.c.kind == kind).order_by(runs.c.id)
    return list(connection.execute(query).scalars())


def _children(connection: Connection, version: RowMapping) -> list[RelatedModel]:
    """Versions whose training was given this one."""
    query = (
        select(models.c.name, model_versions.c.number, model_inputs.c.role)
        .join(model_versions, model_versions.c.run_id == model_inputs.c.run_id)
        .join(models, models.c.id == model_versions.c.model_id)
        .where(*_is(version))
        .order_by(models.c.name, model_versions.c.number, model_inputs.c.role)
    )
    return [RelatedModel(model=n, version=v, role=role) for n, v, role in connection.execute(query).tuples()]


def _is(version: RowMapping) -> tuple[Any, Any]:
    return model_inputs.c.model_id == version["model_id"], model_inputs.c.number == version["number"]


def files_of(version: RowMapping) -> tuple[Storage, Files]:
    """The folder of a version, and every file in it, the manifest among them.

    Raises:
        Problem: the folder is not there, or holds another model by now.
    """
    storage = Storage(version["location"])
    try:
        digest, files = read_manifest(storage)
    except RunError as error:
        log.warning("the files of a model cannot be read: %s", error)
        raise Problem("conflict", "the files of this model cannot be read; the service's log says why") from None
    if digest != version["digest"]:
        raise Problem("conflict", "the folder of this model holds another manifest than the one that was registered")
    return storage, {**files, MANIFEST: {"bytes": storage.size(MANIFEST), "digest": digest}}


@router.get("/{name}/versions/{ref}/files", summary="Every file of a model", responses=THERE)
def list_model_files(name: ModelName, ref: Ref, context: Ctx, _: Reader) -> ModelFileList:
    found = _find(context, name, ref)
    base = f"/api/v1/models/{name}/versions/{found.version['number']}/files"
    _storage, files = files_of(found.version)
    items = [
        ModelFile(path=path, bytes=entry["bytes"], digest=entry["digest"], url=f"{base}/{quote(path)}")
        for path, entry in sorted(files.items())
    ]
    return ModelFileList(items=items)


@router.get("/{name}/versions/{ref}/files/{path:path}", summary="One file of a model, or a range of it",
            response_class=Response, responses=FILE)  # fmt: skip
def get_model_file(name: ModelName, ref: Ref, path: NoNul, request: Request, context: Ctx, _: Reader) -> Response:
    return file_response(*files_of(_find(context, name, ref).version), path, request)


@router.head("/{name}/versions/{ref}/files/{path:path}", summary="Size and digest of a file of a model",
             response_class=Response, responses=FILE)  # fmt: skip
def head_model_file(name: ModelName, ref: Ref, path: NoNul, request: Request, context: Ctx, _: Reader) -> Response:
    return file_response(*files_of(_find(context, name, ref).version), path, request)


@router.put("/{name}/aliases/{alias}", summary="Let an alias stand for a version of a model",
            responses=responses("not-found"))  # fmt: skip
def set_model_alias(name: ModelName, alias: AliasName, target: ModelAlias, context: Ctx, principal: Writer) -> Model:
    with context.database.write() as connection:
        now = context.database.now(connection)
        return model_of(connection, MODELS.set_alias(connection, name, alias, target.version, principal.name, now))


@router.delete("/{name}/aliases/{alias}", status_code=204, summary="Remove an alias of a model",
               responses=responses("not-found"))  # fmt: skip
def remove_model_alias(name: ModelName, alias: AliasName, context: Ctx, principal: Writer) -> None:
    with context.database.write() as connection:
        MODELS.remove_alias(connection, name, alias, principal.name, context.database.now(connection))
