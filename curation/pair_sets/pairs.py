"""The pairs of a preference set, as the checks take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curation.pair_sets.numbering import numbered, order_by, repeated


@dataclass(frozen=True)
class PairSet:
    """One row for each pair; identifiers and digests as :func:`~curation.pair_sets.numbering.from_binary` gives them.

    Attributes:
        pair_id: ``uint64[n, 2]``, no value twice.
        prompt: ``int64[n]``, number of the prompt's cluster: equal for what counts as the same prompt.
        prompt_digest, chosen_digest, rejected_digest: ``uint64[n, 2]``, digests of the normalised texts.
        margin: ``float64[n]``, by how much the chosen response is better; NaN is unknown.
        ranking: ``int64[n]``, the ranking that the pair was taken from; -1 is none.
        priority: ``int64[n]``, the lowest goes first; equal ones go by ``pair_id``.
    """

    pair_id: np.ndarray
    prompt: np.ndarray
    prompt_digest: np.ndarray
    chosen_digest: np.ndarray
    rejected_digest: np.ndarray
    margin: np.ndarray
    ranking: np.ndarray
    priority: np.ndarray

    def __post_init__(self) -> None:
        """Raise :class:`ValueError` where columns do not fit together or an id occurs twice."""
        for name, column in vars(self).items():
            words = name == "pair_id" or name.endswith("_digest")
            shape = (len(self.pair_id), 2) if words else (len(self.pair_id),)
            if column.shape != shape:
                raise ValueError(f"{name} has the shape {column.shape} where {shape} is needed")
        if repeated(self.pair_id):
            raise ValueError("pair ids must differ")

    def __len__(self) -> int:
        return len(self.pair_id)

    def order(self) -> np.ndarray:
        """Rows in order of priority, ``int64[n]``; the same pairs in the same order however they came in."""
        return order_by(self.priority, self.pair_id)

    def take(self, rows: np.ndarray) -> PairSet:
        """Some of the pairs, by index or by mask."""
        return PairSet(**{name: column[rows] for name, column in vars(self).items()})


class Responses(NamedTuple):
    """Which response stands on which side; equal numbers are the same response.

    Attributes:
        chosen, rejected: ``int64[n]``, not negative.
    """

    chosen: np.ndarray
    rejected: np.ndarray


def responses_by_digest(pairs: PairSet) -> Responses:
    """Responses are the same if their digests are equal."""
    numbers = numbered(np.concatenate([pairs.chosen_digest, pairs.rejected_digest]))
    return Responses(numbers[: len(pairs)], numbers[len(pairs) :])


def told_apart(pairs: PairSet, clusters: Responses) -> Responses:
    """Response clusters, as far as they tell the two sides of a pair apart.

    Where both sides lie in one cluster it does not say which is which, and repeating the pair could not be told from
    swapping its labels.  Such a pair goes by its digests and meets only others of its kind.
    """
    blurred = clusters.chosen == clusters.rejected
    exact = responses_by_digest(pairs)
    beyond = 1 + int(max(clusters.chosen.max(initial=-1), clusters.rejected.max(initial=-1)))
    sides = zip(clusters, exact, strict=True)
    return Responses(*(np.where(blurred, beyond + by_digest, cluster) for cluster, by_digest in sides))
