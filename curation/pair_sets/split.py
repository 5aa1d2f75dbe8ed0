"""Train and held-out, cut between prompt clusters and never through one; and what an existing split lets through.

A cluster's side follows from a seeded hash of its name.  Without languages a cluster is held out if its hash, as a
fraction of 2^64, is below the share.  Its side then depends on nothing else and stays what it is as a set grows, as
long as its name stays (a new text with a lesser id renames a cluster); the share is met on average.  With languages
the share is met in each: clusters are gone through in order of their hashes, and each is held out that still fits.
A cluster of several languages counts with that of most of its pairs, the lowest code among equals.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numba import njit

from curation.duplicates.arrays import read_only
from curation.pair_sets.clusters import Clusters
from curation.pair_sets.findings import Findings, findings_of, joined
from curation.pair_sets.length_bias import language_codes
from curation.pair_sets.numbering import order_by, seeded_hash
from curation.pair_sets.pairs import PairSet, Responses, responses_by_digest
from curation.pair_sets.shares import as_share

PROMPT_RULES, RESPONSE_RULES = ("prompt-leak",), ("response-leak",)


@dataclass(frozen=True)
class Split:
    """Outcome of :func:`split`.

    Attributes:
        held_out: ``bool[n]``.
        clusters, held_out_clusters: number of prompt clusters, in all and held out.
        by_language: pairs in all and held out, by language; empty without languages.
    """

    held_out: np.ndarray
    clusters: int
    held_out_clusters: int
    by_language: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class LeakSummary:
    """For a card.

    Attributes:
        train, held_out: number of pairs.
        shared_prompts, shared_responses: prompt clusters, and responses, that stand on both sides.
        prompt_leaks, response_leaks: held-out pairs whose prompt, or one of whose responses, stands in train.
    """

    train: int
    held_out: int
    shared_prompts: int
    shared_responses: int
    prompt_leaks: int
    response_leaks: int


@dataclass(frozen=True)
class Leaks:
    """Outcome of :func:`leaks`: held-out pairs, and how often their prompt or their responses stand in train."""

    findings: Findings
    summary: LeakSummary


def split(
    clusters: Clusters, share: str | float | Fraction, *, seed: int = 1, language: pa.Array | None = None
) -> Split:
    """Hold out a share of the pairs, by prompt cluster.

    Args:
        clusters: of the pairs' prompts.
        share: of what is held out.
        seed: another one gives another split.
        language: ``string`` by pair, where the share is to be met in each language.

    Raises:
        InputError: the share is not between 0 and 1.
    """
    wanted = as_share(share, "the share held out")
    number = clusters.number
    count = 1 + int(number.max(initial=-1))
    name = np.empty((count, 2), np.uint64)
    name[number] = clusters.name
    hashes = seeded_hash(name, seed)
    if language is None:
        chosen = hashes < np.uint64(wanted * (1 << 64) // 1)
        return Split(chosen[number], count, int(chosen.sum()), {})
    names, codes = language_codes(language)
    home, sizes = _most_frequent(number, codes, count), np.bincount(number, minlength=count)
    order = order_by(home, hashes, name)
    chosen = np.zeros(count, np.bool_)
    for code in range(len(names)):
        own = order[home[order] == code]
        chosen[own] = _fitting(sizes[own], int(wanted * int(sizes[own].sum())))
    held_out = chosen[number]
    total, out = (np.bincount(codes[rows], minlength=len(names)).tolist() for rows in (slice(None), held_out))
    by_language = dict(zip(names, zip(total, out, strict=True), strict=True))
    return Split(held_out, count, int(chosen.sum()), by_language)


def _most_frequent(number: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """The code that most rows of each cluster have, the lowest among equals, ``int64[count]``."""
    kinds = 1 + int(codes.max(initial=-1))
    cells, rows = np.unique(number * kinds + codes, return_counts=True)
    cluster, code = np.divmod(cells, max(kinds, 1))
    order = order_by(-cluster, rows, -code)  # the best of each cluster last
    home = np.empty(count, np.int64)
    home[cluster[order]] = code[order]
    return home


@njit(cache=True, nogil=True)
def _take_fitting(sizes: np.ndarray, room: int, taken: np.ndarray) -> None:
    for place in range(sizes.size):
        if sizes[place] <= room:
            taken[place] = True
            room -= sizes[place]


def _fitting(sizes: np.ndarray, room: int) -> np.ndarray:
    """Which sizes are taken if each that fits into what room is left is, ``bool[m]``."""
    taken = np.zeros(sizes.size, np.bool_)
    _take_fitting(read_only(sizes, np.int64), room, taken)
    return taken


def leaks(pairs: PairSet, held_out: np.ndarray, *, clusters: Responses | None = None) -> Leaks:
    """What stands on both sides of a split.

    Two files are checked by putting one behind the other and clustering their prompts together.  A short answer may
    be in both for good reasons; the findings say of each pair which train pair it meets, the caller judges.

    Args:
        pairs: of both sides.
        held_out: ``bool[n]``.
        clusters: response clusters; without them responses are the same if their digests are.
    """
    responses = responses_by_digest(pairs) if clusters is None else clusters
    train = pairs.order()
    train = train[~held_out[train]]
    prompts = _Seen(1 + int(pairs.prompt.max(initial=-1)), train, pairs.prompt[train])
    size = 1 + int(max(side.max(initial=-1) for side in responses))
    sides = np.stack([side[train] for side in responses], axis=1)
    texts = _Seen(size, np.repeat(train, 2), sides.ravel())
    by_prompt = prompts.findings(PROMPT_RULES, held_out, pairs.prompt)
    by_response = texts.findings(RESPONSE_RULES, held_out, *responses)
    summary = LeakSummary(
        train=train.size,
        held_out=int(held_out.sum()),
        shared_prompts=prompts.shared(pairs.prompt[held_out]),
        shared_responses=texts.shared(*(side[held_out] for side in responses)),
        prompt_leaks=len(by_prompt),
        response_leaks=len(by_response),
    )
    return Leaks(joined([by_prompt, by_response]), summary)


class _Seen:
    """How often each number stands in train, and in which row first."""

    def __init__(self, size: int, rows: np.ndarray, numbers: np.ndarray) -> None:
        self.times = np.bincount(numbers, minlength=size)
        self.first = np.full(size, -1, np.int64)
        self.first[numbers[::-1]] = rows[::-1]

    def findings(self, rules: tuple[str, ...], held_out: np.ndarray, *columns: np.ndarray) -> Findings:
        """Held-out rows with a number that stands in train; the witness is that of the first such column."""
        times, witness = np.zeros(held_out.size, np.int64), np.full(held_out.size, -1, np.int64)
        for column in columns:
            times += self.times[column]
            witness = np.where(witness < 0, self.first[column], witness)
        rule = np.where(held_out & (times > 0), 0, -1)
        return findings_of(rules, rule, times, witness, np.zeros(held_out.size, np.bool_))

    def shared(self, *columns: np.ndarray) -> int:
        """How many different numbers of some columns stand in train."""
        numbers = np.unique(np.concatenate(columns))
        return int((self.times[numbers] > 0).sum())
