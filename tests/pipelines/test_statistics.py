"""Statistics add up the same in any order, and say what numpy says."""

from __future__ import annotations

import random
from functools import reduce

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.canonical import canonical_json
from pipelines.statistics import edges_of, mean_of, measure_counts, merge

VALUES = st.lists(st.floats(-10, 1e7, allow_nan=False, width=32), min_size=1, max_size=30)


@given(st.lists(VALUES, min_size=1, max_size=8), st.randoms())
def test_any_order_gives_the_same_bytes(batches: list[list[float]], rng: random.Random) -> None:
    parts = [
        measure_counts({"perplexity": pa.array(b), "x_ratio": pa.array(b)}, {"language": ["en", "zh"] * 15})
        if len(b) == 30
        else measure_counts({"perplexity": pa.array(b)}, {"language": ["en"] * len(b)})
        for b in batches
    ]
    straight = reduce(merge, parts)
    rng.shuffle(parts)
    half = len(parts) // 2
    tree = [reduce(merge, p) for p in (parts[:half], parts[half:]) if p]
    assert canonical_json(reduce(merge, tree)) == canonical_json(straight)


@given(VALUES)
def test_sum_extremes_and_histogram(values: list[float]) -> None:
    found = measure_counts({"perplexity": pa.array(values)}, {})["perplexity"]
    assert found["count"] == len(values)
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert abs(mean_of(found) - np.mean(values)) <= 1e-6 * max(1.0, max(map(abs, values)))
    expected = np.bincount(np.searchsorted(edges_of("perplexity"), values, side="right"))
    assert found["histogram"]["all"] == {str(i): int(n) for i, n in enumerate(expected) if n}


def test_nulls_and_texts_are_passed_over() -> None:
    found = measure_counts({"a": pa.array([None, 2.0]), "b": pa.array(["x", "y"])}, {})
    assert list(found) == ["a"] and found["a"]["count"] == 1


def test_a_language_called_min_is_no_minimum() -> None:
    first = {"languages": {"min": {"documents": 2}}, "m": {"min": 3.0}}
    second = {"languages": {"min": {"documents": 5}}, "m": {"min": 1.0}}
    assert merge(first, second) == {"languages": {"min": {"documents": 7}}, "m": {"min": 1.0}}
