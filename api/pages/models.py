"""``/models``: what trainings made, where it comes from, and what came of it."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.http.versioned import AliasName, Ref
from api.models.routes import (
    ModelName,
    change_model,
    get_model,
    get_model_lineage,
    get_model_version,
    list_model_files,
    list_model_versions,
    list_models,
    remove_model_alias,
    set_model_alias,
)
from api.models.shown import Model, ModelAlias, ModelChange, ModelFileList
from api.pages.forms import body_of, tried
from api.pages.render import page, query
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Fault, Problem

router = APIRouter(prefix="/models", include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("models:read"))]
Writes = Annotated[Visitor, Depends(Visits("models:read", "models:write"))]
Cursor = Annotated[str | None, Query(max_length=500)]
_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,99}")


@router.get("", name="page_models")
def page_models(visitor: Reads, cursor: Cursor = None) -> Response:
    found = list_models(visitor.context, visitor.principal, 50, cursor or None)
    latest = [get_model_version(one.name, "latest", visitor.context, visitor.principal) for one in found.items]
    return page(
        visitor, "models.html", models=list(zip(found.items, latest, strict=True)),
        following=f"/models{query(cursor=found.next)}" if found.next else None,
    )  # fmt: skip


@router.get("/{name}", name="page_model")
def page_model(name: ModelName, visitor: Reads, cursor: Cursor = None) -> Response:
    return _model(visitor, name, cursor)


def _model(
    visitor: Visitor, name: str, cursor: str | None = None, problem: Problem | None = None,
    given: dict[str, Any] | None = None,
) -> Response:  # fmt: skip
    model = get_model(name, visitor.context, visitor.principal)
    found = list_model_versions(name, visitor.context, visitor.principal, 50, cursor or None)
    figures = sorted({figure for one in found.items for figure, value in one.figures.items() if _plain(value)})
    return page(
        visitor, "model.html", problem.status if problem else 200, model=model, versions=found.items, problem=problem,
        following=f"/models/{name}{query(cursor=found.next)}" if found.next else None, figures=figures[:6],
        named={number: [a for a, n in model.aliases.items() if n == number] for number in model.aliases.values()},
        given=given or {},
    )  # fmt: skip


def _plain(value: Any) -> bool:
    return isinstance(value, int | float | str)


@router.post("/{name}/describe", name="page_describe_model")
def page_describe_model(name: ModelName, visitor: Writes, form: Form) -> Response:
    body = {"description": form.get("description", "")}
    made, problem = tried(lambda: change_model(name, body_of(ModelChange, body), visitor.context, visitor.principal))
    if made is None:
        return _model(visitor, name, problem=problem, given=body)
    return RedirectResponse(f"/models/{name}", 303)


@router.post("/{name}/aliases", name="page_set_model_alias")
def page_set_model_alias(name: ModelName, visitor: Writes, form: Form) -> Response:
    given = {"alias": form.get("alias", "").strip(), "version": form.get("version", "").strip()}

    def move() -> Model:
        if not _ALIAS.fullmatch(given["alias"]):
            message = "begins with a small letter; small letters, digits, '.', '_' and '-' follow"
            raise Problem("invalid", "1 thing(s) are wrong", [Fault(pointer="/alias", code="alias", message=message)])
        target = body_of(ModelAlias, {"version": given["version"]})
        return set_model_alias(name, given["alias"], target, visitor.context, visitor.principal)

    made, problem = tried(move)
    if made is None:
        return _model(visitor, name, problem=problem, given=given)
    return RedirectResponse(f"/models/{name}", 303)


@router.get("/{name}/aliases/{alias}/remove", name="page_ask_remove_model_alias")
def page_ask_remove_model_alias(name: ModelName, alias: AliasName, visitor: Writes) -> Response:
    model = get_model(name, visitor.context, visitor.principal)
    if alias not in model.aliases:
        raise Problem("not-found", "there is no such alias")
    return page(visitor, "model_alias.html", model=model, alias=alias)


@router.post("/{name}/aliases/{alias}/remove", name="page_remove_model_alias")
def page_remove_model_alias(name: ModelName, alias: AliasName, visitor: Writes, _: Form) -> Response:
    remove_model_alias(name, alias, visitor.context, visitor.principal)
    return RedirectResponse(f"/models/{name}", 303)


@router.get("/{name}/versions/{ref}", name="page_model_version")
def page_model_version(name: ModelName, ref: Ref, visitor: Reads) -> Response:
    version = get_model_version(name, ref, visitor.context, visitor.principal)
    lineage = get_model_lineage(name, ref, visitor.context, visitor.principal)
    files, problem = tried(lambda: list_model_files(name, ref, visitor.context, visitor.principal))
    return page(
        visitor, "model_version.html", version=version, lineage=lineage, files=(files or ModelFileList(items=[])).items,
        problem=problem, config=json.dumps(lineage.config, indent=2, ensure_ascii=False),
    )  # fmt: skip
