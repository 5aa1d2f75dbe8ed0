"""Agreement: published examples, a twin, and the annotators of a real set."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.pair_sets.agreement import Votes, agreement, cohen_kappas


def votes_of(items: list[list[tuple[int, int]]]) -> Votes:
    """Votes from (annotator, label) by item."""
    flat = [(item, *vote) for item, votes in enumerate(items) for vote in votes]
    return Votes(*np.array(flat, np.int64).reshape(-1, 3).T)


def test_a_published_example_of_fleiss() -> None:
    # Ten subjects, fourteen raters, five categories; kappa 0.210 (Wikipedia, "Fleiss' kappa").
    table = """0 0 0 0 14; 0 2 6 4 2; 0 0 3 5 6; 0 3 9 2 0; 2 2 8 1 1; 7 7 0 0 0; 3 2 6 3 0; 2 5 3 2 2; 6 5 2 1 0;
        0 2 2 3 7"""
    items = [[label for label, n in enumerate(map(int, row.split())) for _ in range(n)] for row in table.split(";")]
    summary, _ = agreement(votes_of([list(enumerate(labels)) for labels in items]))
    assert summary.fleiss == pytest.approx(0.20993, abs=5e-6) and summary.rate == pytest.approx(0.378, abs=5e-4)


@pytest.mark.parametrize(
    ("cells", "kappa"), [((20, 5, 10, 15), 0.4), ((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)]
)
def test_published_examples_of_cohen(cells: tuple[int, ...], kappa: float) -> None:
    # Wikipedia, "Cohen's kappa": fifty grant proposals; two tables with the same agreement and different kappas.
    labels = [pair for pair, n in zip([(1, 1), (1, 0), (0, 1), (0, 0)], cells, strict=True) for _ in range(n)]
    [two] = cohen_kappas(votes_of([[(7, one), (9, other)] for one, other in labels]))
    assert (two.first, two.second, two.items) == (7, 9, sum(cells))
    assert two.cohen == pytest.approx(kappa, abs=5e-5)


def naive(items: list[list[tuple[int, int]]]) -> tuple[float, float]:
    rated = [[label for _, label in votes] for votes in items if votes]
    several = [[a == b for a, b in combinations(labels, 2)] for labels in rated if len(labels) > 1]
    rate = sum(sum(pairs) / len(pairs) for pairs in several) / len(several) if several else math.nan
    shares = (
        [sum(labels.count(label) / len(labels) for labels in rated) / len(rated) for label in range(3)]
        if rated
        else [1]
    )
    chance = sum(share**2 for share in shares)
    return rate, math.nan if chance > 1 - 1e-9 else (rate - chance) / (1 - chance)


def naive_cohen(items: list[list[tuple[int, int]]], first: int, second: int) -> tuple[int, float, float] | None:
    both = [(dict(votes)[first], dict(votes)[second]) for votes in items if {first, second} <= set(dict(votes))]
    if not both:
        return None
    rate = sum(a == b for a, b in both) / len(both)
    left, right = (Counter(labels) for labels in zip(*both, strict=True))
    chance = sum(left[label] * right[label] for label in left) / len(both) ** 2
    return len(both), rate, math.nan if chance > 1 - 1e-9 else (rate - chance) / (1 - chance)


ITEMS = st.lists(
    st.dictionaries(st.integers(0, 3), st.integers(0, 2), max_size=4).map(lambda d: list(d.items())), max_size=12
)


@given(ITEMS, st.randoms(use_true_random=False))
def test_agreement_is_that_of_the_twin(items: list[list[tuple[int, int]]], dice) -> None:
    votes = votes_of(items)
    summary, findings = agreement(votes)
    rate, kappa = naive(items)
    assert summary.rate == pytest.approx(rate, nan_ok=True) and summary.fleiss == pytest.approx(kappa, nan_ok=True)
    expected = {}
    for row, labels in enumerate([label for _, label in one] for one in items):
        most = Counter(labels).most_common(1)[0][1] if labels else 0
        if most < len(labels):
            rule = "annotators-differ" if 2 * most > len(labels) else "annotators-undecided"
            expected[row] = (rule, most / len(labels))
    assert {found.row: (found.rule, found.value) for found in findings.listed()} == expected
    assert summary.unanimous == sum(len(one) > 1 for one in items) - len(expected)
    assert summary.undecided == findings.counts()["annotators-undecided"]
    pairs = {(two.first, two.second): (two.items, two.rate, two.cohen) for two in cohen_kappas(votes)}
    for pair in combinations(range(4), 2):
        assert pairs.get(pair, (0,)) == pytest.approx(naive_cohen(items, *pair) or (0,), nan_ok=True)
    order = dice.sample(range(votes.item.size), votes.item.size)
    again, _ = agreement(Votes(votes.item[order], votes.annotator[order], votes.label[order]))
    assert again.fleiss == pytest.approx(summary.fleiss, nan_ok=True)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="one vote"):
        votes_of([[(1, 0), (1, 1)]])
    with pytest.raises(InputError, match="annotators"):
        cohen_kappas(votes_of([[(number, 0) for number in range(101)]]))
    summary, findings = agreement(votes_of([]))
    assert summary.items == 0 and math.isnan(summary.rate) and not len(findings)
    assert cohen_kappas(votes_of([])) == []


def test_real_annotators(real_data) -> None:
    with gzip.open(real_data / "preferences" / "pandalm-human-en.json.gz", "rt", encoding="utf-8") as file:
        labels = [[int(record[f"annotator{number}"]) for number in (1, 2, 3)] for record in json.load(file)]
    items = [list(enumerate(one)) for one in labels]
    summary, findings = agreement(votes_of(items))
    assert summary.items == 999 and summary.unanimous == sum(len(set(one)) == 1 for one in labels) == 879
    assert len(findings) == 120 and summary.undecided == sum(len(set(one)) == 3 for one in labels)
    # All of PandaLM's pairs of annotators are reported to be above 0.85 (Wang and others, ICLR 2024).
    assert [two.items for two in cohen_kappas(votes_of(items))] == [999] * 3
    assert all(two.cohen > 0.85 for two in cohen_kappas(votes_of(items)))
