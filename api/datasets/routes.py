"""``/datasets``: what runs published; versions never change, aliases move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
import pyarrow.compute as pc
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from sqlalchemy import Connection, RowMapping, select

from api.access.audit import record
from api.access.principals import Principal
from api.datasets.files import FILE, entries, file_response
from api.datasets.models import (
    AliasTarget,
    Column,
    Dataset,
    DatasetChange,
    DatasetPage,
    FileEntry,
    FileList,
    Lineage,
    Publication,
    RowGroup,
    RowGroups,
    RowPage,
    Version,
    VersionDetail,
    VersionDiff,
    VersionPage,
)
from api.datasets.store import DATASETS, other_kind, publish_run
from api.http import pages
from api.http.context import Context, Ctx, Needs
from api.http.models import NoNul
from api.http.named import find_named, page_by_name
from api.http.times import text_of
from api.http.versioned import AliasName, Found, Ref
from api.problems import Fault, Problem, responses
from api.runs import store
from api.runs.states import SUCCEEDED
from api.statistics.finished import open_location
from api.store.tables import datasets, runs, training_inputs
from pipelines.kinds import kind_of
from pipelines.look import FinishedRun
from pipelines.rows import Rows
from pipelines.version_diff import version_diff

router = APIRouter(prefix="/datasets", tags=["datasets"])
Reader = Annotated[Principal, Depends(Needs("datasets:read"))]
Writer = Annotated[Principal, Depends(Needs("datasets:write"))]
DatasetName = Annotated[str, Path(max_length=100)]
THERE = responses("not-found", "conflict")
Word = Annotated[NoNul, Query(max_length=500)]
CELL = 2000  # characters of a text in a preview


def _find(context: Context, name: str, ref: str) -> Found:
    with context.database.read() as connection:
        return DATASETS.find(connection, name, ref)


def _open(found: Found) -> FinishedRun:
    """The files of a version."""
    return open_location(found.version["location"], found.version["manifest_digest"])


def dataset_of(connection: Connection, row: RowMapping) -> Dataset:
    """A row as the API shows it."""
    same = {name: row[name] for name in ("name", "kind", "description", "latest", "created_by")}
    return Dataset(**same, aliases=DATASETS.named(connection, row), created_at=text_of(row["created_at"]))


def version_of(found: Found) -> dict[str, Any]:
    """A version's row as the API shows it."""
    row = found.version
    same = {name: row[name] for name in ("number", "manifest_digest", "facts", "created_by")}
    return {**same, "dataset": found.thing["name"], "run": row["run_id"], "created_at": text_of(row["created_at"])}


@router.get("", summary="List datasets")
def list_datasets(context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> DatasetPage:
    with context.database.read() as connection:
        rows, following = page_by_name(connection, datasets, limit, cursor)
        return DatasetPage(items=[dataset_of(connection, row) for row in rows], next=following)


@router.get("/{name}", summary="One dataset", responses=responses("not-found"))
def get_dataset(name: DatasetName, context: Ctx, _: Reader) -> Dataset:
    with context.database.read() as connection:
        return dataset_of(connection, find_named(connection, datasets, name))


@router.patch("/{name}", summary="Describe a dataset", responses=responses("not-found"))
def change_dataset(name: DatasetName, change: DatasetChange, context: Ctx, principal: Writer) -> Dataset:
    with context.database.write() as connection:
        now = context.database.now(connection)
        return dataset_of(connection, DATASETS.describe(connection, name, change.description, principal.name, now))


@router.get("/{name}/versions", summary="Versions of a dataset", responses=responses("not-found"))
def list_versions(
    name: DatasetName, context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None
) -> VersionPage:  # fmt: skip
    with context.database.read() as connection:
        found, following = DATASETS.page(connection, name, limit, cursor)
    return VersionPage(items=[Version(**version_of(one)) for one in found], next=following)


@router.post(
    "/{name}/versions", status_code=201, summary="Publish a finished run as the next version",
    responses=responses("not-found", "conflict"),
)  # fmt: skip
def publish_version(name: DatasetName, new: Publication, context: Ctx, principal: Writer) -> Version:
    """A run that is a version of this dataset already stays that one."""
    if not _is_name(name):
        raise Problem("invalid", errors=[Fault(pointer="path/name", code="name", message="this is no dataset's name")])
    with context.database.read() as connection:
        run = store.find(connection, new.run)
    if run["kind"] != "curate" or run["state"] != SUCCEEDED or (run["result"] or {}).get("nothing_new"):
        raise Problem("conflict", f"only a finished corpus is published; this run of kind {run['kind']} has none")
    with context.database.read() as connection:
        other = other_kind(connection, name, kind_of(run["request"]["recipe"]))
    if other is not None:
        raise Problem("conflict", f"this dataset is of kind {other}, the run made {kind_of(run['request'])}")
    open_location(run["output"], run["result"]["manifest_digest"])  # what is not there is not published
    with context.database.write() as connection:
        now = context.database.now(connection)
        row = publish_run(connection, run, name, principal.name, now)
        record(connection, principal.name, "dataset.publish", name, now, {"run": run["id"], "version": row["number"]})
        return Version(**version_of(Found(find_named(connection, datasets, name), row)))


def _is_name(name: str) -> bool:
    return name[:1].isalnum() and all(c in "abcdefghijklmnopqrstuvwxyz0123456789._-" for c in name)


@router.get("/{name}/versions/{ref}", summary="One version, with its schema", responses=THERE)
def get_version(name: DatasetName, ref: Ref, context: Ctx, _: Reader) -> VersionDetail:
    found = _find(context, name, ref)
    fields = _open(found).corpus().schema
    columns = [Column(name=f.name, type=str(f.type), description=_description(f)) for f in fields]
    return VersionDetail(**version_of(found), columns=columns)


def _description(field: Any) -> str | None:
    said = (field.metadata or {}).get(b"description")
    return said.decode() if said else None


@router.get(
    "/{name}/versions/{ref}/card", summary="Dataset card, Markdown", response_class=Response,
    responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}, **THERE},
)  # fmt: skip
def get_card(name: DatasetName, ref: Ref, context: Ctx, _: Reader) -> Response:
    card = _open(_find(context, name, ref)).storage.read("README.md")
    return Response(card, media_type="text/markdown; charset=utf-8")


@router.get("/{name}/versions/{ref}/statistics", summary="Statistics as the run wrote them", responses=THERE)
def get_statistics(name: DatasetName, ref: Ref, context: Ctx, _: Reader) -> dict[str, Any]:
    return _open(_find(context, name, ref)).statistics


@router.get("/{name}/versions/{ref}/lineage", summary="Run, recipe, inputs, models", responses=THERE)
def get_lineage(name: DatasetName, ref: Ref, context: Ctx, _: Reader) -> Lineage:
    found = _find(context, name, ref)
    told = _open(found).run
    with context.database.read() as connection:
        run = store.find(connection, found.version["run_id"])
        given = {kind: _runs_given(connection, found, kind) for kind in ("training", "evaluation")}
    models = [{"stage": stage["stage"], **stage["facts"]} for stage in told["stages"] if stage["facts"]]
    inputs = [{name: shard[name] for name in ("name", "size", "digest", "identity")} for shard in told["shards"]]
    return Lineage(
        run=run["id"], parent=run["parent_id"], schedule=run["schedule_id"], pipeline=run["pipeline_id"],
        revision=run["revision"], recipe=told["recipe"], inputs=inputs, earlier=told["earlier"], models=models,
        versions=told["versions"], trainings=given["training"], evaluations=given["evaluation"],
    )  # fmt: skip


def _runs_given(connection: Connection, found: Found, kind: str) -> list[str]:
    """Runs of a kind that a version was given to, in the order of their submission."""
    query = select(runs.c.id).join(training_inputs, training_inputs.c.run_id == runs.c.id).where(runs.c.kind == kind)
    is_it = training_inputs.c.dataset_id == found.thing["id"], training_inputs.c.number == found.version["number"]
    return list(connection.execute(query.where(*is_it).order_by(runs.c.id)).scalars())


@router.get("/{name}/versions/{ref}/files", summary="Every file of a version", responses=THERE)
def list_files(name: DatasetName, ref: Ref, context: Ctx, _: Reader) -> FileList:
    found = _find(context, name, ref)
    base = f"/api/v1/datasets/{name}/versions/{found.version['number']}/files"
    items = [
        FileEntry(
            path=path, bytes=entry["bytes"], digest=entry["digest"], rows=entry.get("rows"), url=f"{base}/{quote(path)}"
        )
        for path, entry in sorted(entries(_open(found)).items())
    ]
    return FileList(items=items)


@router.get("/{name}/versions/{ref}/files/{path:path}", summary="One file, or a range of it", response_class=Response,
            responses=FILE)  # fmt: skip
def get_file(name: DatasetName, ref: Ref, path: NoNul, request: Request, context: Ctx, _: Reader) -> Response:
    run = _open(_find(context, name, ref))
    return file_response(run.storage, entries(run), path, request)


@router.head("/{name}/versions/{ref}/files/{path:path}", summary="Size and digest of a file", response_class=Response,
             responses=FILE)  # fmt: skip
def head_file(name: DatasetName, ref: Ref, path: NoNul, request: Request, context: Ctx, _: Reader) -> Response:
    run = _open(_find(context, name, ref))
    return file_response(run.storage, entries(run), path, request)


@router.get("/{name}/versions/{ref}/rows", summary="Rows of the corpus", responses=THERE)
def list_rows(
    name: DatasetName, ref: Ref, context: Ctx, _: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 20, cursor: pages.Cursor = None,
    full: Annotated[bool, Query(description="Whole texts instead of their beginnings.")] = False,
    source: Word | None = None, language: Word | None = None, split: Word | None = None, domain: Word | None = None,
) -> RowPage:  # fmt: skip
    """Of rows that have these values; a column that the corpus has not is refused."""
    found = _find(context, name, ref)
    given = {"source": source, "language": language, "split": split, "domain": domain}
    wanted = {column: value for column, value in given.items() if value is not None}
    filters = {"dataset": name, "version": found.version["number"], **wanted}
    place = pages.decode(cursor, filters, (int, int))
    corpus, after = _open(found).corpus(), (place[0], place[1]) if place else None
    _check_columns(corpus, wanted)
    places = list(islice(_places(corpus, after, wanted), limit + 1))
    items = [_cut(row, full) for row in corpus.rows(places[:limit], corpus.schema.names)]
    following = pages.encode(list(places[limit - 1]), filters) if len(places) > limit else None
    return RowPage(items=items, next=following)


def _check_columns(corpus: Rows, wanted: Collection[str]) -> None:
    there = corpus.schema.names
    faults = [
        Fault(pointer=f"query/{name}", code="column", message="this corpus has no such column")
        for name in wanted
        if name not in there
    ]
    if faults and there:
        raise Problem("invalid", errors=faults)


def _places(corpus: Rows, after: tuple[int, int] | None, wanted: Mapping[str, str]) -> Any:
    for stretch in corpus.stretches(list(wanted) or [corpus.id_name], after):
        fits = np.ones(stretch.table.num_rows, bool)
        for name, value in wanted.items():
            same = pc.fill_null(pc.equal(stretch.table.column(name), value), False)
            fits &= np.asarray(same.to_numpy(zero_copy_only=False), bool)
        for row in (np.flatnonzero(fits) + stretch.first).tolist():
            if after is None or (stretch.file, row) > after:
                yield stretch.file, row


@router.get("/{name}/versions/{ref}/groups", summary="Rows by source, language, split or domain", responses=THERE)
def list_groups(
    name: DatasetName, ref: Ref, context: Ctx, _: Reader, by: Literal["source", "language", "split", "domain"],
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> RowGroups:  # fmt: skip
    run = _open(_find(context, name, ref))
    _check_columns(run.corpus(), [by])
    counts = _groups(run, by)
    items = [RowGroup(name=value, rows=count) for value, count in counts[:limit]]
    return RowGroups(items=items, total=len(counts))


@lru_cache(maxsize=256)  # a version never changes
def _groups(run: FinishedRun, by: str) -> tuple[tuple[str | None, int], ...]:
    counts: Counter[str | None] = Counter()
    for stretch in run.corpus().stretches([by]):
        for entry in pc.value_counts(stretch.table.column(by)).to_pylist():
            counts[entry["values"]] += entry["counts"]
    return tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0] or "")))


def _cut(row: dict[str, Any], full: bool) -> dict[str, Any]:
    """A row as JSON; long texts end with an ellipsis."""
    plain: dict[str, Any] = jsonable_encoder(row)
    if full:
        return plain
    return {name: _short(value) for name, value in plain.items()}


def _short(value: Any) -> Any:
    """A text, or each text of some messages, with an ellipsis where it was cut."""
    if isinstance(value, str):
        return value[:CELL] + "…" if len(value) > CELL else value
    if isinstance(value, list):
        return [_short(one) for one in value]
    return {name: _short(one) for name, one in value.items()} if isinstance(value, dict) else value


@router.get("/{name}/diff", summary="What differs between two versions", responses=THERE)
def diff_versions(
    name: DatasetName, context: Ctx, _: Reader,
    first: Annotated[str, Query(max_length=100, description="Number, alias or `latest`.")],
    second: Annotated[str, Query(max_length=100, description="Number, alias or `latest`.")],
    samples: Annotated[int, Query(ge=0, le=100)] = 5,
) -> VersionDiff:  # fmt: skip
    with context.database.read() as connection:
        sides = [DATASETS.find(connection, name, ref) for ref in (first, second)]
    numbers = {"first": sides[0].version["number"], "second": sides[1].version["number"]}
    return VersionDiff(**numbers, **version_diff(_open(sides[0]), _open(sides[1]), samples))


@router.put("/{name}/aliases/{alias}", summary="Let an alias stand for a version", responses=responses("not-found"))
def set_alias(name: DatasetName, alias: AliasName, target: AliasTarget, context: Ctx, principal: Writer) -> Dataset:
    with context.database.write() as connection:
        now = context.database.now(connection)
        return dataset_of(connection, DATASETS.set_alias(connection, name, alias, target.version, principal.name, now))


@router.delete("/{name}/aliases/{alias}", status_code=204, summary="Remove an alias", responses=responses("not-found"))
def remove_alias(name: DatasetName, alias: AliasName, context: Ctx, principal: Writer) -> None:
    with context.database.write() as connection:
        DATASETS.remove_alias(connection, name, alias, principal.name, context.database.now(connection))
