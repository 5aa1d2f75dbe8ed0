"""Near-duplicates of texts that fit into memory: all steps in a row.

A run over more documents does the same steps over files; this is their definition, and serves small corpora,
tests and people at a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pyarrow as pa

from curation.duplicates.bands import Bands, fingerprints
from curation.duplicates.candidates import LARGE_BUCKET, bucket_pairs, resolve_large, unique_pairs
from curation.duplicates.jaccard import Edges, as_threshold, count_pairs, verified
from curation.duplicates.keep import Decisions, decide, greedy, rank_by_length, representatives
from curation.duplicates.shingles import DEFINITION, ShingleSets, shingle_sets
from curation.duplicates.signature import Scheme, signatures

DEFAULT_BANDS = Bands()


def find_duplicates(
    text: pa.Array,
    ids: pa.Array | None = None,
    *,
    threshold: str | float | Fraction = "0.8",
    rank: np.ndarray | None = None,
    pinned: np.ndarray | None = None,
    definition: str = DEFINITION,
    bands: Bands = DEFAULT_BANDS,
    scheme: Scheme = "affine32",
    seed: int = 1,
    large_bucket: int = LARGE_BUCKET,
) -> Decisions:
    """Decide which texts repeat one that is kept.

    Args:
        text: ``string`` or ``large_string``; null counts as empty.
        ids: for the default order (longer first, then by id); without them, by row.
        threshold: a document goes only if its similarity with a kept one is above this.
        rank: another order of priority, ``int64[n]``, no value twice, 0 first.
        pinned: ``bool[n]``, documents that are never removed; they must come first.
        definition, bands, scheme, seed: of shingles and signatures.
        large_bucket: buckets of more documents are compared with kept documents only.  It alters the time
            that is needed and the components, never what is kept or which witness is named.

    Raises:
        InputError: an unusable threshold, definition or scheme.
        ValueError: ranks or pinned documents that contradict each other.
    """
    count = len(text)
    if rank is None:
        rank = rank_by_length(text, pa.array(np.arange(count)) if ids is None else ids)
    sketches = signatures(text, definition, scheme, bands.permutations, seed)
    return resolve_duplicates(
        sketches.text_hash,
        fingerprints(sketches.minima, bands),
        rank,
        lambda rows: shingle_sets(text.take(pa.array(rows)), definition),
        as_threshold(threshold),
        pinned=pinned,
        large_bucket=large_bucket,
    )


def resolve_duplicates(
    text_hash: np.ndarray,
    prints: np.ndarray,
    rank: np.ndarray,
    sets_of: Callable[[np.ndarray], ShingleSets],
    threshold: Fraction,
    *,
    pinned: np.ndarray | None = None,
    large_bucket: int = LARGE_BUCKET,
) -> Decisions:
    """The same from sketches; texts are asked for only where a document has a candidate or a copy.

    Args:
        text_hash: ``uint64[n, 2]``.
        prints: ``uint64[n, bands]``, band fingerprints.
        rank: ``int64[n]``, no value twice, 0 first.
        sets_of: shingle sets of the rows that it is given (``int64[m]``, rising), in that order.
        threshold: strict.
        pinned, large_bucket: see :func:`find_duplicates`.
    """
    count = rank.size
    pinned = np.zeros(count, np.bool_) if pinned is None else pinned
    representative = representatives(text_hash, rank)
    copies = np.bincount(representative, minlength=count) > 1
    first = np.flatnonzero(representative == np.arange(count))
    first = first[np.argsort(rank[first], kind="stable")]  # from here on numbered by priority
    prints = prints[first]

    fixed, numbers = pinned[first], np.arange(first.size)
    buckets = [bucket_pairs(column, numbers, large_bucket, int(fixed.sum())) for column in prints.T]
    left, right = unique_pairs(bucket.pairs for bucket in buckets)
    large = np.unique(np.concatenate([np.empty(0, np.int64), *(bucket.large for bucket in buckets)]))
    needed = np.unique(np.concatenate([left, right, large, np.flatnonzero(copies[first])]))
    sets = _sets_by_number(sets_of, first, needed)

    edges = verified(sets, left, right, threshold)
    if large.size:

        def keep(found: Edges) -> np.ndarray:
            return greedy(Edges.concatenate(edges, found), fixed).kept

        edges = Edges.concatenate(edges, resolve_large(sets, large, prints[large], fixed, threshold, keep))
    sizes = np.zeros(count, np.int64)
    sizes[first] = sets.sizes
    rows = edges._replace(left=first[edges.left], right=first[edges.right])
    return decide(representative, rank, rows, sizes, pinned)


def similarities(first: pa.Array, second: pa.Array, definition: str = DEFINITION) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of the shingle sets of texts, pair by pair, ``int32[n]`` each."""
    count = len(first)
    sets = ShingleSets.concatenate([shingle_sets(first, definition), shingle_sets(second, definition)])
    return count_pairs(sets, np.arange(count), count + np.arange(count))


def _sets_by_number(sets_of: Callable[[np.ndarray], ShingleSets], first: np.ndarray, needed: np.ndarray) -> ShingleSets:
    """Shingle sets by number: those of rows ``first[needed]``, empty ones for the rest."""
    order = np.argsort(first[needed], kind="stable")
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    some = sets_of(first[needed][order]).take(back)
    sizes = np.zeros(first.size, np.int64)
    sizes[needed] = some.sizes
    return ShingleSets(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), some.values)
