"""The ledger: one row for each record read, saying what became of it.

Every record ends in exactly one state: ``kept``, ``dropped`` (stage, rule, value, threshold), ``duplicate``
(the kept witness, exact similarity) or ``quarantined`` (error class, byte range).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import RunError
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
    ("witness", pa.string(), "id of the kept document that a duplicate resembles, or that else bears witness"),
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


Described = tuple[str, pa.DataType, str]


def ledger_schema(stages: Sequence[Stage], more: Sequence[Described] = ()) -> pa.Schema:
    """All columns of a ledger in order, each with its description.

    Args:
        more: what the comparison tells of its own: name, type and description.
    """
    measured = {field.name: field for stage in stages for field in stage.schema if not is_internal(field)}
    fields = [measured[name] for name in _IDENTITY]
    fields.insert(1, pa.field("shard", pa.string(), metadata={"description": "the input file, as run.json names it"}))
    fields += [field for name, field in measured.items() if name not in _IDENTITY]
    fields += [pa.field(name, type_) for name, type_ in _ALWAYS.items() if name not in measured]
    fields += [pa.field(n, type_, metadata={"description": text}) for n, type_, text in (*_VERDICT_FIELDS, *more)]
    return pa.schema(fields, metadata={"gristmill.schema": f"ledger/{SCHEMA_VERSION}"})


@dataclass(frozen=True)
class Resolution:
    """What the comparison decided about the documents left in one batch; arrays as long as these.

    Attributes:
        stage: what decided, ``deduplication`` or ``hygiene``.
        verdict: ``kept``, ``dropped`` or ``duplicate``.
        rule: that decided; None for a document that is kept.
        value, threshold: of that rule; NaN for none.
        witness: id of the document that bears witness, null for none.
        dataset: earlier corpus of the witness, null where it belongs to this run.
        shared, union: sizes of intersection and union of both sets of shingles, 0 where nothing was compared.
        cluster, cluster_size, copies: see the ledger's columns.
        more: columns that only this comparison has.
    """

    stage: str
    verdict: np.ndarray
    rule: np.ndarray
    value: np.ndarray
    threshold: np.ndarray
    witness: pa.Array
    dataset: pa.Array
    shared: np.ndarray
    union: np.ndarray
    cluster: pa.Array
    cluster_size: np.ndarray
    copies: np.ndarray
    more: Mapping[str, pa.Array] = field(default_factory=dict)

    @property
    def kept(self) -> np.ndarray:
        """``bool[n]``."""
        return np.asarray(self.verdict == KEPT, bool)

    def gone_as(self, verdict: str, rule: str) -> np.ndarray:
        """Documents that went for a reason, ``bool[n]``."""
        return np.asarray((self.verdict == verdict) & (self.rule == rule), bool)


def miscounted(decided: int, left: int) -> RunError:
    """What to raise where decisions speak of another number of documents than are left."""
    return RunError(f"decisions speak of {decided} documents, {left} are left; run again")


_HEX = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), np.uint8).reshape(256, 2)


def ids_at(ids: np.ndarray, there: np.ndarray) -> pa.Array:
    """Ids as text, null where there is none.

    Args:
        ids: ``uint8[n, 16]``.
        there: ``bool[n]``.
    """
    text = np.ascontiguousarray(_HEX[ids].reshape(len(ids), 32))
    offsets = pa.py_buffer((32 * np.arange(len(ids) + 1)).astype(np.int32))
    found = pa.StringArray.from_buffers(len(ids), offsets, pa.py_buffer(text))
    return found.take(pa.array(np.arange(len(ids)), mask=~there))


def ledger_batch(
    schema: pa.Schema, shard: str, count: int, history: Sequence[Settled], left: np.ndarray,
    resolution: Resolution,
) -> pa.Table:  # fmt: skip
    """Rows of the ledger for one batch of records.

    Args:
        schema: from ``ledger_schema``.
        shard: its name.
        count: records in the batch.
        history: what every stage decided.
        left: records that reached the comparison.
        resolution: what became of those.
    """
    columns: dict[str, pa.Array] = {"shard": pa.array([shard] * count, pa.string())}
    for settled in history:
        for name, column in settled.measured.columns.items():
            if name in schema.names:
                whole = len(settled.rows) == count
                columns[name] = column if whole else null_fill(column, settled.rows, count)
    columns |= _verdicts(count, history, left, resolution, columns)
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _verdicts(
    count: int, history: Sequence[Settled], left: np.ndarray, resolution: Resolution, columns: dict[str, pa.Array]
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
    lost = ~resolution.kept
    gone, compared = left[lost], lost & (resolution.union > 0)
    similarity = np.full(count, np.nan)
    similarity[left[compared]] = resolution.shared[compared] / resolution.union[compared]
    verdict[gone], stage[gone] = resolution.verdict[lost], resolution.stage
    rule[gone] = resolution.rule[lost]
    value[gone], limit[gone] = resolution.value[lost], resolution.threshold[lost]
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
        "shared_shingles": null_fill(_where(resolution.shared, compared), left, count),
        "all_shingles": null_fill(_where(resolution.union, compared), left, count),
        "cluster": null_fill(resolution.cluster, left, count),
        "cluster_size": null_fill(pa.array(resolution.cluster_size, pa.int32()), left, count),
        "copies": null_fill(pa.array(resolution.copies, pa.int32()), left, count),
        **{name: null_fill(column, left, count) for name, column in resolution.more.items()},
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
