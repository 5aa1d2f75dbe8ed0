"""What a change does to duplicates, as far as the ledger alone knows: for runs whose evidence is gone.

Of each duplicate the ledger names one kept witness, and of each document its component.  From these follows, without
any pair or text:

* A duplicate that goes takes nothing with it: a document that was not kept has removed nobody.
* A duplicate whose witness stays before it stays a duplicate.
* A kept document that goes leaves its place to the next of its exact copies: the pairs of one are those of all.
* A duplicate of an earlier corpus stays one.

A near-duplicate without its witness may be kept, or may resemble another document: it is undetermined, and so is all
of its component that comes behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.batch import text_buffers
from pipelines.what_if.codes import Codes
from pipelines.what_if.order import ranks
from pipelines.what_if.records import Chunk, Records

ID_CHARACTERS = 32
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_LAST = np.iinfo(np.int64).max


def settle_by_ledger(records: Records, after: np.ndarray, priority: Sequence[tuple[str, str]]) -> None:
    """Decide again about the components of kept documents that go.

    Args:
        after: codes by which documents went or stay, duplicates as the run had them; changed in place.
        priority: columns and directions.
    """
    codes = Codes.of(records)
    gone = (records.before == codes.kept) & (after != codes.kept)
    if not gone.any():
        return
    components = dict(
        zip(records.chunks, records.over_chunks(lambda chunk: components_of(records, chunk)), strict=True)
    )
    shaken = Shaken(np.concatenate([c.hashes[gone[chunk.span][c.rows]] for chunk, c in components.items()]))
    columns = list(dict.fromkeys(["id", "witness", "witness_dataset", *(name for name, _ in priority)]))

    def members(chunk: Chunk) -> tuple[Components, pa.Table | None]:
        found = components.pop(chunk)
        left = codes.are_left(after[chunk.span])
        chosen = shaken.have(found.hashes) & left[found.rows]
        rows = found.rows[chosen]
        table = records.read(chunk, columns).take(pa.array(rows)) if len(rows) else None
        return Components(rows + chunk.first, found.hashes[chosen]), table

    parts = records.over_chunks(members)
    rows = np.concatenate([part.rows for part, _ in parts])
    tables = [table for _, table in parts if table is not None]
    if tables:
        component = np.concatenate([part.hashes for part, _ in parts])
        after[rows] = decided(pa.concat_tables(tables), component, after[rows], codes, priority)


@dataclass(frozen=True)
class Components:
    """Documents that are not alone in their components.

    Attributes:
        rows: ``int64[m]``, rising.
        hashes: ``uint64[m]``, of the names of their components, which are told apart by them.  Should two be one by
            chance, they are decided together, which may leave more undetermined, never less.
    """

    rows: np.ndarray
    hashes: np.ndarray


def components_of(records: Records, chunk: Chunk) -> Components:
    """Documents of a stretch that are not alone."""
    column = records.read(chunk, ["cluster"]).column(0).combine_chunks()
    rows = np.flatnonzero(np.asarray(column.is_valid())).astype(np.uint32)
    text, offsets = text_buffers(pc.drop_null(column))
    ids = text[offsets[0] : offsets[-1]].reshape(-1, ID_CHARACTERS)
    first, second = (np.ascontiguousarray(ids[:, at : at + 8]).view("<u8").reshape(-1) * _MIXER for at in (0, 8))
    return Components(rows, first ^ (second >> np.uint64(32)) ^ (second << np.uint64(32)))


class Shaken:
    """Components that lose a kept document; a table of bits sorts out nearly all others before any search."""

    def __init__(self, hashes: np.ndarray) -> None:
        self._hashes = np.sort(hashes)
        self._table = np.zeros(1 << 24, bool)
        self._table[self._hashes >> np.uint64(40)] = True

    def have(self, hashes: np.ndarray) -> np.ndarray:
        """Which are among them, ``bool[n]``."""
        result = np.asarray(self._table[hashes >> np.uint64(40)])
        some = hashes[result]
        if len(some):
            place = np.minimum(np.searchsorted(self._hashes, some), len(self._hashes) - 1)
            result[result] = self._hashes[place] == some
        return result


def decided(
    table: pa.Table, component: np.ndarray, state: np.ndarray, codes: Codes, priority: Sequence[tuple[str, str]]
) -> np.ndarray:
    """Codes of the documents that are left of whole components.

    Args:
        table: id, witness, witness_dataset and the columns of the priority.
        component: hash of each document's component.
        state: code of each before: kept, exact or near.
    """
    rank = ranks(table, priority)
    own = np.asarray(table.column("witness_dataset").is_null())
    _, cluster = np.unique(component, return_inverse=True)
    # The kept document of its run that decided about it: itself, or its witness.
    keeper = _numbered(pc.coalesce(table.column("witness"), table.column("id")))
    heir = (state == codes.kept) | ((state == codes.exact) & own)
    head = np.full(keeper.max() + 1, _LAST)
    np.minimum.at(head, keeper[heir], rank[heir])
    near = (state == codes.near) & own
    loose = near & (head[keeper] >= rank)
    first = np.full(cluster.max() + 1, _LAST)
    np.minimum.at(first, cluster[loose], rank[loose])
    unsure = head[keeper] > first[cluster]
    leads = heir & (head[keeper] == rank)
    result = state.copy()
    result[heir] = np.where(leads, codes.kept, codes.exact)[heir]
    result[(leads | near) & unsure] = codes.unknown
    return result


def _numbered(column: pa.ChunkedArray) -> np.ndarray:
    """Equal words as equal numbers from 0."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices).astype(np.int64)
