"""One document: what was measured, which rule objected to what, where it came from, what it is like."""

from __future__ import annotations

from typing import Any, NamedTuple

from fastapi import Response
from markupsafe import Markup

from api.pages.marked import Mark, compared, marked
from api.pages.render import page
from api.pages.visitors import Visitor
from api.problems import Problem
from api.runs.routes import get_run
from api.statistics.finished import finished_run
from api.statistics.models import Document, Objected
from api.statistics.routes import get_document, get_neighbours, get_source_record, list_documents, wanted_of
from curation.errors import DocumentError
from curation.pair_stages.canonical import parse

SHOWN = 60_000  # characters of a text on the page
RAW = 30_000  # characters of the raw page
TWINS = 10
NEAR_BEGINNING = 32 << 20  # bytes of a compressed file that are gone through without being asked to
# What stands in the ledger besides measures, and is shown elsewhere on the page.
_TOLD = frozenset(
    ("id", "shard", "offset", "length", "inner_offset", "url", "host", "verdict", "stage", "rule", "value", "threshold",
     "detail", "failing_rules", "witness", "witness_dataset", "similarity", "shared_shingles", "all_shingles",
     "cluster", "cluster_size", "copies", "title")
)  # fmt: skip


class Turn(NamedTuple):
    """A message as it is shown."""

    side: str
    role: str
    text: Markup


def document_page(visitor: Visitor, run_id: str, document_id: str, asked: Any, mark: str, source: str) -> Response:
    """The page.

    Args:
        asked: filters under which the visitor came here.
        mark: the one rule whose places are marked, ``stage.rule``; all that object where there is none.
        source: whether the raw record is read though it lies far into a compressed file.
    """
    run = finished_run(run_id, visitor.context)
    found = get_document(visitor.principal, run, document_id, [mark] if mark else [])
    ledger = found.ledger
    told = [one for one in found.objections if not mark or f"{one.stage}.{one.rule}" == mark]
    turns = _turns(found, told)
    text = None
    if found.text is not None and not turns:
        text = marked(found.text, [one for _, one in _marks(told)], SHOWN)
    return page(
        visitor, "document.html",
        run=get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal),
        asked=asked, document=found, ledger=ledger, mark=mark, objections=found.objections, turns=turns, text=text,
        cut=len(found.text or "") - SHOWN, groups=_groups(found), around=_around(visitor, run, document_id, asked),
        raw=_raw(visitor, run, document_id, ledger, found.uri, source), raw_shown=RAW,
        diff=None if found.diff is None else compared(found.diff.pieces), twins=_twins(visitor, run_id, run, ledger),
    )  # fmt: skip


def _marks(told: list[Objected]) -> list[tuple[tuple[str | None, int | None], Mark]]:
    """Every place that is told, with the message it lies in."""
    return [
        ((place.side, place.turn), Mark(place.start, place.end, f"{one.stage}.{one.rule}"))
        for one in told
        for place in one.places or ()
    ]


def _turns(found: Document, told: list[Objected]) -> list[Turn]:
    """The messages of an entry, none of a document that is a page."""
    if found.text is None or not found.text.startswith("{"):
        return []
    try:
        entry = parse(found.text)
    except DocumentError:
        return []
    marks = _marks(told)
    return [
        Turn(side, turn.role, marked(turn.content, [m for where, m in marks if where == (side, number)], SHOWN))
        for side, conversation in entry.items()
        for number, turn in enumerate(conversation)
    ]


def _groups(found: Document) -> list[tuple[str, list[dict[str, Any]]]]:
    """Measures by stage in order, each with the rules that go by it."""
    rules: dict[str, list[Any]] = {}
    for rule in found.rules:
        rules.setdefault(rule.measure, []).append(rule)
    groups: dict[str, list[dict[str, Any]]] = {}
    for measure in found.measures:
        if measure.name not in _TOLD:
            judged = rules.get(measure.name, [])
            groups.setdefault(measure.stage, []).append({"name": measure.name, "value": measure.value, "rules": judged})
    return list(groups.items())


def _around(visitor: Visitor, run: Any, document_id: str, asked: Any) -> Any:
    """What comes before and behind under the same filters; nothing where they make no sense."""
    try:
        return get_neighbours(visitor.principal, run, document_id, asked.wanted(), asked.near or None)
    except Problem as problem:
        if problem.code != "invalid":
            raise
        return None


def _raw(visitor: Visitor, run: Any, document_id: str, ledger: dict[str, Any], uri: str, source: str) -> dict[str, Any]:
    """The record as it lies in its shard, or why there is none to see."""
    packed = uri.lower().endswith((".gz", ".zst")) and ledger["kind"] in ("document", "mapped", "damaged")
    if packed and ledger["offset"] > NEAR_BEGINNING and source != "1":
        return {"record": None, "why": None}
    try:
        return {"record": get_source_record(visitor.principal, run, document_id, visitor.context), "why": None}
    except Problem as problem:
        if problem.code != "conflict":
            raise
        return {"record": None, "why": problem.detail}


def _twins(visitor: Visitor, run_id: str, run: Any, ledger: dict[str, Any]) -> Any:
    """Documents of the same family of near-duplicates, itself left out."""
    cluster = ledger.get("cluster")
    if not cluster:
        return None
    wanted = wanted_of(cluster=cluster)
    found = list_documents(run_id, visitor.principal, run, wanted, TWINS + 1, None, near=None, text=False)
    others = [one for one in found.items if one.id != ledger["id"]][:TWINS]
    return {"cluster": cluster, "size": ledger.get("cluster_size"), "items": others}
