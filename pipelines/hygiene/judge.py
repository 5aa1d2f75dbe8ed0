"""Decisions among entries that belong together: what contradicts another entry, and what repeats one.

In this order, each among what the one before left, so that no witness goes after it has spoken:

1. Pairs of one comparison that point both ways are a conflict (:mod:`curation.pair_sets.conflicts`).  Against an
   earlier entry, which cannot go any more, the new one goes.
2. Pairs along a cycle of three answers or more (:mod:`curation.pair_sets.cycles`).
3. An entry that repeats one that is kept, every side with an exact similarity above the threshold: nearly, or
   exactly, with the same turns on every side.  A chain of likenesses is not enough.

Which answers are the same: those of one cluster of prompts that are proven near-duplicates, in chains, if both have
``min_answer_words``; shorter ones only if they and their prompts are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from curation.duplicates.candidates import resolve_large
from curation.duplicates.jaccard import LEADER, Edges, above, count_pairs, leader_edges
from curation.duplicates.keep import components, greedy
from curation.duplicates.shingles import ShingleSets
from curation.pair_sets.conflicts import find_conflicts
from curation.pair_sets.cycles import find_cycles
from curation.pair_sets.findings import Findings
from curation.pair_sets.numbering import numbered
from curation.pair_sets.pairs import PairSet, Responses, told_apart
from pipelines.hygiene.gather import Gathered
from pipelines.recipe import Hygiene

NONE, EXACT, NEAR, CONFLICT, CYCLE = range(5)
LARGE_CLUSTER = 1 << 10  # different answers to one prompt, up to which each is compared with each


@dataclass(frozen=True)
class Judged:
    """What was decided about ``n`` entries; witnesses are rows, -1 for none.

    Attributes:
        code: ``uint8[n]``, why an entry goes.
        value: ``float64[n]``, see conflicts and cycles.
        witness: ``int64[n]``.
        shared, union: ``int64[n]``, of the side that is least like the witness's, of repetitions.
        contradiction: ``uint8[n]``, ``CONFLICT`` or ``CYCLE`` for entries that are part of one, kept or not.
        contradicts: ``int64[n]``, the entry that says so.
        copies: ``int64[n]``, entries of this run with the same turns on every side, itself included.
        summary: counts by name; they add up over clusters, but for those that begin with ``largest``.
        examples: rows of entries that contradict each other, first ones first.
    """

    code: np.ndarray
    value: np.ndarray
    witness: np.ndarray
    shared: np.ndarray
    union: np.ndarray
    contradiction: np.ndarray
    contradicts: np.ndarray
    copies: np.ndarray
    summary: dict[str, int]
    examples: list[tuple[int, int, int]]


def judge(found: Gathered, hygiene: Hygiene) -> Judged:
    """Decide about entries of whole clusters, in the order of staying; earlier ones stay."""
    count = len(found.entries)
    result = Judged(
        np.zeros(count, np.uint8), np.full(count, np.nan), np.full(count, -1), np.zeros(count, np.int64),
        np.zeros(count, np.int64), np.zeros(count, np.uint8), np.full(count, -1), _copies(found), {}, [],
    )  # fmt: skip
    sides = answers(found, hygiene)
    if len(sides) == 2:
        sides = list(told_apart(_pair_set(found.entries), Responses(*sides)))
        _contradictions(found, hygiene, Responses(*sides), result)
    _repetitions(found, hygiene, sides, result)
    return result


def _copies(found: Gathered) -> np.ndarray:
    """Entries of this run with the same digests, ``int64[n]``."""
    own = found.entries["origin"] == 0
    same = numbered(found.entries["cluster"], found.entries["digest"].reshape(-1, 6))
    copies: np.ndarray = np.bincount(same[own], minlength=1 + int(same.max(initial=-1)))[same]
    return copies


def answers(found: Gathered, hygiene: Hygiene) -> list[np.ndarray]:
    """A number for each answer, ``int64[n]`` for each side but the prompt: equal for the same answer to one prompt."""
    count, sides = len(found.entries), len(found.sets) - 1
    cluster = np.tile(found.entries["cluster"].astype(np.int64), sides)
    prompt = np.tile(found.entries["digest"][:, 0], (sides, 1))
    digest = np.concatenate([found.entries["digest"][:, 1 + side] for side in range(sides)])
    words = np.concatenate([found.entries["words"][:, side] for side in range(sides)])
    # Spellings of one answer may differ in words (1½ has one, 11⁄2 two); it is as long as its longest.
    spelled = numbered(cluster, digest)
    longest = np.zeros(1 + int(spelled.max(initial=-1)), np.int64)
    np.maximum.at(longest, spelled, words)
    long = longest[spelled] >= hygiene.min_answer_words
    numbers = np.empty(count * sides, np.int64)
    same = numbered(cluster[long], digest[long])
    place = np.flatnonzero(long)
    # One row of each, whichever: equal digests are equal turns.
    some = np.zeros(1 + int(same.max(initial=-1)), np.int64)
    some[same[::-1]] = place[::-1]
    sets = ShingleSets.concatenate(found.sets[1:]) if sides else found.sets[0]
    numbers[long] = _joined(sets.take(some), cluster[some], Fraction(hygiene.threshold))[same]
    numbers[~long] = some.size + numbered(prompt[~long], digest[~long])
    return [numbers[side * count : (side + 1) * count] for side in range(sides)]


def _joined(sets: ShingleSets, cluster: np.ndarray, threshold: Fraction) -> np.ndarray:
    """The component of each set among those of its cluster, by exact similarity.

    All sets of a cluster are compared with one another.  Where they are more than ``LARGE_CLUSTER`` they are compared
    with kept ones only, and two parts of a component may stay apart.
    """
    number, buckets = numbered(cluster), cluster.astype(np.uint64).reshape(-1, 1)
    large = np.bincount(number)[number] > LARGE_CLUSTER
    every, few, nobody = np.flatnonzero(~large), np.flatnonzero(large), np.zeros(len(sets), bool)
    every_edges = leader_edges(sets, every, buckets[every], np.full(every.size, LEADER, np.int8), threshold).edges
    few_edges = resolve_large(
        sets, few, buckets[few], nobody, threshold, lambda edges: greedy(edges, nobody).kept
    )  # fmt: skip
    every_edges = every_edges._replace(left=every[every_edges.left], right=every[every_edges.right])
    return components(Edges.concatenate(every_edges, few_edges), len(sets))


@dataclass(frozen=True)
class _Comparisons:
    """Two answers to prompts of one cluster, and which of them each pair prefers.

    Attributes:
        comparison: ``int64[n]``.
        forward: ``int64[n]``, 0 or 1.
    """

    comparison: np.ndarray
    forward: np.ndarray

    @classmethod
    def of(cls, cluster: np.ndarray, responses: Responses) -> _Comparisons:
        """Of all pairs."""
        comparison = numbered(cluster, np.minimum(*responses), np.maximum(*responses))
        return cls(comparison, (responses.chosen > responses.rejected).astype(np.int64))

    def said_by(self, rows: np.ndarray) -> np.ndarray:
        """The first of some rows that points either way, ``int64[2, comparisons]``; -1 for none."""
        said = np.full((2, 1 + int(self.comparison.max(initial=-1))), -1)
        said[self.forward[rows[::-1]], self.comparison[rows[::-1]]] = rows[::-1]
        return said

    def opposite(self, said: np.ndarray) -> np.ndarray:
        """For each pair the first that says the opposite, ``int64[n]``."""
        found: np.ndarray = said[1 - self.forward, self.comparison]
        return found


def _contradictions(found: Gathered, hygiene: Hygiene, responses: Responses, result: Judged) -> None:
    entries = found.entries
    pairs, comparisons = _pair_set(entries), _Comparisons.of(entries["cluster"], responses)
    _against_earlier(entries, comparisons, hygiene, result)
    own = np.flatnonzero((entries["origin"] == 0) & (result.code == NONE))
    some, sides = pairs.take(own), Responses(*(side[own] for side in responses))
    conflicts = find_conflicts(some, hygiene.conflicts, clusters=sides, combine=hygiene.margins)
    opposed = own[conflicts.opposed]
    result.contradiction[opposed] = CONFLICT
    result.contradicts[opposed] = comparisons.opposite(comparisons.said_by(own))[opposed]
    settled = conflicts.findings.rules.index("label-conflict")
    gone = _drop(result, own, conflicts.findings, CONFLICT, conflicts.findings.rule == settled)
    alive = ~np.isin(own, gone)
    cycles = find_cycles(some, hygiene.cycles, alive=alive, clusters=sides)
    cyclic, free = cycles.findings, result.contradiction[own[cycles.findings.row]] == NONE
    result.contradicts[own[cyclic.row[free]]] = own[cyclic.witness[free]]
    result.contradiction[own[cyclic.row[free]]] = CYCLE
    _drop(result, own, cyclic, CYCLE, np.ones(len(cyclic), bool))
    firsts = [own[conflicts.groups[group][0]] for group in range(len(conflicts.groups))]
    result.examples.extend((int(row), int(result.contradicts[row]), CONFLICT) for row in firsts)
    walks = [own[cycles.examples[group]] for group in range(len(cycles.examples))]
    result.examples.extend((int(walk[0]), int(walk[1]), CYCLE) for walk in walks)
    counted, walked = conflicts.summary, cycles.summary
    result.summary.update(
        comparisons=counted.comparisons,
        conflicts=counted.conflicts,
        conflicting_pairs=counted.conflicting,
        conflicts_settled=counted.settled,
        cycles=walked.components,
        cyclic_pairs=walked.cyclic,
        largest_cycle=walked.largest,
    )


def _pair_set(entries: np.ndarray) -> PairSet:
    number = entries["number"].astype(np.int64)
    ids = np.stack([np.zeros(len(entries), np.uint64), number.astype(np.uint64)], axis=1)
    prompt, chosen, rejected = (np.ascontiguousarray(entries["digest"][:, side]) for side in range(3))
    none = np.full(len(entries), -1)
    cluster = entries["cluster"].astype(np.int64)
    return PairSet(ids, cluster, prompt, chosen, rejected, entries["margin"].copy(), none, number)


def _against_earlier(entries: np.ndarray, comparisons: _Comparisons, hygiene: Hygiene, result: Judged) -> None:
    """New pairs whose comparison earlier pairs decide the other way, and none the same way."""
    earlier = entries["origin"] > 0
    said = comparisons.said_by(np.flatnonzero(earlier))
    witness = comparisons.opposite(said)
    alone = said[comparisons.forward, comparisons.comparison] < 0
    opposed = np.flatnonzero(~earlier & (witness >= 0) & alone)
    result.summary["conflicts_with_earlier"] = len(opposed)
    result.contradiction[opposed], result.contradicts[opposed] = CONFLICT, witness[opposed]
    if hygiene.conflicts != "keep":
        result.code[opposed], result.witness[opposed], result.value[opposed] = CONFLICT, witness[opposed], 1.0


def _drop(result: Judged, own: np.ndarray, findings: Findings, code: int, chosen: np.ndarray) -> np.ndarray:
    """Write down the findings of a check, as far as they drop a pair; returns the rows that go."""
    chosen = chosen & findings.dropped
    rows: np.ndarray = own[findings.row[chosen]]
    result.code[rows], result.value[rows] = code, findings.value[chosen]
    result.witness[rows] = own[findings.witness[chosen]]
    return rows


def _repetitions(found: Gathered, hygiene: Hygiene, sides: list[np.ndarray], result: Judged) -> None:
    """Entries that repeat a kept one; rounds in which the first entry left of each group stays."""
    entries = found.entries
    group = numbered(entries["cluster"], *sides)
    same = numbered(entries["cluster"], entries["digest"].reshape(-1, 6))
    left = np.flatnonzero(result.code == NONE)
    exact = near = 0
    while left.size:
        _, first, inverse = np.unique(group[left], return_index=True, return_inverse=True)
        leader = left[first][inverse]
        rest = leader != left
        left, leader = left[rest], leader[rest]
        shared, union, like = _least_like(found.sets, left, leader, Fraction(hygiene.threshold))
        equal = same[left] == same[leader]
        gone = like & (entries["origin"][left] == 0)
        if hygiene.duplicates == "drop":
            rows = left[gone]
            result.code[rows] = np.where(equal[gone], EXACT, NEAR)
            result.witness[rows], result.shared[rows], result.union[rows] = leader[gone], shared[gone], union[gone]
        exact, near = exact + int((gone & equal).sum()), near + int((gone & ~equal).sum())
        left = left[~gone]
    result.summary.update(exact=exact, near=near)


def _least_like(
    sets: list[ShingleSets], left: np.ndarray, right: np.ndarray, threshold: Fraction
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the sides of two entries the least similar, as intersection and union; whether all are above a threshold."""
    counts = [count_pairs(side, left, right) for side in sets]
    shared, union = (np.stack(columns, axis=1).astype(np.int64) for columns in zip(*counts, strict=True))
    like = np.all([above(*pair, threshold) for pair in counts], axis=0) if left.size else np.empty(0, bool)
    return *least_similar(shared, union), like


def least_similar(shared: np.ndarray, union: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The side with the lowest similarity, the first of equal ones.

    Args:
        shared, union: ``int64[n, sides]``.
    """
    rows, side = np.arange(len(shared)), np.argmin(shared / np.maximum(union, 1), axis=1)
    return shared[rows, side], union[rows, side]
