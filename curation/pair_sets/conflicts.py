"""Pairs that repeat each other, and pairs whose labels are swapped.

A *comparison* is a prompt cluster with two responses.  Its pairs point one way or the other:

* All one way: the first by priority stays, the others are repetitions of it.
* Both ways: a conflict, settled by a policy.  Every pair has a vote, repetitions included: an answer that three people
  preferred is three rows.

=============== ==================================================================================================
``drop-both``   nobody is right: all pairs go
``majority``    the direction with more pairs stays; as many on either side: all go
``keep-margin`` the direction with the larger margin stays, summed over its pairs or the largest of them; equal, or
                one margin unknown: all go
``keep``        both directions stay
=============== ==================================================================================================

Of a direction that stays, the first pair by priority stays, the others are repetitions of it.  Each pair gets at most
one finding: what goes with its direction is part of the conflict and no repetition.  A pair whose two responses are
the same has no direction; it can be repeated but contradicts nothing.

Witnesses: of a repetition, the pair that it repeats; of a pair in a conflict, the first by priority that says the
opposite.  A witness stays in the set whenever its direction does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from curation.pair_sets.findings import Findings, Groups, findings_of, grouped
from curation.pair_sets.numbering import as_columns, numbered
from curation.pair_sets.pairs import PairSet, Responses, responses_by_digest, told_apart
from curation.pair_sets.policies import Combine, ConflictPolicy

RULES = ("pair-duplicate", "pair-near-duplicate", "label-conflict")
_DUPLICATE, _NEAR, _CONFLICT = range(3)


@dataclass(frozen=True)
class ConflictSummary:
    """For a card.

    Attributes:
        pairs: number of pairs.
        comparisons: different prompt clusters with two responses.
        duplicates: pairs that repeat one with the same three digests.
        near_duplicates: pairs that repeat one with the same clusters.
        conflicts: comparisons with pairs in both directions.
        conflicting: pairs of these comparisons.
        settled: conflicts of which one direction stays.
        dropped: pairs that the policy takes away, repetitions included.
    """

    pairs: int
    comparisons: int
    duplicates: int
    near_duplicates: int
    conflicts: int
    conflicting: int
    settled: int
    dropped: int


@dataclass(frozen=True)
class Conflicts:
    """Outcome of :func:`find_conflicts`.

    Attributes:
        findings: a value is the number of pairs in the witness's direction, less those in the pair's own; for
            repetitions the number of pairs in their direction.
        groups: each conflict with all its pairs.
        opposed: ``bool[n]``, pairs of conflicts.
        summary: for a card.
    """

    findings: Findings
    groups: Groups
    opposed: np.ndarray
    summary: ConflictSummary


@dataclass(frozen=True)
class _Directions:
    """Pairs by comparison and direction, as dense numbers.

    Attributes:
        order: rows in order of priority.
        direction: ``int64[n]``, of each pair.
        first: ``int64[d]``, the first pair of each direction.
        votes: ``int64[d]``.
        opposite: ``int64[d]``, the other direction of the comparison; -1 where nobody points there.
    """

    order: np.ndarray
    direction: np.ndarray
    first: np.ndarray
    votes: np.ndarray
    opposite: np.ndarray


def find_conflicts(
    pairs: PairSet,
    policy: ConflictPolicy = "majority",
    *,
    clusters: Responses | None = None,
    combine: Combine = "sum",
) -> Conflicts:
    """Find repetitions and conflicts, and settle them.

    Args:
        pairs: all pairs of the set.
        policy: see above.
        clusters: response clusters; without them responses are the same if their digests are.
        combine: how ``keep-margin`` makes one margin of several; sums are taken in order of priority.

    Raises:
        ValueError: there is no such policy.
    """
    if policy not in get_args(ConflictPolicy) or combine not in get_args(Combine):
        raise ValueError(f"there is no policy {policy!r} with {combine!r}")
    responses = responses_by_digest(pairs) if clusters is None else told_apart(pairs, clusters)
    way = _directions(pairs, responses)
    return _outcome(pairs, way, _staying(pairs, way, policy, combine))


def opposed(prompt: np.ndarray, responses: Responses) -> np.ndarray:
    """Which pairs belong to a comparison with pairs in both directions, ``bool[n]``."""
    comparison, forward = _comparisons(prompt, responses)
    seen = np.zeros((2, 1 + int(comparison.max(initial=-1))), np.bool_)
    seen[forward, comparison] = True
    both: np.ndarray = seen[0, comparison] & seen[1, comparison]
    return both


def _comparisons(prompt: np.ndarray, responses: Responses) -> tuple[np.ndarray, np.ndarray]:
    """The comparison of each pair, and which way it points, 0 or 1."""
    comparison = numbered(prompt, np.minimum(*responses), np.maximum(*responses))
    return comparison, (responses.chosen > responses.rejected).astype(np.int64)


def _directions(pairs: PairSet, responses: Responses) -> _Directions:
    comparison, forward = _comparisons(pairs.prompt, responses)
    direction = numbered(comparison, forward)
    count, order = 1 + int(direction.max(initial=-1)), pairs.order()
    first, of = np.empty(count, np.int64), np.empty(count, np.int64)
    first[direction[order[::-1]]] = order[::-1]  # the last one written is the first by priority
    of[direction] = comparison
    opposite = np.full(count, -1, np.int64)
    both = np.flatnonzero(of[1:] == of[:-1])  # directions of one comparison stand side by side
    opposite[both], opposite[both + 1] = both + 1, both
    return _Directions(order, direction, first, np.bincount(direction, minlength=count), opposite)


def _staying(pairs: PairSet, way: _Directions, policy: ConflictPolicy, combine: Combine) -> np.ndarray:
    """Which directions stay, ``bool[d]``."""
    alone = way.opposite < 0
    if policy in ("drop-both", "keep"):
        return alone | (policy == "keep")
    strength = way.votes if policy == "majority" else _margins(pairs, way, combine)
    stays: np.ndarray = alone | (strength > strength[way.opposite])  # false where either is unknown
    return stays


def _margins(pairs: PairSet, way: _Directions, combine: Combine) -> np.ndarray:
    """The margin of each direction, ``float64[d]``; NaN where one of its pairs has none."""
    direction, margin = way.direction[way.order], pairs.margin[way.order]
    if combine == "sum":
        return np.bincount(direction, margin, minlength=way.votes.size)
    greatest = np.full(way.votes.size, -np.inf)
    with np.errstate(invalid="ignore"):
        np.maximum.at(greatest, direction, margin)
    return greatest


def _outcome(pairs: PairSet, way: _Directions, stays: np.ndarray) -> Conflicts:
    rows = np.arange(len(pairs))
    first, against = way.first[way.direction], way.opposite[way.direction]
    conflicting = against >= 0
    repeats = stays[way.direction] & (first != rows)
    rule = np.where(
        repeats, np.where(_same_texts(pairs, first), _DUPLICATE, _NEAR), np.where(conflicting, _CONFLICT, -1)
    )
    own, other = way.votes[way.direction], np.where(conflicting, way.votes[against], 0)
    findings = findings_of(
        RULES,
        rule,
        np.where(repeats, own, other - own),
        np.where(repeats, first, np.where(conflicting, way.first[against], -1)),
        repeats | ~stays[way.direction],
    )
    groups = grouped(np.where(conflicting, np.maximum(way.direction, against), -1), way.order)
    return Conflicts(findings, groups, conflicting, _summary(way, stays, findings, groups))


def _same_texts(pairs: PairSet, other: np.ndarray) -> np.ndarray:
    """Which pairs have the digests of another row, ``bool[n]``."""
    columns = as_columns(pairs.prompt_digest, pairs.chosen_digest, pairs.rejected_digest)
    same = np.ones(len(pairs), np.bool_)
    for column in columns:
        same &= column == column[other]
    return same


def _summary(way: _Directions, stays: np.ndarray, findings: Findings, groups: Groups) -> ConflictSummary:
    paired, counts = way.opposite >= 0, findings.counts()
    return ConflictSummary(
        pairs=way.direction.size,
        comparisons=stays.size - len(groups),
        duplicates=counts["pair-duplicate"],
        near_duplicates=counts["pair-near-duplicate"],
        conflicts=len(groups),
        conflicting=groups.rows.size,
        settled=int((stays & paired & ~stays[way.opposite]).sum()),
        dropped=int(findings.dropped.sum()),
    )
