"""Length as a predictor: figures against the mirrored data, intervals by their definitions, balance by search."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.pair_sets.length_bias import Lengths, balance, length_bias, measure, mirrored_auc, wilson
from tests.pair_sets.build import ids

Z = 1.959963984540054
DIFFERENCES = st.lists(st.integers(-6, 9), min_size=1, max_size=30)


def lengths_of(differences: list[int], language: list[str | None] | None = None) -> Lengths:
    base = np.full(len(differences), 50, np.int32)
    column = None if language is None else pa.array(language, pa.string())
    return Lengths((base + differences).astype(np.int32), base, column)


@given(DIFFERENCES)
def test_figures_are_those_of_the_data_shown_both_ways(differences: list[int]) -> None:
    count, bias = len(differences), measure(np.array(differences))
    assert (bias.longer, bias.shorter) == (sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    assert bias.accuracy == pytest.approx(sum((d > 0) + (d == 0) / 2 for d in differences) / count)
    wins = [[(a > -b) + (a == -b) / 2 for b in differences] for a in differences]
    auc = sum(map(sum, wins)) / count**2
    assert bias.auc == pytest.approx(auc)
    scores = [*differences, *(-d for d in differences)]
    if any(differences):
        labels = [1] * count + [0] * count
        assert bias.correlation == pytest.approx(float(np.corrcoef(scores, labels)[0, 1]), abs=1e-9)
    else:
        assert math.isnan(bias.correlation)
    if count > 1:  # Obuchowski's variance, a cluster for each pair: sums over positives, negatives, and both
        positive = [sum(row) / count - auc for row in wins]
        negative = [sum(row[number] for row in wins) / count - auc for number in range(count)]
        cross = sum(a * b for a, b in zip(positive, negative, strict=True))
        variance = (sum(a * a for a in positive) + sum(b * b for b in negative) + 2 * cross) / (count - 1) / count
        half = Z * math.sqrt(variance)
        assert bias.auc_low == pytest.approx(max(0, auc - half)) and bias.auc_high == pytest.approx(min(1, auc + half))


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_wilson_interval_ends_where_the_score_test_rejects(count: int, share: float) -> None:
    for bound in wilson(share, count):
        assert abs(share - bound) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / count), abs=1e-6)
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)  # Newcombe 1998, table I, method 3
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_nineteen_of_twenty_intervals_hold_the_truth(shift: float) -> None:
    generator = np.random.default_rng(5)
    drawn = generator.normal(shift, 1, (2000, 80))
    truth = 0.5 * math.erfc(-shift)  # d_i + d_j is normal with mean 2 shift and variance 2
    inside = [low <= truth <= high for _, low, high in map(mirrored_auc, drawn)]
    assert 0.93 < np.mean(inside) < 0.97


def test_languages_apart_and_before_and_after() -> None:
    lengths = lengths_of([1, 2, -1, 0, 3], ["zh", "en", "zh", None, "en"])
    report = length_bias(lengths)
    assert list(report.by_language) == ["en", "und", "zh"]
    assert [bias.accuracy for bias in report.by_language.values()] == [1.0, 0.5, 0.5]
    assert report.overall.pairs == 5 and report.overall.ties == 1
    after = length_bias(lengths, np.array([True, False, True, True, False]))
    assert after.by_language["en"].pairs == 0 and math.isnan(after.by_language["en"].accuracy)
    assert after.overall.accuracy == 0.5
    assert length_bias(lengths_of([])).by_language == {}
    assert measure(np.array([5])).auc_low == 0


BANDS = st.sampled_from([("0.45", "0.55"), ("0.5", "0.5"), ("0.4", "0.7"), ("0.3", "0.5")])


@settings(max_examples=150)
@given(st.lists(st.integers(-2, 3), max_size=16), BANDS)
def test_balance_drops_the_fewest(differences: list[int], band: tuple[str, str]) -> None:
    found = balance(lengths_of(differences), ids(range(len(differences))), band)
    low, high = map(Fraction, band)

    def within(longer: int, shorter: int, ties: int) -> bool:
        count = longer + shorter + ties
        return not count or low <= Fraction(2 * longer + ties, 2 * count) <= high

    signs = [sum(d > 0 for d in differences), sum(d < 0 for d in differences), sum(d == 0 for d in differences)]
    left = found.kept(len(differences))
    kept = [d for d, stays in zip(differences, left, strict=True) if stays]
    assert within(sum(d > 0 for d in kept), sum(d < 0 for d in kept), sum(d == 0 for d in kept))
    fewest = min(sum(gone) for gone in product(*(range(n + 1) for n in signs))
                 if within(*(n - k for n, k in zip(signs, gone, strict=True))))  # fmt: skip
    assert len(found) == fewest
    assert found.value.tolist() == [differences[row] for row in found.row]


@given(st.lists(st.integers(-2, 9), max_size=40), st.randoms(use_true_random=False))
def test_balance_depends_on_ids_and_seed_alone(differences: list[int], dice) -> None:
    count = len(differences)
    order = dice.sample(range(count), count)
    languages = ["en" if d % 2 else "zh" for d in differences]
    first = balance(lengths_of(differences, languages), ids(range(count)))
    moved = lengths_of([differences[row] for row in order], [languages[row] for row in order])
    second = balance(moved, ids(order))
    assert sorted(first.row.tolist()) == sorted(order[row] for row in second.row)
    narrow = balance(lengths_of(differences, languages), ids(range(count)), ("0.5", "0.5"))
    if (first.value > 0).all() and (narrow.value > 0).all():
        assert set(first.row) <= set(narrow.row)


def test_seeds_differ_and_bands_are_checked() -> None:
    lengths, names = lengths_of([1] * 300 + [-1] * 100), ids(range(400))
    drops = [set(balance(lengths, names, seed=seed).row.tolist()) for seed in (1, 2)]
    assert len(drops[0]) == len(drops[1]) and drops[0] != drops[1]
    half = np.arange(400) % 2 == 0
    again = balance(lengths, names, kept=half)
    assert half[again.row].all() and len(again) < len(drops[0])
    for wrong in (("0.6", "0.7"), ("0.5", "1"), ("a", "0.5")):
        with pytest.raises(InputError):
            balance(lengths, names, wrong)
