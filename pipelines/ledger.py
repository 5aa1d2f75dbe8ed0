"""The ledger: one row for each record read, saying what became of it.

Every record ends in exactly one state: ``kept``, ``dropped`` (stage, rule, value, threshold), ``duplicate``
(the kept witness, exact similarity) or ``quarantined`` (error class, byte range).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.stage import Stage
from pipelines.measures import Settled, null_fill

SCHEMA_VERSION = "2"
KEPT, DROPPED, DUPLICATE, QUARANTINED = "kept", "dropped", "duplicate", "quarantined"
VERDICTS = (KEPT, DROPPED, DUPLICATE, QUARANTINED)

_IDENTITY = ("id", "offset", "length", "inner_offset")

# Columns that every ledger has, whatever the recipe: tools can rely on them.
_ALWAYS = {
    "language": pa.string(),
    "language_score": pa.float32(),
    "perplexity": pa.float64(),
    "perplexity_bucket": pa.string(),
    "domain": pa.string(),
    "domain_score": pa.float32(),
}

_VERDICT_FIELDS = [
    ("verdict", pa.string(), "kept, dropped, duplicate or quarantined"),
    ("stage", pa.string(), "the stage that decided; null for kept"),
    ("rule", pa.string(), "the first failing rule, exact or near for duplicates, the error class for quarantined"),
    ("value", pa.float64(), "measured value of that rule; the similarity for duplicates"),
    ("threshold", pa.float64(), "its threshold for this document's language"),
    ("detail", pa.string(), "what else there is to say, such as the media type or the error"),
    ("failing_rules", pa.list_(pa.string()), "all rules of the deciding stage that fail, as stage.rule"),
    ("witness", pa.string(), "id of the kept document that a duplicate resembles"),
    ("witness_dataset", pa.string(), "earlier corpus that the witness belongs to, name@version; null for this run"),
    ("similarity", pa.float64(), "exact Jaccard similarity with the witness: shared_shingles / all_shingles"),
    ("shared_shingles", pa.int32(), "size of the intersection of both sets of shingles"),
    ("all_shingles", pa.int32(), "size of the union of both sets of shingles"),
    ("cluster", pa.string(), "first document of the connected component of verified pairs; null if alone"),
    ("cluster_size", pa.int32(), "documents in that component, exact copies included; 1 if alone"),
    ("copies", pa.int32(), "documents with exactly this normalised text, itself included"),
]


def is_internal(field: pa.Field) -> bool:
    """Whether a measured column serves deduplication only and stays out of the ledger."""
    return b"internal" in (field.metadata or {})


def ledger_schema(stages: Sequence[Stage]) -> pa.Schema:
    """All columns of a ledger in order, each with its description."""
    measured = {field.name: field for stage in stages for field in stage.schema if not is_internal(field)}
    fields = [measured[name] for name in _IDENTITY]
    fields.insert(1, pa.field("shard", pa.string(), metadata={"description": "the input file, as run.json names it"}))
    fields += [field for name, field in measured.items() if name not in _IDENTITY]
    fields += [pa.field(name, type_) for name, type_ in _ALWAYS.items() if name not in measured]
    fields += [pa.field(name, type_, metadata={"description": text}) for name, type_, text in _VERDICT_FIELDS]
    return pa.schema(fields, metadata={"gristmill.schema": f"ledger/{SCHEMA_VERSION}"})


@dataclass(frozen=True)
class Resolution:
    """What deduplication decided about the documents left in one batch; arrays as long as these.

    Attributes:
        witness: id of the kept witness, null for a document that is kept.
        dataset: earlier corpus of the witness, null where it belongs to this run.
        exact: whether it equals its witness in normalised text.
        shared, union: sizes of intersection and union of both sets of shingles.
        cluster, cluster_size, copies: see the ledger's columns.
    """

    witness: pa.Array
    dataset: pa.Array
    exact: np.ndarray
    shared: np.ndarray
    union: np.ndarray
    cluster: pa.Array
    cluster_size: np.ndarray
    copies: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """``bool[n]``."""
        return ~np.asarray(self.witness.is_valid())


def ledger_batch(
    schema: pa.Schema, shard: str, count: int, history: Sequence[Settled], left: np.ndarray,
    resolution: Resolution, threshold: float | None,
) -> pa.Table:  # fmt: skip
    """Rows of the ledger for one batch of records.

    Args:
        schema: from ``ledger_schema``.
        shard: its name.
        count: records in the batch.
        history: what every stage decided.
        left: records that reached deduplication.
        resolution: what became of those.
        threshold: of the similarity.
    """
    columns: dict[str, pa.Array] = {"shard": pa.array([shard] * count, pa.string())}
    for settled in history:
        for name, column in settled.measured.columns.items():
            if name in schema.names:
                whole = len(settled.rows) == count
                columns[name] = column if whole else null_fill(column, settled.rows, count)
    columns |= _verdicts(count, history, left, resolution, threshold, columns)
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _verdicts(
    count: int, history: Sequence[Settled], left: np.ndarray, resolution: Resolution, threshold: float | None,
    columns: dict[str, pa.Array],
) -> dict[str, pa.Array]:  # fmt: skip
    verdict, stage, rule, detail = (np.full(count, None, object) for _ in range(4))
    failing: np.ndarray = np.full(count, None, object)
    value, limit = np.full(count, np.nan), np.full(count, np.nan)
    verdict[left] = KEPT
    for settled in history:
        _write_drops(settled, columns, verdict, stage, rule, detail, failing, value, limit)
        for row, error in settled.measured.errors.items():
            place = settled.rows[row]
            verdict[place], stage[place] = QUARANTINED, settled.stage.name
            rule[place], detail[place] = error.error_class, error.detail or None
            value[place] = limit[place] = np.nan
            failing[place] = None
    gone = left[~resolution.kept]
    similarity = np.full(count, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        similarity[left] = np.where(resolution.kept, np.nan, resolution.shared / resolution.union)
    verdict[gone], stage[gone] = DUPLICATE, "deduplication"
    rule[gone] = np.where(resolution.exact[~resolution.kept], "exact", "near")
    value[gone] = similarity[gone]
    limit[gone] = np.nan if threshold is None else threshold
    return {
        "verdict": pa.array(verdict, pa.string()),
        "stage": pa.array(stage, pa.string()),
        "rule": pa.array(rule, pa.string()),
        "value": _nullable(value),
        "threshold": _nullable(limit),
        "detail": pa.array(detail, pa.string()),
        "failing_rules": pa.array(failing, pa.list_(pa.string())),
        "witness": null_fill(resolution.witness, left, count),
        "witness_dataset": null_fill(resolution.dataset, left, count),
        "similarity": _nullable(similarity),
        "shared_shingles": null_fill(_where(resolution.shared, ~resolution.kept), left, count),
        "all_shingles": null_fill(_where(resolution.union, ~resolution.kept), left, count),
        "cluster": null_fill(resolution.cluster, left, count),
        "cluster_size": null_fill(pa.array(resolution.cluster_size, pa.int32()), left, count),
        "copies": null_fill(pa.array(resolution.copies, pa.int32()), left, count),
    }


def _write_drops(
    settled: Settled, columns: dict[str, pa.Array], verdict: Any, stage: Any, rule: Any, detail: Any,
    failing: Any, value: np.ndarray, limit: np.ndarray,
) -> None:  # fmt: skip
    decision = settled.decision
    rules = settled.stage.rules()
    dropped = np.flatnonzero(decision.first >= 0)
    places = settled.rows[dropped]
    verdict[places], stage[places] = DROPPED, settled.stage.name
    value[places], limit[places] = decision.value[dropped], decision.threshold[dropped]
    names = [f"{settled.stage.name}.{r.name}" for r in rules]
    for row, place in zip(dropped, places, strict=True):
        deciding = rules[decision.first[row]]
        rule[place] = deciding.name
        failing[place] = [names[index] for index in np.flatnonzero(decision.failing[:, row])]
        if deciding.detail is not None:
            said = columns[deciding.detail][int(place)].as_py()
            detail[place] = None if said is None else str(said)


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _where(values: np.ndarray, chosen: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.int32), mask=~chosen)


def totals(ledger: pa.Table) -> dict[str, int]:
    """Number of records by verdict."""
    counted = pc.value_counts(ledger.column("verdict"))
    found = {entry["values"].as_py(): entry["counts"].as_py() for entry in counted}
    return {name: int(found.get(name, 0)) for name in VERDICTS}
