"""``/runs/{id}/documents``: what became of each document, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from api.pages.document import document_page
from api.pages.render import page, query
from api.pages.visitors import Visitor, Visits
from api.problems import Fault, Problem
from api.runs.routes import RunId, get_run
from api.statistics.finished import finished_run
from api.statistics.models import DocumentPage
from api.statistics.routes import (
    DocumentId,
    get_breakdown,
    get_funnel,
    list_documents,
    list_measures,
    list_rules,
    wanted_of,
)
from pipelines.browse import Wanted
from pipelines.look import FinishedRun

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("documents:read", "statistics:read", "runs:read"))]
VERDICTS = ("kept", "dropped", "duplicate", "quarantined")
PAGE = 25
FACETS = 12  # groups of a facet that are shown
WORDS = {
    "verdict": "verdict", "reason": "reason", "language": "language", "domain": "domain", "host": "host",
    "measure": "measure", "low": "from", "high": "to", "near": "nearest to", "cluster": "family",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """Filters as the address has them: texts, empty where there is none."""

    verdict: str = ""
    reason: str = ""  # stage.rule
    language: str = ""
    domain: str = ""
    host: str = ""
    measure: str = ""
    low: str = ""
    high: str = ""
    near: str = ""
    cluster: str = ""

    def but(self, **changes: str) -> Asked:
        """The same with other filters."""
        return replace(self, **changes)

    def query(self, **more: Any) -> str:
        """As the query of an address, with its question mark."""
        return query(**{**asdict(self), **more})

    def chips(self) -> list[tuple[str, str, str]]:
        """Each filter that is set: its word, its value, and the query without it."""
        found = []
        for name, value in asdict(self).items():
            if value:
                others = {"measure": "", "low": "", "high": ""} if name == "measure" else {name: ""}
                found.append((WORDS[name], value, self.but(**others).query()))
        return found

    def wanted(self) -> Wanted:
        """As the API takes them.

        Raises:
            Problem: for numbers that are none, a verdict that is none, a range without a measure.
        """
        faults = []
        if self.verdict and self.verdict not in VERDICTS:
            faults.append(Fault(pointer="/verdict", code="verdict", message=f"is one of {', '.join(VERDICTS)}"))
        bounds: dict[str, float | None] = {}
        for name in ("low", "high"):
            try:
                bounds[name] = _number(getattr(self, name))
            except ValueError:
                faults.append(Fault(pointer=f"/{name}", code="number", message="is a number, such as 0.5"))
        if faults:
            raise Problem("invalid", "These filters cannot be:", faults)
        stage, _, rule = self.reason.partition(".")
        return wanted_of(
            self.verdict or None, stage or None, rule or None, self.language or None, self.domain or None,  # type: ignore[arg-type]
            self.host or None, self.measure or None, bounds["low"], bounds["high"], self.cluster or None,
        )  # fmt: skip


def _number(text: str) -> float | None:
    if not text.strip():
        return None
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError("no finite number")
    return value


def asked_of(request: Request) -> Asked:
    """Filters of an address; what else stands there is left alone, and nothing is longer than it may be."""
    given = {field.name: request.query_params.get(field.name, "").replace("\0", "")[:500] for field in fields(Asked)}
    return Asked(**given)


Filters = Annotated[Asked, Depends(asked_of)]
Cursor = Annotated[str | None, Query(max_length=500)]


@router.get("/runs/{run_id}/documents", name="page_documents")
def page_documents(
    run_id: RunId, visitor: Reads, asked: Filters, cursor: Cursor = None, facet: Annotated[str, Query()] = ""
) -> Response:  # fmt: skip
    run = finished_run(run_id, visitor.context)
    found, problem = DocumentPage(items=[], next=None), None
    try:
        found = list_documents(
            run_id, visitor.principal, run, asked.wanted(), PAGE, cursor or None, near=asked.near or None, text=True
        )  # fmt: skip
    except Problem as refused:
        if refused.code != "invalid":
            raise
        problem = refused
    rules = list_rules(visitor.principal, run).items
    return page(
        visitor, "documents.html", 422 if problem else 200,
        run=get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal),
        asked=asked, found=found, problem=problem, facets=_facets(visitor, run, asked, facet), facet=facet,
        measures=[measure.name for measure in list_measures(visitor.principal, run).items],
        rules=[f"{rule.stage}.{rule.rule}" for rule in rules if rule.adjustable],
        hidden={name: value for name, value in asdict(asked).items() if value},
    )  # fmt: skip


def _facets(visitor: Visitor, run: FinishedRun, asked: Asked, wanted: str) -> list[dict[str, Any]]:
    """Groups of the whole run with their counts, each with the address that chooses it."""
    rows = get_funnel(visitor.principal, run).rows
    totals: dict[str, int] = {}
    reasons: dict[str, int] = {}
    for row in rows:
        if row.verdict in VERDICTS:
            totals[row.verdict] = totals.get(row.verdict, 0) + abs(row.documents)
        if row.stage and row.reason:
            name = f"{row.stage}.{row.reason}"
            reasons[name] = reasons.get(name, 0) + abs(row.documents)
    facets = [_facet(asked, "verdict", "Verdict", [(name, totals.get(name, 0)) for name in VERDICTS])]
    ranked = sorted(((name, count) for name, count in reasons.items() if count), key=lambda one: -one[1])
    facets.append(_facet(asked, "reason", "Reason", ranked, more=wanted == "reason"))
    for by, title in (("language", "Language"), ("domain", "Domain"), ("host", "Host")):
        if by == "host" and wanted != "host" and not asked.host:  # counting hosts goes through the whole ledger
            facets.append({"name": by, "title": title, "groups": None, "others": 0})
            continue
        limit = 100 if wanted == by else FACETS
        groups = get_breakdown(visitor.principal, run, by, limit)  # type: ignore[arg-type]
        named = [(group.name, group.records) for group in groups.groups]
        facets.append({**_facet(asked, by, title, named, more=True), "others": groups.total - len(named)})
    return facets


def _facet(asked: Asked, name: str, title: str, counts: list[tuple[str, int]], more: bool = False) -> dict[str, Any]:
    shown = counts if more else counts[:FACETS]
    largest = max((count for _, count in shown), default=0)
    groups = [
        {
            "name": value, "count": count, "largest": largest, "chosen": getattr(asked, name) == value,
            "address": asked.but(**{name: "" if getattr(asked, name) == value else value}).query(),
        }
        for value, count in shown
        if value
    ]  # fmt: skip
    return {"name": name, "title": title, "groups": groups, "others": len(counts) - len(shown)}


@router.get("/runs/{run_id}/documents/{document_id}", name="page_document")
def page_document(
    run_id: RunId, document_id: DocumentId, visitor: Reads, asked: Filters,
    mark: Annotated[str, Query(max_length=200)] = "", source: Annotated[str, Query(max_length=10)] = "",
) -> Response:  # fmt: skip
    return document_page(visitor, run_id, document_id, asked, mark, source)
