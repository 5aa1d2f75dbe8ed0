"""A few documents whose fate changes, with what decided about them and their texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from curation.batch import UNKNOWN
from pipelines.ledger import DROPPED
from pipelines.what_if.changes import some_rows
from pipelines.what_if.decisions import Decided
from pipelines.what_if.records import Reason
from pipelines.what_if.texts import texts_by_row

_SHOWN = ["id", "shard", "url", "language", "token_count", "value", "threshold", "witness"]


def samples_of(decided: Decided, count: int) -> dict[str, list[dict[str, Any]]]:
    """A few documents of each way, in the order of ids."""
    found = some_rows(decided, count)
    rows = np.unique(np.concatenate(list(found.values()))).tolist()
    documents = dict(zip(rows, _documents(decided, rows), strict=True))
    return {
        way: sorted((documents[row] for row in places.tolist()), key=lambda document: str(document["id"]))
        for way, places in found.items()
    }


def _documents(decided: Decided, rows: list[int]) -> list[dict[str, Any]]:
    if not rows:
        return []
    records = decided.records
    asked = {name for stage in decided.asked for rule in stage.rules for name in (rule.measure, *rule.by)}
    table = records.rows(np.array(rows), sorted({*_SHOWN, *asked}))
    texts = texts_by_row(decided.run, records, np.array(rows), table.column("id").to_pylist())
    return [
        {
            **{name: found[name] for name in _SHOWN[:5]},
            "before": _told(records.reasons[records.before[row]], found["value"], found["threshold"], found["witness"]),
            "after": _after(decided, records.reasons[decided.after[row]], found),
            "text": texts.get(found["id"]),
        }
        for row, found in zip(rows, table.to_pylist(), strict=True)
    ]


def _told(reason: Reason, value: Any, threshold: Any, witness: Any = None) -> dict[str, Any]:
    return {
        "verdict": reason.verdict,
        "stage": reason.stage or None,
        "rule": reason.rule or None,
        "value": value,
        "threshold": threshold,
        "witness": witness,
    }


def _after(decided: Decided, reason: Reason, found: dict[str, Any]) -> dict[str, Any]:
    """What decides now; value and threshold where a changed stage does."""
    stage = next((stage for stage in decided.asked if stage.number == reason.ended), None)
    if reason.verdict != DROPPED or stage is None:
        return _told(reason, None, None)
    rule = stage.rules[reason.place]
    language = next((found[name] for name in rule.by if found[name]), UNKNOWN)
    value = found[rule.measure]
    return _told(reason, None if value is None else float(value), rule.threshold_of(language))
