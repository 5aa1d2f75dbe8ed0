"""Statistics of a shard that add up: counts, exact sums and fixed-edge histograms.

Every leaf is an integer that is added, or a ``min`` or ``max``.  Merging is therefore associative and
commutative to the bit: any order of shards, any tree of merges gives the same statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curation.stage import Decision, Stage, as_float

# Sums are kept in units of 2**-30, so that adding is exact; values beyond 2**40 count as 2**40.
FIXED_POINT_BITS = 30
LARGEST = float(1 << 40)

# Shares lie in [0, 1]: fifty equal bins.  Everything else: four bins to each doubling, from 2**-4 to 2**36.
SHARE_EDGES = np.arange(51) / 50
LOG_EDGES = np.concatenate([[0.0], 2.0 ** (np.arange(-16, 145) / 4)])

Counts = dict[str, Any]


def is_share(column: str) -> bool:
    """Whether a measure lies in [0, 1] by its name."""
    return column.endswith(("_ratio", "_score", "_share"))


def edges_of(column: str) -> np.ndarray:
    """Bin edges of a measure; bin ``i`` is ``[edges[i - 1], edges[i])``, bin 0 below, the last above all."""
    return SHARE_EDGES if is_share(column) else LOG_EDGES


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> Counts:
    """Add two statistics."""
    merged: Counts = dict(first)
    for key, value in second.items():
        if key not in merged:
            merged[key] = value
        elif isinstance(value, Mapping):
            merged[key] = merge(merged[key], value)
        elif key == "min":
            merged[key] = min(merged[key], value)
        elif key == "max":
            merged[key] = max(merged[key], value)
        else:
            merged[key] += value
    return merged


def no_counts(stages: Sequence[str]) -> Counts:
    """Statistics of nothing: neutral in a merge, and what an empty shard has.

    Args:
        stages: names.
    """
    none: Counts = {"documents": 0, "tokens": 0}
    names = ("kept", "dropped", "duplicate", "quarantined", "read")
    empty: Counts = {"in": none, "kept": none, "dropped": {}, "failing": {}, "overlap": {}, "quarantined": {}}
    return {
        "records": dict.fromkeys(names, 0),
        "tokens": {"extracted": 0, "published": 0},
        "stages": {stage: empty for stage in stages},
        "deduplication": dict.fromkeys(("in", "kept", "exact", "near"), none),
        "languages": {},
        "domains": {},
        "measures": {},
    }


def stage_counts(stage: Stage, decision: Decision, errors: Mapping[int, str], tokens: np.ndarray) -> Counts:
    """What one stage did to one batch.

    Args:
        errors: error class by row.
        tokens: ``int64[n]``, extracted tokens of each document that reached the stage.
    """
    rules = stage.rules()
    gone = decision.first >= 0
    faulty = np.zeros(len(tokens), bool)
    faulty[list(errors)] = True
    counts: Counts = {
        "in": _amount(np.ones(len(tokens), bool), tokens),
        "kept": _amount(~gone & ~faulty, tokens),
        "dropped": {},
        "failing": {},
        "overlap": {},
        "quarantined": {},
    }
    for index, rule in enumerate(rules):
        first = (decision.first == index) & ~faulty
        if first.any():
            counts["dropped"][rule.name] = _amount(first, tokens)
        failing = int((decision.failing[index] & ~faulty).sum())
        if failing:
            counts["failing"][rule.name] = failing
        for other in range(index):
            both = int((decision.failing[index] & decision.failing[other] & ~faulty).sum())
            if both:
                counts["overlap"][f"{rules[other].name} & {rule.name}"] = both
    for row, name in sorted(errors.items()):
        counts["quarantined"] = merge(counts["quarantined"], {name: {"documents": 1, "tokens": int(tokens[row])}})
    return counts


def amount(chosen: np.ndarray, tokens: np.ndarray) -> Counts:
    """Number of documents chosen, and their tokens."""
    return {"documents": int(chosen.sum()), "tokens": int(tokens[chosen].sum())}


_amount = amount


def measure_counts(columns: Mapping[str, pa.Array], groups: Mapping[str, Sequence[str | None]]) -> Counts:
    """Count, exact sum, extremes and histograms of each numeric measure.

    Args:
        columns: by name; others than numbers and booleans are passed over.
        groups: group of each document by kind of group (``language``, ``domain``).
    """
    codes = {kind: np.unique(np.array([g or "und" for g in group], dtype=str), return_inverse=True)
             for kind, group in groups.items()}  # fmt: skip
    counts: Counts = {}
    for name, array in columns.items():
        if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)):
            continue
        values = as_float(array)
        there = np.isfinite(values)
        if there.any():
            counts[name] = _describe(name, values, there, codes)
    return counts


def _describe(
    name: str, values: np.ndarray, there: np.ndarray, codes: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Counts:
    present = values[there]
    bins = np.digitize(present, edges_of(name))
    histogram: Counts = {"all": _tally(bins)}
    for kind, (names, inverse) in codes.items():
        inverse = inverse[there]
        histogram[kind] = {str(names[code]): _tally(bins[inverse == code]) for code in np.unique(inverse)}
    return {
        "count": int(there.sum()),
        "sum": _exact_sum(present),
        "min": float(present.min()) + 0.0,  # -0.0 and 0.0 are one value and must be one text
        "max": float(present.max()) + 0.0,
        "histogram": histogram,
    }


def _tally(bins: np.ndarray) -> Counts:
    found, counts = np.unique(bins, return_counts=True)
    return {str(b): int(c) for b, c in zip(found, counts, strict=True)}


def _exact_sum(values: np.ndarray) -> int:
    clipped = np.clip(values, -LARGEST, LARGEST)
    whole = np.floor(clipped)
    rest = np.rint((clipped - whole) * (1 << FIXED_POINT_BITS))
    return (int(whole.astype(np.int64).sum()) << FIXED_POINT_BITS) + int(rest.astype(np.int64).sum())


def mean_of(measure: Mapping[str, Any]) -> float:
    """Mean of a measure from its count and fixed-point sum."""
    return float(measure["sum"]) / (1 << FIXED_POINT_BITS) / float(measure["count"])
