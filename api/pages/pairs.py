"""``/datasets/{name}/versions/{n}/pairs``: preference pairs side by side, and what their lengths say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from markupsafe import Markup

from api.datasets.models import RowPage
from api.datasets.routes import DatasetName, get_dataset, get_version, list_groups, list_rows
from api.http.versioned import Ref
from api.pages.bins import bins
from api.pages.marked import compared
from api.pages.render import page
from api.pages.visible import visible
from api.pages.visitors import Visitor, Visits
from api.problems import Problem
from api.statistics.finished import finished_run
from api.statistics.routes import get_histogram, get_set
from pipelines.differences import differences

router = APIRouter(include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("datasets:read"))]
Text = Annotated[str, Query(max_length=500)]
PAIRS = 10
COMPARED = 400  # words of each answer that are compared
CHOICES = ("source", "language", "split")
# What is drawn: title, what it is, unit, and the measures over each other.
DRAWN = (
    ("Words of an answer", "how long answers are, chosen and rejected over each other", "words",
     {"chosen": "chosen_words", "rejected": "rejected_words"}),
    ("Words of the longer answer to one of the shorter", "how different the lengths of the two answers are", "times",
     {"pairs": "length_ratio"}),
    ("Margin", "how much better the chosen answer is, as its source says", "margin", {"pairs": "preference_margin"}),
)  # fmt: skip


@router.get("/datasets/{name}/versions/{ref}/pairs", name="page_pairs")
def page_pairs(
    name: DatasetName, ref: Ref, visitor: Reads, cursor: Annotated[str | None, Query(max_length=500)] = None,
    source: Text = "", language: Text = "", split: Text = "", differ: Annotated[str, Query(max_length=5)] = "",
) -> Response:  # fmt: skip
    dataset = get_dataset(name, visitor.context, visitor.principal)
    if dataset.kind != "preferences":
        raise Problem("not-found", "this dataset holds no preference pairs; its rows are under 'Rows'")
    version = get_version(name, ref, visitor.context, visitor.principal)
    chosen = {"source": source, "language": language, "split": split}
    found, problem = RowPage(items=[], next=None), None
    try:
        found = list_rows(
            name, ref, visitor.context, visitor.principal, PAIRS, cursor or None,
            **{column: value or None for column, value in chosen.items()},  # type: ignore[arg-type]
        )  # fmt: skip
    except Problem as refused:
        if refused.code != "invalid":
            raise
        problem = refused
    groups = [(by, list_groups(name, ref, visitor.context, visitor.principal, by, 50)) for by in CHOICES]  # type: ignore[arg-type]
    charts, lengths = _figures(visitor, version.run) if visitor.may("statistics:read") else ([], None)
    return page(
        visitor, "pairs.html", 422 if problem else 200, version=version, dataset=dataset, tab="pairs", found=found,
        problem=problem, pairs=[_pair(row, differ == "1") for row in found.items], differ=differ == "1",
        chosen={by: value for by, value in chosen.items() if value}, charts=charts, lengths=lengths,
        groups=[(by, one) for by, one in groups if any(group.name for group in one.items)],
    )  # fmt: skip


def _pair(row: dict[str, Any], differ: bool) -> dict[str, Any]:
    """A pair as it is shown: messages of each side, answers with their differences marked if that is asked for."""
    texts = {side: "\n\n".join(one["content"] for one in row[side]) for side in ("chosen", "rejected")}
    shown = {side: [(one["role"], visible(one["content"])) for one in row[side]] for side in ("prompt", *texts)}
    if differ:
        pieces, cut = differences(texts["chosen"], texts["rejected"], COMPARED)
        for side, kind in (("chosen", "first"), ("rejected", "second")):
            note = Markup(' <span class="cut">… only the beginning is compared</span>') if cut else Markup("")
            shown[side] = [("assistant", compared(pieces, kind) + note)]
    return {"row": row, "sides": shown, "lengths": {side: len(text) for side, text in texts.items()}}


def _figures(visitor: Visitor, run_id: str) -> tuple[list[dict[str, Any]], Any]:
    """Charts and length figures of the run that made a version."""
    run = finished_run(run_id, visitor.context)
    charts = []
    for title, words, unit, measures in DRAWN:
        counts, edges = {}, []
        for name, measure in measures.items():
            try:
                told = get_histogram(visitor.principal, run, measure, None, None)
            except Problem:  # the recipe did not measure it
                continue
            counts[name], edges = told.counts, told.edges
        found = bins(edges, counts) if counts else None
        if found is not None:
            head = [(unit, ""), *((name, "number") for name in found.series)]
            charts.append({"title": title, "words": words, "unit": unit, "bins": found, "head": head,
                           "option": _called(found.option(unit=unit))})  # fmt: skip
    try:
        lengths = get_set(visitor.principal, run).length_bias
    except Problem:
        lengths = None
    return charts, lengths


def _called(option: dict[str, Any]) -> dict[str, Any]:
    """The same with its colours: green is chosen, red is rejected, everywhere on these pages."""
    colours = {"chosen": "$good", "rejected": "$bad"}
    series: Sequence[dict[str, Any]] = option["series"]
    for one in series:
        if one["name"] in colours:
            one |= {"itemStyle": {"color": colours[one["name"]]}, "lineStyle": {"color": colours[one["name"]]}}
    option["yAxis"]["name"] = "pairs"
    return option
