"""``/runs/{id}/stages/deduplication``: what was repeated, how alike it is, and what stays of it."""

from __future__ import annotations

from bisect import bisect_left
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Response

from api.pages import charts
from api.pages.bins import Bins
from api.pages.render import page, query
from api.pages.visitors import Visitor, Visits
from api.problems import Problem
from api.runs.routes import RunId, get_run
from api.statistics.finished import finished_run
from api.statistics.models import DocumentRow, Duplicates, FamilySizes, GroupDuplicates
from api.statistics.routes import documents_of, get_duplicates, list_stages
from pipelines.duplicates import LISTED
from pipelines.look import FinishedRun

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("statistics:read", "runs:read"))]
STAGE = "deduplication"
SAMPLES = 5
BELOW = 5  # bins below the threshold that are drawn


class Repetition(NamedTuple):
    """What ``duplicates_found.html`` shows.

    Attributes:
        found: what the API says.
        similarities: chart of near-duplicates; None without any.
        bins: its rows: words, documents, address of these.
        families: chart of documents by the size of their family.
        sizes: its rows, with their words.
        groups: language, domain and host, as far as anything has one.
        samples: near-duplicates of the lowest similarity; none for who may not read them.
    """

    found: Duplicates
    similarities: charts.Option | None
    bins: list[tuple[str, int, str]]
    families: charts.Option
    sizes: list[tuple[str, FamilySizes]]
    groups: list[tuple[str, list[GroupDuplicates]]]
    samples: list[DocumentRow]


@router.get("/runs/{run_id}/stages/deduplication", name="page_duplicates")
def page_duplicates(run_id: RunId, visitor: Reads) -> Response:
    run = finished_run(run_id, visitor.context)
    repeated = repeated_of(visitor, run_id, run)
    if repeated.found.stage != STAGE:
        raise Problem("not-found", "this run has no such stage")
    stages = list_stages(visitor.principal, run).items
    return page(
        visitor, "duplicates.html", repeated=repeated, before=stages[-1].stage if stages else None,
        run=get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal),
    )  # fmt: skip


def repeated_of(visitor: Visitor, run_id: str, run: FinishedRun) -> Repetition:
    """What a run found to be repeated.

    Raises:
        Problem: for a run that compared nothing.
    """
    found = get_duplicates(visitor.principal, run, LISTED)
    similarities, bins = _similarities(run_id, found)
    sizes = [(f"{one.least:,}" if one.least == one.most else f"{one.least:,}–{one.most:,}", one)
             for one in found.families]  # fmt: skip
    families = charts.stacked_bars([word for word, _ in sizes], {"documents": [one.documents for _, one in sizes]})
    families["legend"] = {"show": False}
    groups = [(by, rows) for by, rows in found.groups if any(row.name not in ("", "und") for row in rows)]
    return Repetition(found, similarities, bins, families, sizes, groups, _samples(visitor, run, found))


def _similarities(run_id: str, found: Duplicates) -> tuple[charts.Option | None, list[tuple[str, int, str]]]:
    """The chart of near-duplicates and its rows with the addresses of their documents; none without any.

    It begins below the threshold, so that one sees that nothing lies there.
    """
    edges, near = found.similarities.edges, found.similarities.near
    if not any(near):
        return None, []
    name, first = "near-duplicates", max(0, bisect_left(edges, found.threshold) - BELOW)
    inside, last = slice(first + 1, len(edges)), len(edges)
    own = Bins(edges[first:], {name: near[inside]}, {name: 0}, {name: near[last]}, log=False)
    rows = []
    for (word, (count,)), low, high in zip(own.rows(), own.edges, own.edges[1:], strict=False):
        within = {"reason": f"{found.stage}.near", "measure": "similarity", "low": low, "high": high}
        rows.append((word, count, f"/runs/{run_id}/documents{query(**within)}"))
    return own.marked([("threshold", found.threshold)], "similarity"), rows


def _samples(visitor: Visitor, run: FinishedRun, found: Duplicates) -> list[DocumentRow]:
    """Near-duplicates of the lowest similarity with the beginnings of their texts, for who may read these."""
    if not visitor.may("documents:read"):
        return []
    return documents_of(run, [one.id for one in found.closest[:SAMPLES]])
