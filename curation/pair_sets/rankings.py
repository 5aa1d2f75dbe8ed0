"""Rankings and the pairs made of them.

A ranking of ``k`` responses without ties is ``k (k - 1) / 2`` pairs.  Its *levels* follow from its pairs: a response
stands as many levels below the top as the longest chain of pairs above it has.  No pair lies within a level, so that
responses of one level are ties, and what is *missing* are comparisons between levels: none, if and only if the pairs
are all that the levels give.  Missing pairs may still follow from others: if no level has two responses, they are an
order whatever is missing.

Nothing here drops a pair.  What contradicts itself is found over all pairs of a prompt by
:mod:`~curation.pair_sets.conflicts` and :mod:`~curation.pair_sets.cycles`; this file says which rankings are concerned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from curation.duplicates.arrays import read_only, run_starts
from curation.pair_sets.findings import Findings, findings_of, joined
from curation.pair_sets.graph import out_edges
from curation.pair_sets.numbering import numbered, order_by
from curation.pair_sets.pairs import PairSet, Responses, responses_by_digest

PAIR_RULES = ("ranking-cyclic", "ranking-incomplete")
MARGIN_RULES, SCORE_RULES = ("label-against-margin",), ("ranking-against-score",)


@dataclass(frozen=True)
class Rankings:
    """One row for each response of a ranking.

    Attributes:
        ranking: ``int64[m]``, which ranking.
        place: ``int64[m]``, 0 is the best; equal places are ties.
        response: ``int64[m]``.
        score: ``float64[m]``, higher is better; NaN is unknown.
    """

    ranking: np.ndarray
    place: np.ndarray
    response: np.ndarray
    score: np.ndarray

    def order(self) -> np.ndarray:
        """Rows by ranking, place and response, ``int64[m]``."""
        return order_by(self.ranking, self.place, self.response)


def pairs_of(rankings: Rankings) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of all rankings: rows of the better and of the other response, ``int64[p]`` each, in order of rankings.

    A ranking that repeats a response gives no pair of it with itself, but may give the same pair both ways.
    """
    order = rankings.order()
    ranking, place = rankings.ranking[order], rankings.place[order]
    if not order.size:
        return order, order
    starts = run_starts(ranking)
    ends = np.repeat(np.append(starts[1:], order.size), np.diff(np.append(starts, order.size)))
    steps = run_starts(np.stack([ranking, place], axis=1))
    worse = np.repeat(np.append(steps[1:], order.size), np.diff(np.append(steps, order.size)))  # next place or ranking
    counts = ends - worse
    left = np.repeat(np.arange(order.size), counts)
    right = np.arange(left.size) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(worse, counts)
    better, other = order[left], order[right]
    differ = rankings.response[better] != rankings.response[other]
    return better[differ], other[differ]


@dataclass(frozen=True)
class RankingSummary:
    """For a card.

    Attributes:
        rankings: how many pairs were taken from.
        complete: rankings whose pairs are all there, ties allowed.
        ordered: rankings whose pairs, complete or not, leave one order without ties.
        incomplete: rankings without a cycle of which pairs are missing.
        cyclic: rankings that contradict themselves.
        missing: comparisons that incomplete rankings lack.
        against_margin: pairs, of rankings or not, whose margin is negative.
    """

    rankings: int
    complete: int
    ordered: int
    incomplete: int
    cyclic: int
    missing: int
    against_margin: int


@dataclass(frozen=True)
class RankingCheck:
    """Outcome of :func:`check_rankings`; rankings in order of their numbers.

    Attributes:
        ranking: ``int64[r]``, the number in the pairs.
        size: ``int64[r]``, different responses.
        compared: ``int64[r]``, different comparisons.
        tied: ``int64[r]``, two responses of one level.
        missing: ``int64[r]``; 0 where cyclic.
        cyclic: ``bool[r]``.
        rankings: levels as places, of rankings without a cycle; no scores.
        findings: pairs of cyclic rankings (value: responses) and of incomplete ones (value: what is missing), and
            pairs whose margin is negative (value: the margin).
        summary: for a card.
    """

    ranking: np.ndarray
    size: np.ndarray
    compared: np.ndarray
    tied: np.ndarray
    missing: np.ndarray
    cyclic: np.ndarray
    rankings: Rankings
    findings: Findings
    summary: RankingSummary


def check_rankings(pairs: PairSet, *, clusters: Responses | None = None) -> RankingCheck:
    """Put the pairs of each ranking together again and say what is missing or contradicts itself.

    Args:
        pairs: all pairs of the set; those with a negative ``ranking`` belong to none.
        clusters: response clusters; without them responses are the same if their digests are.
    """
    responses = responses_by_digest(pairs) if clusters is None else clusters
    rows = np.flatnonzero((pairs.ranking >= 0) & (responses.chosen != responses.rejected))
    chosen, rejected = responses.chosen[rows], responses.rejected[rows]
    name, both = np.unique(pairs.ranking[rows], return_inverse=True)
    nodes = numbered(np.tile(both, 2), np.concatenate([chosen, rejected]))
    count = 1 + int(nodes.max(initial=-1))
    owner, response = np.empty(count, np.int64), np.empty(count, np.int64)
    owner[nodes], response[nodes] = np.tile(both, 2), np.concatenate([chosen, rejected])
    level = levels(nodes[: rows.size], nodes[rows.size :], count)

    size, cyclic = np.bincount(owner, minlength=name.size), np.zeros(name.size, np.bool_)
    cyclic[owner[level < 0]] = True
    compared = _distinct(name.size, both, np.minimum(chosen, rejected), np.maximum(chosen, rejected))
    tied = np.where(cyclic, 0, _same_level(name.size, owner, level))
    missing = np.where(cyclic, 0, size * (size - 1) // 2 - tied - compared)
    of_rows = np.full(len(pairs), -1, np.int64)
    of_rows[rows] = both
    findings = joined([_affected(of_rows, size, missing, cyclic), _against_margin(pairs)])
    sound = np.flatnonzero(~cyclic[owner])
    rankings = Rankings(name[owner[sound]], level[sound], response[sound], np.full(sound.size, np.nan))
    summary = RankingSummary(
        rankings=name.size,
        complete=int((~cyclic & (missing == 0)).sum()),
        ordered=int((~cyclic & (tied == 0)).sum()),
        incomplete=int((missing > 0).sum()),
        cyclic=int(cyclic.sum()),
        missing=int(missing.sum()),
        against_margin=findings.counts()[MARGIN_RULES[0]],
    )
    return RankingCheck(name, size, compared, tied, missing, cyclic, rankings, findings, summary)


def _distinct(count: int, group: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """Number of different rows in each group, ``int64[count]``."""
    numbers = numbered(group, *columns)
    of = np.empty(1 + int(numbers.max(initial=-1)), np.int64)
    of[numbers] = group
    return np.bincount(of, minlength=count)


def _same_level(count: int, owner: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Number of two responses of one level, by ranking, ``int64[count]``."""
    _, first, sizes = np.unique(numbered(owner, level), return_index=True, return_counts=True)
    ties = np.zeros(count, np.int64)
    np.add.at(ties, owner[first], sizes * (sizes - 1) // 2)
    return ties


def _affected(of_rows: np.ndarray, size: np.ndarray, missing: np.ndarray, cyclic: np.ndarray) -> Findings:
    rule, value = np.where(cyclic, 0, np.where(missing > 0, 1, -1)), np.where(cyclic, size, missing)
    ranked = of_rows >= 0
    by_row, values = np.full(of_rows.size, -1, np.int64), np.zeros(of_rows.size)
    by_row[ranked], values[ranked] = rule[of_rows[ranked]], value[of_rows[ranked]]
    return _noted(PAIR_RULES, by_row, values, np.full(of_rows.size, -1, np.int64))


def _against_margin(pairs: PairSet) -> Findings:
    rule = np.where(pairs.margin < 0, 0, -1)
    return _noted(MARGIN_RULES, rule, pairs.margin, np.full(len(pairs), -1, np.int64))


def _noted(rules: tuple[str, ...], rule: np.ndarray, value: np.ndarray, witness: np.ndarray) -> Findings:
    return findings_of(rules, rule, value, witness, np.zeros(rule.size, np.bool_))


def levels(tail: np.ndarray, head: np.ndarray, count: int) -> np.ndarray:
    """The longest chain of edges that ends in each node, ``int64[count]``; -1 behind and in cycles.

    Kahn, Topological sorting of large networks, Communications of the ACM 5 (1962).
    """
    starts, edges = out_edges(tail, count)
    level = np.full(count, -1, np.int64)
    before = np.bincount(head, minlength=count)
    _level(read_only(starts, np.int64), read_only(head[edges], np.int64), before, level)
    return level


@njit(cache=True, nogil=True)
def _level(starts: np.ndarray, heads: np.ndarray, before: np.ndarray, level: np.ndarray) -> None:
    """``before`` counts the edges into a node that are still to come.

    Nodes leave the queue in order of their levels, so the last edge into a node to come ends its longest chain.
    """
    queue = np.empty(level.size, np.int64)
    first = last = 0
    for node in range(level.size):
        if before[node] == 0:
            level[node] = 0
            queue[last] = node
            last += 1
    while first < last:
        node = queue[first]
        first += 1
        for place in range(starts[node], starts[node + 1]):
            other = heads[place]
            before[other] -= 1
            if before[other] == 0:
                level[other] = level[node] + 1
                queue[last] = other
                last += 1


def against_scores(rankings: Rankings) -> Findings:
    """Responses whose score is higher than that of a response in a better place of the same ranking.

    The row and the witness are rows of ``rankings``: the witness has the lowest score of all in better places, the
    first by place and response among equals; the value is by how much it is lower.  Ties contradict nothing.
    """
    order = rankings.order()
    witness = np.full(order.size, -1, np.int64)
    columns = (read_only(column[order], np.int64) for column in (rankings.ranking, rankings.place))
    score = read_only(rankings.score[order], np.float64)
    _lower_above(*columns, score, witness)
    by_row, value = np.full(order.size, -1, np.int64), np.zeros(order.size)
    found = np.flatnonzero(witness >= 0)
    by_row[order[found]], value[order[found]] = order[witness[found]], score[found] - score[witness[found]]
    return _noted(SCORE_RULES, np.where(by_row >= 0, 0, -1), value, by_row)


@njit(cache=True, nogil=True)
def _lower_above(ranking: np.ndarray, place: np.ndarray, score: np.ndarray, witness: np.ndarray) -> None:
    """``lowest`` is the lowest score of better places, ``candidate`` that with the present place; -1 is none."""
    lowest = candidate = -1
    for row in range(ranking.size):
        if row == 0 or ranking[row] != ranking[row - 1]:
            lowest = candidate = -1
        elif place[row] != place[row - 1]:
            lowest = candidate
        if lowest >= 0 and score[row] > score[lowest]:
            witness[row] = lowest
        if not np.isnan(score[row]) and (candidate < 0 or score[row] < score[candidate]):
            candidate = row
