"""Clusters of prompts: components, names, and real near-duplicates by brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.duplicates.shingles import shingle_sets
from curation.pair_sets.clusters import Clusters, cluster, near_duplicates
from tests.pair_sets.build import digests, ids
from tests.pair_sets.real import real_pairs


def naive(names: list[int], texts: list[int], edges: list[tuple[int, int]]) -> list[int]:
    """The least name that each row is joined with."""
    joined = [{row} for row in range(len(names))]
    same = [pair for pair in combinations(range(len(names)), 2) if texts[pair[0]] == texts[pair[1]]]
    for _ in names:
        for left, right in [*same, *edges]:
            both = joined[left] | joined[right]
            joined[left], joined[right] = both, both
    return [min(names[row] for row in rows) for rows in joined]


def clusters_of(names: list[int], texts: list[int], edges: list[tuple[int, int]]) -> Clusters:
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    return cluster(ids(names), digests(texts), left, right)


@st.composite
def joined_texts(draw: st.DrawFn) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    size = draw(st.integers(0, 12))
    texts = draw(st.lists(st.integers(0, 8), min_size=size, max_size=size))
    rows = st.integers(0, max(size - 1, 0))
    return draw(st.permutations(range(size))), texts, draw(st.lists(st.tuples(rows, rows), max_size=6 if size else 0))


@given(joined_texts(), st.randoms(use_true_random=False))
def test_clusters_are_components_with_the_least_name(drawn: tuple, dice) -> None:
    names, texts, edges = drawn
    result, expected = clusters_of(names, texts, edges), naive(names, texts, edges)
    assert result.name[:, 1].tolist() == expected
    assert result.number.tolist() == [sorted(set(expected)).index(name) for name in expected]
    summary = result.summary()
    kinds = {name: {text for text, own in zip(texts, expected, strict=True) if own == name} for name in expected}
    assert (summary.texts, summary.digests, summary.clusters) == (len(names), len(set(texts)), len(kinds))
    assert summary.merged == sum(len(kind) > 1 for kind in kinds.values())
    assert summary.largest == max((expected.count(name) for name in expected), default=0)
    order = dice.sample(range(len(names)), len(names))
    place = {row: number for number, row in enumerate(order)}
    moved = clusters_of(
        [names[row] for row in order], [texts[row] for row in order], [(place[b], place[a]) for a, b in edges]
    )
    assert moved.number.tolist() == [result.number[row] for row in order]


@pytest.mark.parametrize("kind", ["hh", "dpo-zh", "oasst"])
def test_near_prompts_of_real_data_are_those_of_brute_force(real_data, kind: str) -> None:
    texts = sorted({pair.prompt for pair in real_pairs(real_data, kind)})[:600]
    names = list(range(len(texts)))
    left, right = near_duplicates(pa.array(texts, pa.large_string()))
    found = cluster(ids(names), digests(texts), left, right)
    sets = [set(values.tolist()) for values in map(shingle_sets(pa.array(texts)).__getitem__, names)]
    edges = [
        (a, b) for a, b in combinations(names, 2)
        if len(sets[a]) * 5 > len(sets[b]) * 4 and len(sets[b]) * 5 > len(sets[a]) * 4
        and Fraction(len(sets[a] & sets[b]), len(sets[a] | sets[b])) > Fraction(4, 5)
    ]  # fmt: skip
    assert found.name[:, 1].tolist() == naive_fast(names, edges)


def naive_fast(names: list[int], edges: list[tuple[int, int]]) -> list[int]:
    least = list(names)
    while True:
        before = list(least)
        for a, b in edges:
            least[a] = least[b] = min(least[a], least[b])
        if least == before:
            return least
