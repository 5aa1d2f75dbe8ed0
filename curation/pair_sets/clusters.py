"""Clusters of texts: what counts as the same prompt, or as the same response.

Texts with one digest are the same, and so are two whose exact similarity is above a threshold.  A cluster is a
connected component of both relations together, so its ends may differ more than the threshold allows: right for
keeping train and held-out apart, and harmless for conflicts, where responses must agree as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa

from curation.duplicates.find import find_duplicates
from curation.duplicates.jaccard import Edges
from curation.duplicates.keep import components
from curation.pair_sets.numbering import numbered, order_by


@dataclass(frozen=True)
class ClusterSummary:
    """For a card.

    Attributes:
        texts: number of texts, repeated ones included.
        digests: number of different texts.
        clusters: number of clusters.
        merged: clusters of more than one digest, which near-duplicates brought together.
        largest: texts of the largest cluster.
    """

    texts: int
    digests: int
    clusters: int
    merged: int
    largest: int


@dataclass(frozen=True)
class Clusters:
    """Clusters of ``n`` texts.

    Attributes:
        number: ``int64[n]``, the cluster of each text; clusters are numbered in order of their names.
        name: ``uint64[n, 2]``, the least id of the cluster's texts.
        digest: ``int64[n]``, equal for equal digests.
    """

    number: np.ndarray
    name: np.ndarray
    digest: np.ndarray

    def summary(self) -> ClusterSummary:
        """How many there are."""
        of_digest = np.zeros(1 + int(self.digest.max(initial=-1)), np.int64)
        of_digest[self.digest] = self.number
        digests = np.bincount(of_digest)
        return ClusterSummary(
            texts=self.number.size,
            digests=of_digest.size,
            clusters=digests.size,
            merged=int((digests > 1).sum()),
            largest=int(np.bincount(self.number).max(initial=0)),
        )


def cluster(ids: np.ndarray, digest: np.ndarray, left: np.ndarray, right: np.ndarray) -> Clusters:
    """Join texts with equal digests, and near-duplicates.

    Args:
        ids: ``uint64[n, 2]``; the pair's id, or the digest itself where a text has no other name.
        digest: ``uint64[n, 2]``.
        left, right: ``int64[k]``, rows of verified near-duplicates, in any order; one row of each digest will do.
    """
    count = len(ids)
    same = numbered(digest)
    order = order_by(ids)
    place = np.empty_like(order)
    place[order] = np.arange(count)
    some = np.empty(1 + int(same.max(initial=-1)), np.int64)
    some[same] = place  # of each digest one place, whichever
    one, other = np.concatenate([place, place[left]]), np.concatenate([some[same], place[right]])
    root = components(Edges(one, other, np.empty(0, np.int32), np.empty(0, np.int32)), count)[place]
    name = ids[order[root]]
    return Clusters(numbered(name), name, same)


def near_duplicates(
    text: pa.Array, threshold: str | float | Fraction = "0.8", large_bucket: int = 1 << 10
) -> tuple[np.ndarray, np.ndarray]:
    """Rows that :func:`cluster` must join, by the exact similarity of :mod:`curation.duplicates`.

    These are not all verified pairs but enough to connect the same components.  In a bucket of more than
    ``large_bucket`` texts only pairs with kept texts are verified, and two parts of a component may stay apart.
    Texts with the same words (``word-5gram/1``: whatever their case and punctuation) are joined too.

    Args:
        text: ``string`` or ``large_string``; best each text once.
        threshold, large_bucket: see :func:`curation.duplicates.find.find_duplicates`.
    """
    component = find_duplicates(text, threshold=threshold, large_bucket=large_bucket).component
    rows = np.flatnonzero(component != np.arange(component.size))
    return component[rows], rows
