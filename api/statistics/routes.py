"""``/runs/{id}/funnel`` and what else there is to say of a finished run: stages, rules, documents, what-if, compare."""

from __future__ import annotations

from collections.abc import Sequence
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import select

from api.access.principals import Principal
from api.http import pages
from api.http.context import Ctx, Needs
from api.http.models import NoNul
from api.problems import Fault, Problem, pointer, responses
from api.runs.routes import RunId
from api.statistics.finished import OfRun, finished_run
from api.statistics.models import (
    Amount,
    Breakdown,
    Comparison,
    Contradiction,
    Diff,
    DiffPiece,
    Document,
    DocumentPage,
    DocumentRow,
    Duplicates,
    Funnel,
    FunnelRow,
    Histogram,
    Judged,
    Measured,
    MeasureList,
    MeasureSummary,
    Neighbours,
    Objected,
    Overlap,
    OverlapList,
    RuleList,
    RuleSummary,
    SetSummary,
    SourceRecord,
    StageList,
    StageSummary,
    Verdict,
    WhatIfAnswer,
    WhatIfRequest,
)
from api.store.tables import sources
from curation.errors import InputError
from curation.read import clean
from pipelines.browse import GROUPS, Wanted, breakdown, documents, documents_by_id, histogram, nearest, neighbours
from pipelines.compare import compare
from pipelines.differences import differences
from pipelines.duplicates import duplicates
from pipelines.explained import describes, unit_of
from pipelines.funnel import funnel
from pipelines.look import FinishedRun
from pipelines.objections import objections
from pipelines.raw import SourceError, raw_record
from pipelines.roots import inside
from pipelines.statistics import mean_of
from pipelines.what_if.child import TooMuchMemoryError, TooSlowError, ask_in_child

assert GROUPS == ("language", "domain", "host")
By = Literal["language", "domain", "host"]
Run = Annotated[FinishedRun, OfRun]
Reader = Annotated[Principal, Depends(Needs("statistics:read"))]
TextReader = Annotated[Principal, Depends(Needs("documents:read"))]
Word = Annotated[NoNul, Query(max_length=500)]
DocumentId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Id of the document.")]
WHAT_IF_SECONDS = 30.0
WHAT_IF_MEMORY = 4 << 30  # bytes of address space; what is used is far less
_QUESTIONS = BoundedSemaphore(2)  # what-ifs at once
_NOBODY = "no record of this run has that id"
NEAREST = 200  # documents nearest to a threshold, at most
EXCERPT = 600  # characters of a text in a list
UNFINISHED = responses("not-found", "conflict")
router = APIRouter(prefix="/runs/{run_id}", tags=["statistics"], responses=UNFINISHED)


@router.get("/funnel", summary="Documents and tokens: read, lost for each reason, kept")
def get_funnel(_: Reader, run: Run) -> Funnel:
    rows = [FunnelRow(**vars(row)) for row in funnel(run.statistics)]
    languages = {
        name: sum(amount["documents"] for amount in found.values())
        for name, found in run.statistics["languages"].items()
    }  # fmt: skip
    return Funnel(rows=rows, records=run.statistics["records"], tokens=run.statistics["tokens"], languages=languages)


@router.get("/stages", summary="What each stage did")
def list_stages(_: Reader, run: Run) -> StageList:
    items = []
    for name in run.statistics["stages_in_order"]:
        counts = run.statistics["stages"].get(name)
        if counts is not None:
            items.append(
                StageSummary(
                    stage=name, documents_in=Amount(**counts["in"]), kept=Amount(**counts["kept"]),
                    dropped=counts["dropped"], quarantined=counts["quarantined"],
                )
            )  # fmt: skip
    return StageList(items=items)


@router.get("/set", summary="What was found among all entries together: conflicts, cycles, repetitions, lengths, split")
def get_set(_: Reader, run: Run) -> SetSummary:
    summary = run.statistics.get("hygiene")
    if summary is None:
        raise Problem("not-found", "this run compared no entries as a set")
    examples = [Contradiction(kind=kind, id=one, against=other) for _, kind, one, other in summary["examples"]]
    return SetSummary(**{**summary, "examples": examples})


@router.get("/duplicates", summary="What was repeated: similarities, families, groups, and what repeats what")
def get_duplicates(_: Reader, run: Run, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Duplicates:
    """`limit` is the length of each list that has no end of its own."""
    found = duplicates(run, limit)
    if found is None:
        raise Problem("not-found", "this run compared no documents")
    return Duplicates(**found)


@router.get("/rules", summary="Every rule with its thresholds and what it did")
def list_rules(_: Reader, run: Run) -> RuleList:
    return RuleList(items=[RuleSummary(**rule) for rule in run.rule_counts()])


@router.get("/overlap", summary="Rules that fail together")
def list_overlap(_: Reader, run: Run) -> OverlapList:
    items = []
    for stage, counts in run.statistics["stages"].items():
        for pair, count in counts["overlap"].items():
            first, _sign, second = pair.partition(" & ")
            items.append(Overlap(stage=stage, first=first, second=second, documents=count))
    return OverlapList(items=sorted(items, key=lambda one: (-one.documents, one.stage, one.first, one.second)))


@router.get("/measures", summary="Every measure: count, mean, extremes")
def list_measures(_: Reader, run: Run) -> MeasureList:
    owners = {name: stage["stage"] for stage in run.run["stages"] for name in stage["columns"]}
    found, columns = run.statistics["measures"], run.columns
    order = {name: place for place, name in enumerate(owners)}
    items = [
        MeasureSummary(name=name, stage=owners.get(name), about=describes(columns.get(name)),
                       unit=unit_of(name, columns.get(name)), count=found[name]["count"], mean=mean_of(found[name]),
                       min=found[name]["min"], max=found[name]["max"])
        for name in sorted(found, key=lambda name: (order.get(name, len(order)), name))
    ]  # fmt: skip
    return MeasureList(items=items)


@router.get("/measures/{measure}/histogram", summary="Distribution of a measure")
def get_histogram(
    _: Reader, run: Run, measure: Annotated[NoNul, Path(max_length=100)], by: By | None = None,
    group: Annotated[NoNul | None, Query(max_length=500, description="Of `by`; `und` for no language.")] = None,
) -> Histogram:  # fmt: skip
    if (by is None) != (group is None):
        message = "give both 'by' and 'group', or none"
        raise Problem("invalid", message, [Fault(pointer="query/group", code="group", message=message)])
    try:
        return Histogram(measure=measure, by=by, group=group, **histogram(run, measure, by, group))
    except InputError as error:
        raise Problem("not-found", error.message) from None


@router.get("/breakdown", summary="Records of each language, domain or host by what became of them")
def get_breakdown(
    _: Reader, run: Run, by: By, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> Breakdown:  # fmt: skip
    return Breakdown(**breakdown(run, by, limit))


@router.post(
    "/what-if", summary="What would have been kept with other thresholds",
    responses=responses("not-found", "conflict", "too-slow"),
)  # fmt: skip
def ask_what_if(_: Reader, run: Run, question: WhatIfRequest) -> WhatIfAnswer:
    """Answered from the ledger by a process with bounded memory and time; nothing is run again."""
    if not _QUESTIONS.acquire(timeout=WHAT_IF_SECONDS):
        raise Problem("too-slow", "others are asking, too; try again", headers={"Retry-After": "5"})
    try:
        answer = ask_in_child(
            run.storage.uri, question.thresholds, question.samples, WHAT_IF_MEMORY, WHAT_IF_SECONDS
        )  # fmt: skip
    except (TooSlowError, TooMuchMemoryError) as error:
        raise Problem("too-slow", str(error), headers={"Retry-After": "60"}) from None
    except InputError as error:
        raise Problem("invalid", error.message, [_threshold_fault(question, error.message)]) from None
    finally:
        _QUESTIONS.release()
    return WhatIfAnswer(**answer)


def _threshold_fault(question: WhatIfRequest, message: str) -> Fault:
    """The fault at the threshold that the message is about."""
    named = [name for name in question.thresholds if name in message]
    return Fault(pointer=pointer(["thresholds", *named[:1]]), code="threshold", message=message)


def wanted_of(
    verdict: Verdict | None = None, stage: Word | None = None, rule: Word | None = None,
    language: Word | None = None, domain: Word | None = None, host: Word | None = None,
    measure: Annotated[NoNul | None, Query(max_length=100, description="Whose value lies in `low` to `high`.")] = None,
    low: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    high: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    cluster: Annotated[Word | None, Query(description="Of near-duplicates, as the ledger names it.")] = None,
) -> Wanted:  # fmt: skip
    """Which documents a question is about.

    Raises:
        Problem: for a range of nothing.
    """
    if (low is not None or high is not None) and measure is None:
        message = "'low' and 'high' need a 'measure'"
        raise Problem("invalid", message, [Fault(pointer="query/measure", code="measure", message=message)])
    return Wanted(verdict, stage, rule, language, domain, host, measure, low, high, cluster)


Filters = Annotated[Wanted, Depends(wanted_of)]


@router.get("/documents", summary="Documents by what became of them")
def list_documents(
    run_id: RunId, _: TextReader, run: Run, wanted: Filters, limit: pages.Limit = 50, cursor: pages.Cursor = None,
    near: Annotated[
        NoNul | None, Query(max_length=200, description="A rule: nearest to its threshold first, one page.")
    ] = None,
    text: Annotated[bool, Query(description="With the beginning of each text.")] = False,
) -> DocumentPage:  # fmt: skip
    filters = {name: value for name, value in vars(wanted).items() if name != "cluster" or value is not None}
    place = pages.decode(cursor, {**filters, "run": run_id}, (int, int))
    following = None
    try:
        if near is not None:
            rows = nearest(run, near, limit, wanted)
        else:
            rows, last = documents(run, wanted, (place[0], place[1]) if place else None, limit)
            following = pages.encode(list(last), {**filters, "run": run_id}) if last else None
    except InputError as error:
        raise Problem("invalid", error.message) from None
    return DocumentPage(items=[_row(row, wanted.measure) for row in _with_texts(run, rows, text)], next=following)


def documents_of(run: FinishedRun, ids: Sequence[str]) -> list[DocumentRow]:
    """Documents with the beginnings of their texts, for pages; who asks must be allowed to read them."""
    return [_row(row, None) for row in run.with_texts(documents_by_id(run, ids))]


def _with_texts(run: FinishedRun, rows: list[dict[str, Any]], wanted: bool) -> list[dict[str, Any]]:
    return run.with_texts(rows) if wanted else rows


def _row(row: dict[str, Any], measure: str | None) -> DocumentRow:
    shown: dict[str, Any] = {name: row.get(name) for name in DocumentRow.model_fields}
    if measure is not None and row.get("measured") is None:
        shown["measured"] = row.get(measure)
    if row.get("text"):
        shown["text"] = row["text"][:EXCERPT]
    return DocumentRow(**shown)


@router.get("/documents/{document_id}", summary="Everything known of one document")
def get_document(
    _: TextReader, run: Run, document_id: DocumentId,
    mark: Annotated[
        list[NoNul], Query(max_length=20, description="Rules, `stage.rule`, whose places are told even if they hold.")
    ] = [],  # noqa: B006
) -> Document:  # fmt: skip
    history = _history(run, document_id)
    diff = None
    if history["text"] is not None and history["witness_text"] is not None:
        pieces, cut = differences(history["text"], history["witness_text"])
        diff = Diff(pieces=[DiffPiece(kind=piece.kind, text=piece.text) for piece in pieces], cut=cut)
    measures = [Measured(stage=stage, name=name, value=value) for stage, name, value in history["measures"]]
    objected = objections(run.run, history["ledger"], history["text"], mark)
    return Document(
        ledger=history["ledger"], uri=history["uri"], measures=measures,
        rules=[Judged(**rule) for rule in history["rules"]],
        objections=[Objected.model_validate(one, from_attributes=True) for one in objected],
        text=history["text"], witness_text=history["witness_text"], diff=diff,
    )  # fmt: skip


def _history(run: FinishedRun, document_id: str) -> dict[str, Any]:
    try:
        return run.history(document_id)
    except InputError:
        raise Problem("not-found", _NOBODY) from None


@router.get("/documents/{document_id}/neighbours", summary="Documents before and behind one, by the same filters")
def get_neighbours(
    _: TextReader, run: Run, document_id: DocumentId, wanted: Filters,
    near: Annotated[
        NoNul | None, Query(max_length=200, description="A rule: among the 200 nearest to its threshold.")
    ] = None,
) -> Neighbours:  # fmt: skip
    try:
        if near is None:
            previous, following = neighbours(run, wanted, document_id)
            return Neighbours(previous=previous, next=following)
        ids = [row["id"] for row in nearest(run, near, NEAREST, wanted)]
    except InputError as error:
        there = "no record" not in error.message
        raise Problem("invalid" if there else "not-found", error.message if there else _NOBODY) from None
    place = ids.index(document_id) if document_id in ids else len(ids)
    return Neighbours(previous=ids[place - 1] if 0 < place < len(ids) else None,
                      next=ids[place + 1] if place + 1 < len(ids) else None)  # fmt: skip


@router.get("/documents/{document_id}/source", summary="The record as it lies in its shard, if it is still there")
def get_source_record(_: TextReader, run: Run, document_id: DocumentId, context: Ctx) -> SourceRecord:
    """Nothing of it is masked: it is what was crawled."""
    row = _ledger_row(run, document_id)
    shard = next(shard for shard in run.run["shards"] if shard["name"] == row["shard"])
    with context.database.read() as connection:
        roots = list(connection.execute(select(sources.c.root)).scalars())
    try:
        inside(roots)(shard["uri"])
        raw = raw_record(shard, row)
    except InputError:
        raise Problem("conflict", "the file that it was read from lies below no declared source now") from None
    except SourceError as error:
        raise Problem("conflict", str(error)) from None
    return SourceRecord(head=clean(raw.head) or "", text=clean(raw.text) or "", charset=raw.charset, bytes=raw.size,
                        cut=raw.cut)  # fmt: skip


def _ledger_row(run: FinishedRun, document_id: str) -> dict[str, Any]:
    row = run.find(document_id)
    if row is None:
        raise Problem("not-found", _NOBODY)
    return row


@router.get("/compare/{other_id}", summary="Two runs side by side")
def compare_runs(
    _: Reader, run: Run, context: Ctx, other_id: Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")],
    samples: Annotated[int, Query(ge=0, le=100)] = 5,
) -> Comparison:  # fmt: skip
    return Comparison(**compare(run, finished_run(other_id, context), samples))
