"""How far annotators agree about the same pairs.

Observed agreement of an item is the share of pairs of its votes that are equal; the rate is its mean over items with
two votes or more.

Fleiss' kappa: Fleiss, Measuring nominal scale agreement among many raters, Psychological Bulletin 76 (1971),
``(P - E) / (1 - E)`` with ``P`` the rate and ``E`` the sum of squares of the labels' shares.  Where items have
different numbers of votes it is taken as in Gwet, Handbook of Inter-Rater Reliability (4th edition, 2014): a label's
share is the mean over all items of its share in the item, and ``P`` is over items with two votes or more.  With equal
numbers this is the formula of 1971.

Cohen's kappa, of two annotators: Cohen, A coefficient of agreement for nominal scales, Educational and Psychological
Measurement 20 (1960).  The same formula over the items that both labelled, with ``E`` the sum over labels of the
product of both their shares.

A kappa is NaN where chance alone would agree always (``E = 1``: only one label was ever given) or nothing was labelled
twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from curation.duplicates.arrays import run_starts
from curation.errors import InputError
from curation.pair_sets.findings import Findings
from curation.pair_sets.numbering import numbered, order_by

RULES = ("annotators-differ", "annotators-undecided")
MOST_ANNOTATORS = 100  # of whom every two are compared


@dataclass(frozen=True)
class Votes:
    """One row for each vote.

    Attributes:
        item: ``int64[v]``, row of the pair that is judged.
        annotator: ``int64[v]``, nobody twice for an item.
        label: ``int64[v]``, any numbers; a tie is a label like others.
    """

    item: np.ndarray
    annotator: np.ndarray
    label: np.ndarray

    def __post_init__(self) -> None:
        """Raise :class:`ValueError` where somebody votes twice."""
        cells = numbered(self.item, self.annotator)
        if cells.size and 1 + int(cells.max()) < cells.size:
            raise ValueError("an annotator has one vote for an item")


@dataclass(frozen=True)
class Agreement:
    """For a card.

    Attributes:
        items, votes, annotators: how many there are.
        repeated: items with two votes or more.
        unanimous: of these, items whose votes are all equal.
        undecided: of these, items without a label that more than half of the votes give.
        rate: observed agreement, NaN where nothing was labelled twice.
        fleiss: Fleiss' kappa.
    """

    items: int
    votes: int
    annotators: int
    repeated: int
    unanimous: int
    undecided: int
    rate: float
    fleiss: float


@dataclass(frozen=True)
class TwoAnnotators:
    """Agreement of two annotators over the items that both labelled."""

    first: int
    second: int
    items: int
    rate: float
    cohen: float


def agreement(votes: Votes) -> tuple[Agreement, Findings]:
    """Agreement of all, and the items about which they differ.

    A finding's value is the share of the most frequent label; its rule says whether that is a majority.
    """
    item, label = numbered(votes.item), numbered(votes.label)
    labels = 1 + int(label.max(initial=-1))
    per_item = np.bincount(item)
    cells, counts = np.unique(item * labels + label, return_counts=True)
    owner = cells // max(labels, 1)
    agreeing, most = np.bincount(owner, counts * (counts - 1.0)), np.zeros(per_item.size, np.int64)
    np.maximum.at(most, owner, counts)
    several = per_item > 1
    differ, undecided = several & (most < per_item), several & (2 * most <= per_item)
    rate = _mean(agreeing[several] / (per_item * (per_item - 1.0))[several])
    shares = np.bincount(cells % max(labels, 1), counts / per_item[owner]) / max(per_item.size, 1)
    summary = Agreement(
        items=per_item.size,
        votes=item.size,
        annotators=np.unique(votes.annotator).size,
        repeated=int(several.sum()),
        unanimous=int((several & ~differ).sum()),
        undecided=int(undecided.sum()),
        rate=rate,
        fleiss=_kappa(rate, float((shares**2).sum())),
    )
    rows, rule = np.unique(votes.item)[differ], undecided[differ].astype(np.int8)
    nobody, none = np.full(rows.size, -1, np.int64), np.zeros(rows.size, np.bool_)
    return summary, Findings(RULES, rows, rule, (most / per_item)[differ], nobody, none)


def cohen_kappas(votes: Votes, least: int = 1) -> list[TwoAnnotators]:
    """Agreement of every two annotators with at least so many items in common.

    Raises:
        InputError: there are more than :data:`MOST_ANNOTATORS`.
    """
    order = order_by(votes.annotator, votes.item)
    item, label, annotator = votes.item[order], numbered(votes.label)[order], votes.annotator[order]
    starts = run_starts(annotator).tolist()
    if len(starts) > MOST_ANNOTATORS:
        raise InputError(f"no more than {MOST_ANNOTATORS} annotators are compared two by two, not {len(starts)}")
    own = [slice(start, end) for start, end in pairwise([*starts, annotator.size])]
    result = []
    for one, other in combinations(own, 2):
        both, left, right = np.intersect1d(item[one], item[other], assume_unique=True, return_indices=True)
        if both.size >= max(least, 1):
            rate, kappa = cohen(label[one][left], label[other][right])
            names = int(annotator[one.start]), int(annotator[other.start])
            result.append(TwoAnnotators(*names, both.size, rate, kappa))
    return result


def cohen(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Observed agreement and Cohen's kappa of two lists of labels, numbers from 0."""
    size = 1 + int(max(first.max(initial=-1), second.max(initial=-1)))
    rate = _mean((first == second).astype(np.float64))
    chance = (
        np.bincount(first, minlength=size)
        / max(first.size, 1)
        @ (np.bincount(second, minlength=size) / max(first.size, 1))
    )
    return rate, _kappa(rate, float(chance))


def _kappa(rate: float, chance: float) -> float:
    return math.nan if chance >= 1 - 1e-12 else (rate - chance) / (1 - chance)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
