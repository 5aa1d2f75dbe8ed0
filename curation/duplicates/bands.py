"""Bands: which documents are compared at all.

A signature of ``bands * rows`` minima is cut into bands.  Two documents are candidates when they agree on
every row of at least one band, which happens with probability ``1 - (1 - s^rows)^bands`` at similarity ``s``
(Leskovec, Rajaraman, Ullman, *Mining of Massive Datasets*, section 3.4).  Candidates are compared exactly
afterwards, so bands are chosen for recall; what they let through beyond that costs time, never a wrong removal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from curation.duplicates.arrays import read_only
from curation.duplicates.kernel import agreement_rows, fingerprint_rows
from curation.errors import InputError


@dataclass(frozen=True)
class Bands:
    """How a signature is cut.  The default makes 99.8 % of the pairs that are just at 0.8 candidates."""

    bands: int = 21
    rows: int = 6

    def __post_init__(self) -> None:
        if self.bands < 1 or self.rows < 1:
            raise InputError(f"there must be at least one band of one row, not {self.bands} of {self.rows}")

    @property
    def permutations(self) -> int:
        """Length of the signature."""
        return self.bands * self.rows

    def probability(self, similarity: float) -> float:
        """The chance that two documents of this similarity become candidates."""
        return 1.0 - (1.0 - similarity**self.rows) ** self.bands


def bands_for(threshold: Fraction | float, recall: float = 0.998, noise: float = 0.1) -> Bands:
    """The fewest permutations that find enough and let through little.

    Args:
        threshold: similarity at which ``recall`` must be reached.
        recall: least chance of a pair at the threshold to become a candidate.
        noise: greatest chance of a pair at half the threshold.  Without it one row would always be cheapest,
            and everything would be compared with everything.

    Raises:
        InputError: a figure outside (0, 1), or more than 4096 permutations would be needed.
    """
    similarity = float(threshold)
    if not all(0 < value < 1 for value in (similarity, recall, noise)):
        raise InputError("threshold, recall and noise of bands must lie between 0 and 1, both excluded")
    choices = []
    for rows in range(1, 65):
        exact = math.log1p(-recall) / math.log1p(-(similarity**rows))
        if exact * rows > _MOST_PERMUTATIONS:
            break
        bands = Bands(max(1, math.ceil(exact - 1e-9)), rows)
        if bands.permutations <= _MOST_PERMUTATIONS and bands.probability(similarity / 2) <= noise:
            choices.append(bands)
    if not choices:
        message = f"no bands of up to {_MOST_PERMUTATIONS} permutations reach recall {recall} at {similarity}"
        raise InputError(f"{message} with at most {noise} of the pairs at half of it; allow more noise")
    return min(choices, key=lambda bands: (bands.permutations, -bands.rows))


_MOST_PERMUTATIONS = 4096


def fingerprints(minima: np.ndarray, bands: Bands) -> np.ndarray:
    """One 64-bit hash for each document and band.

    Args:
        minima: ``[n, permutations]`` as :func:`curation.duplicates.signature.signatures` gives them; more
            permutations than the bands need are ignored.

    Returns:
        ``uint64[n, bands]``.  Bands are hashed with their number, so equal values mean equal bands.
    """
    if minima.shape[1] < bands.permutations:
        raise ValueError(f"signatures of {minima.shape[1]} permutations cannot be cut into {bands}")
    result = np.empty((minima.shape[0], bands.bands), np.uint64)
    fingerprint_rows(read_only(minima, minima.dtype), bands.rows, result)
    return result


def agreements(minima: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """In how many permutations the signatures of each pair agree, ``int32[k]``."""
    result = np.empty(left.size, np.int32)
    rows = (read_only(side, np.int64) for side in (left, right))
    agreement_rows(read_only(minima, minima.dtype), *rows, result)
    return result


def least_agreement(threshold: Fraction | float, permutations: int, risk: float = 1e-5) -> int:
    """How many permutations must agree for a pair to be worth an exact comparison.

    A pair at the threshold agrees in fewer with a chance of at most ``risk`` (binomial distribution), so a
    rejection by this number costs that much of the recall.  It must never be used to accept.
    """
    similarity = float(threshold)
    below = 0.0
    for count in range(permutations + 1):
        log_chance = count * math.log(similarity) + (permutations - count) * math.log1p(-similarity)
        log_ways = math.lgamma(permutations + 1) - math.lgamma(count + 1) - math.lgamma(permutations - count + 1)
        below += math.exp(log_chance + log_ways)
        if below > risk:
            return count
    return permutations
