"""``/datasets``: what runs published: versions, aliases, cards, rows, files, where it all came from."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.datasets.models import AliasTarget, DatasetChange, Publication, RowPage
from api.datasets.routes import (
    DatasetName,
    change_dataset,
    diff_versions,
    get_card,
    get_dataset,
    get_lineage,
    get_statistics,
    get_version,
    list_datasets,
    list_files,
    list_groups,
    list_rows,
    list_versions,
    publish_version,
    remove_alias,
    set_alias,
)
from api.http.versioned import AliasName, Ref
from api.pages.markdown import card
from api.pages.render import page
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Fault, Problem
from api.runs.routes import get_run, list_runs
from api.runs.store import NoSuchRun

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("datasets:read"))]
Writes = Annotated[Visitor, Depends(Visits("datasets:read", "datasets:write"))]
Cursor = Annotated[str | None, Query(max_length=500)]
Text = Annotated[str, Query(max_length=500)]
ROWS = 10
SHARDS = 50  # inputs that a picture of lineage names
FAMILIES = ("source", "language", "split", "domain")  # columns that rows can be chosen by


def _there(name: str, *more: str) -> str:
    """Address of a dataset's page; what forms give stays one segment."""
    return "/".join(["/datasets", quote(name, safe=""), *more])


@router.get("/datasets", name="page_datasets")
def page_datasets(visitor: Reads, cursor: Cursor = None) -> Response:
    return page(visitor, "datasets.html", found=list_datasets(visitor.context, visitor.principal, 50, cursor))


@router.get("/datasets/{name}", name="page_dataset")
def page_dataset(name: DatasetName, visitor: Reads, cursor: Cursor = None) -> Response:
    return _dataset(visitor, name, cursor)


def _dataset(
    visitor: Visitor, name: str, cursor: str | None = None, problem: Problem | None = None, given: Any = None
) -> Response:
    """The page of a dataset; with what was refused, and what was given, where a form was."""
    versions = list_versions(name, visitor.context, visitor.principal, 50, cursor)
    runs = []
    if visitor.may("datasets:write") and visitor.may("runs:read"):
        found = list_runs(visitor.context, visitor.principal, 50, state="succeeded", kind="curate")
        runs = [run for run in found.items if not (run.result or {}).get("nothing_new")]
    return page(
        visitor, "dataset.html", 200 if problem is None else 422,
        dataset=get_dataset(name, visitor.context, visitor.principal), versions=versions, runs=runs, problem=problem,
        given=given or {},
    )  # fmt: skip


@router.post("/datasets/{name}/describe", name="page_describe_dataset")
def page_describe(name: DatasetName, visitor: Writes, form: Form) -> Response:
    try:
        change = DatasetChange(description=form.get("description", ""))
        change_dataset(name, change, visitor.context, visitor.principal)
    except (ValidationError, Problem) as error:
        return _dataset(visitor, name, problem=_refused(error), given=form)
    return RedirectResponse(_there(name), 303)


@router.post("/datasets/{name}/aliases", name="page_set_alias")
def page_set_alias(name: DatasetName, visitor: Writes, form: Form) -> Response:
    alias = form.get("alias", "").strip()
    try:
        if not alias or not _is_alias(alias):
            message = "begins with a small letter; small letters, digits, '.', '_' and '-' follow"
            raise Problem("invalid", "This alias cannot be:", [Fault(pointer="/alias", code="alias", message=message)])
        target = AliasTarget.model_validate({"version": form.get("version", "")})
        set_alias(name, alias, target, visitor.context, visitor.principal)
    except (ValidationError, Problem) as error:
        return _dataset(visitor, name, problem=_refused(error), given=form)
    return RedirectResponse(_there(name), 303)


def _is_alias(text: str) -> bool:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return text[0] in letters and len(text) <= 100 and all(c in letters + "0123456789._-" for c in text)


@router.post("/datasets/{name}/aliases/{alias}/remove", name="page_remove_alias")
def page_remove_alias(name: DatasetName, alias: AliasName, visitor: Writes) -> Response:
    remove_alias(name, alias, visitor.context, visitor.principal)
    return RedirectResponse(_there(name), 303)


@router.post("/datasets/{name}/versions", name="page_publish_version")
def page_publish(name: DatasetName, visitor: Writes, form: Form) -> Response:
    try:
        new = Publication(run=form.get("run", "").strip())
        version = publish_version(name, new, visitor.context, visitor.principal)
    except NoSuchRun:
        return _dataset(visitor, name, problem=Problem("invalid", "There is no such run."), given=form)
    except (ValidationError, Problem) as error:
        return _dataset(visitor, name, problem=_refused(error), given=form)
    return RedirectResponse(_there(name, "versions", str(version.number)), 303)


def _refused(error: ValidationError | Problem) -> Problem:
    """What the API would answer to the same; 404 stays one."""
    if isinstance(error, Problem):
        if error.code == "not-found" and not error.errors:
            return Problem("invalid", error.detail or "There is no such thing.")
        return error
    faults = [
        Fault(pointer="/" + "/".join(map(str, one["loc"])), code=one["type"], message=one["msg"])
        for one in error.errors()
    ]
    return Problem("invalid", "This cannot be:", faults)


@router.get("/datasets/{name}/versions/{ref}", name="page_version")
def page_version(name: DatasetName, ref: Ref, visitor: Reads) -> Response:
    version = get_version(name, ref, visitor.context, visitor.principal)
    front, told = card(bytes(get_card(name, ref, visitor.context, visitor.principal).body).decode("utf-8", "replace"))
    lineage = get_lineage(name, ref, visitor.context, visitor.principal)
    return page(
        visitor, "dataset_version.html", version=version, dataset=_kind(visitor, name), front=front, card=told,
        lineage=lineage, origin=_origin(lineage), trainings=_trainings(visitor, lineage.trainings), tab="card",
        groups=_groups(visitor, name, ref, [column.name for column in version.columns]),
        recipe=json.dumps(lineage.recipe, indent=1, ensure_ascii=False), shards=SHARDS,
    )  # fmt: skip


def _kind(visitor: Visitor, name: str) -> Any:
    return get_dataset(name, visitor.context, visitor.principal)


def _groups(visitor: Visitor, name: str, ref: str, columns: list[str]) -> list[tuple[str, Any]]:
    """Rows by each column that they can be chosen by."""
    found = []
    for by in FAMILIES:
        if by in columns:
            groups = list_groups(name, ref, visitor.context, visitor.principal, by, 12)  # type: ignore[arg-type]
            if groups.items and not (groups.total == 1 and groups.items[0].name is None):
                found.append((by, groups))
    return found


def _origin(lineage: Any) -> list[tuple[str, int]]:
    """Folders that the inputs lie in, and how many files of each."""
    counts: dict[str, int] = {}
    for shard in lineage.inputs:
        folder = shard["name"].rpartition("/")[0] or "files without a folder"
        counts[folder] = counts.get(folder, 0) + 1
    return sorted(counts.items())


def _trainings(visitor: Visitor, ids: list[str]) -> list[dict[str, Any]]:
    """Trainings that read a version, each with the version of a model that it made."""
    found = []
    for id_ in ids[:20]:
        run = get_run(id_, visitor.request, Response(), visitor.context, visitor.principal)
        made = (run.result or {}).get("registered")
        found.append({"run": run, "models": [made] if made else []})
    return found


@router.get("/datasets/{name}/versions/{ref}/rows", name="page_rows")
def page_rows(
    name: DatasetName, ref: Ref, visitor: Reads, cursor: Cursor = None, source: Text = "", language: Text = "",
    split: Text = "", domain: Text = "",
) -> Response:  # fmt: skip
    version = get_version(name, ref, visitor.context, visitor.principal)
    chosen = {"source": source, "language": language, "split": split, "domain": domain}
    found, problem = RowPage(items=[], next=None), None
    try:
        found = list_rows(
            name, ref, visitor.context, visitor.principal, ROWS, cursor or None,
            **{column: value or None for column, value in chosen.items()},  # type: ignore[arg-type]
        )  # fmt: skip
    except Problem as refused:
        if refused.code != "invalid":
            raise
        problem = refused
    return page(
        visitor, "dataset_rows.html", 422 if problem else 200, version=version, dataset=_kind(visitor, name),
        found=found, problem=problem, tab="rows", chosen={name: value for name, value in chosen.items() if value},
        groups=_groups(visitor, name, ref, [column.name for column in version.columns]),
    )  # fmt: skip


@router.get("/datasets/{name}/versions/{ref}/files", name="page_files")
def page_files(name: DatasetName, ref: Ref, visitor: Reads) -> Response:
    return page(
        visitor, "dataset_files.html", version=get_version(name, ref, visitor.context, visitor.principal), tab="files",
        files=list_files(name, ref, visitor.context, visitor.principal).items, dataset=_kind(visitor, name),
    )  # fmt: skip


@router.get("/datasets/{name}/versions/{ref}/statistics", name="page_version_statistics")
def page_statistics(name: DatasetName, ref: Ref, visitor: Reads) -> Response:
    told = get_statistics(name, ref, visitor.context, visitor.principal)
    named = [(by, _ranked(told.get(by, {}))) for by in ("languages", "domains")]
    stages = [(stage, told["stages"][stage]) for stage in told["stages_in_order"] if stage in told["stages"]]
    return page(
        visitor, "dataset_statistics.html", version=get_version(name, ref, visitor.context, visitor.principal),
        dataset=_kind(visitor, name), tab="statistics", told=told, named=named, stages=stages,
    )  # fmt: skip


def _ranked(groups: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Groups by how much of them is kept."""
    ordered = sorted(groups.items(), key=lambda one: (-one[1]["kept"]["documents"], one[0]))
    return [one for one in ordered if any(amount["documents"] for amount in one[1].values())][:50]


@router.get("/datasets/{name}/diff", name="page_diff")
def page_diff(name: DatasetName, visitor: Reads, request: Request, first: Text = "", second: Text = "") -> Response:
    diff, problem = None, None
    if first and second:
        try:
            diff = diff_versions(name, visitor.context, visitor.principal, first, second, 10)
        except Problem as refused:
            problem = Problem("invalid", refused.detail or "These cannot be compared.")
    return page(
        visitor, "dataset_diff.html", 422 if problem else 200, dataset=_kind(visitor, name), diff=diff, problem=problem,
        first=first, second=second,
        versions=list_versions(name, visitor.context, visitor.principal, 200).items,
        runs=None if diff is None else _runs_of(visitor, name, diff.first, diff.second),
    )  # fmt: skip


def _runs_of(visitor: Visitor, name: str, *numbers: int) -> list[str]:
    return [get_version(name, str(number), visitor.context, visitor.principal).run for number in numbers]
