"""What a change does to entries that were compared as a set.

An entry that goes speaks no more: it repeats nothing, contradicts nothing, and no label of it counts.  What follows
stays within its cluster of prompts, and is known where nothing hung on it:

* Of a cluster without a contradiction an entry goes that repeated another: nothing else changes.
* Of a cluster in which hygiene decided nothing any entry goes: nothing else changes.

All other clusters that lose an entry are undetermined as a whole.  Where lengths were balanced, which pairs are taken
away depends on all of them, so those that were taken away are undetermined too.
"""

from __future__ import annotations

import numpy as np

from pipelines.what_if.codes import Codes
from pipelines.what_if.ledger_only import Components, Shaken, components_of
from pipelines.what_if.records import Chunk, Records


def settle_entries(records: Records, after: np.ndarray, codes: Codes, balanced: bool) -> np.ndarray:
    """Decide again about the clusters of entries that go.

    Args:
        after: codes by which entries went or stay, those that hygiene decided about as the run had them.
        balanced: whether the run balanced lengths.
    """
    gone = codes.are_left(records.before) & ~codes.are_left(after)
    if not gone.any():
        return after
    settled = after.copy()
    clusters = dict(zip(records.chunks, records.over_chunks(lambda chunk: components_of(records, chunk)), strict=True))
    shaken = Shaken(np.concatenate([np.empty(0, np.uint64), *_shaken(records, clusters, gone, codes)]))
    for chunk, found in clusters.items():
        rows = found.rows[shaken.have(found.hashes)].astype(np.int64) + chunk.first
        settled[rows[codes.are_left(after[rows])]] = codes.unknown
    if balanced:
        settled[after == codes.dropped["length-balance"]] = codes.unknown
    return settled


def _shaken(records: Records, clusters: dict[Chunk, Components], gone: np.ndarray, codes: Codes) -> list[np.ndarray]:
    """Clusters whose decisions hung on an entry that goes, as hashes."""
    spoken = (codes.exact, codes.near, *codes.dropped.values())
    lost, kept_lost, decided, disputed = [], [], [], []
    for chunk, found in clusters.items():
        rows = found.rows.astype(np.int64) + chunk.first
        before, leaves = records.before[rows], gone[rows]
        contradiction = records.read(chunk, ["contradiction"]).column(0).combine_chunks()
        said = np.asarray(contradiction.is_valid())[found.rows]
        lost.append(found.hashes[leaves])
        kept_lost.append(found.hashes[leaves & (before == codes.kept)])
        decided.append(found.hashes[Records.among(before, spoken)])
        disputed.append(found.hashes[said | (before == codes.dropped["held-out-leak"])])
    each = [
        np.unique(np.concatenate([np.empty(0, np.uint64), *parts])) for parts in (lost, kept_lost, decided, disputed)
    ]
    return [np.intersect1d(each[0], each[3]), np.intersect1d(each[1], each[2])]
