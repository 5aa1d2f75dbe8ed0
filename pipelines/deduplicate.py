"""Deduplication over all shards: who resembles whom is proven, and who stays is decided in one fixed order.

The outcome depends on the documents and the recipe alone.  Shards are surveyed in the order of their
identities, but nothing hangs on it: the order in which documents may stay is total and made of their own
properties, ending with their ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa

from curation.duplicates.bands import bands_for, fingerprints
from curation.duplicates.find import resolve_duplicates
from curation.duplicates.keep import EXACT, Decisions
from curation.duplicates.shingles import ShingleSets, shingle_sets
from pipelines import decisions
from pipelines.measures import replay
from pipelines.plan import Plan
from pipelines.recipe import Deduplication
from pipelines.storage import Storage


@dataclass(frozen=True)
class Survey:
    """All documents that are left, of all shards, in the order of shards and records.

    Attributes:
        layout: identity of each shard, with the number of documents in each of its batches.
        table: ``id``, ``text_hash`` and the columns of the priority.
        signature: ``uint[n, permutations]``.
    """

    layout: list[tuple[str, list[int]]]
    table: pa.Table
    signature: np.ndarray


def deduplicate(plan: Plan, storage: Storage) -> None:
    """Decide about every document that is left, and commit the decisions; nothing to do when they are there."""
    parameters = plan.recipe.recipe.deduplication
    if parameters is None or storage.manifest(decisions.folder_of(plan)) is not None:
        return
    survey = _survey(plan, storage, parameters)
    found = resolve_duplicates(
        _hashes(survey.table.column("text_hash")),
        fingerprints(survey.signature, bands_for(Fraction(parameters.threshold), parameters.recall)),
        priority_rank(survey.table, parameters),
        lambda chosen: _shingle_sets(plan, storage, survey.layout, chosen, parameters.definition),
        Fraction(parameters.threshold),
    )
    decisions.store(plan, storage, survey.layout, _decision_table(survey, found))


def priority_rank(table: pa.Table, parameters: Deduplication) -> np.ndarray:
    """Place of each document in the order of staying: 0 is the first to be kept.

    Args:
        table: ``id`` and the columns of the priority; null ranks last.
    """
    keys = [(priority.column, priority.order) for priority in parameters.priority]
    order = pa.compute.sort_indices(
        table.select(["id", *dict.fromkeys(name for name, _ in keys)]).combine_chunks(),
        sort_keys=[*keys, ("id", "ascending")],
    ).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _survey(plan: Plan, storage: Storage, parameters: Deduplication) -> Survey:
    columns = ["id", "text_hash", *(p.column for p in parameters.priority)]
    layout: list[tuple[str, list[int]]] = []
    tables: list[pa.Table] = []
    signatures: list[np.ndarray] = []
    for shard in plan.shards:
        sizes = []
        for _, _, batch in replay(storage, plan.chain(shard)[0], [*columns, "signature"]):
            sizes.append(len(batch))
            tables.append(batch.table.select(list(dict.fromkeys(columns))))
            lists = batch.column("signature")
            signatures.append(np.asarray(lists.flatten()).reshape(len(batch), lists.type.list_size))
        layout.append((shard.identity, sizes))
    return Survey(layout, pa.concat_tables(tables), np.concatenate(signatures))


def _hashes(column: pa.ChunkedArray) -> np.ndarray:
    """``uint64[n, 2]``."""
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)


def _shingle_sets(
    plan: Plan, storage: Storage, layout: Sequence[tuple[str, Sequence[int]]], chosen: np.ndarray, definition: str
) -> ShingleSets:
    texts = _texts(plan, storage, layout, chosen)
    empty = ShingleSets(np.zeros(1, np.int64), np.empty(0, np.uint64))
    return ShingleSets.concatenate([empty, *(shingle_sets(text, definition) for text in texts)])


def _texts(
    plan: Plan, storage: Storage, layout: Sequence[tuple[str, Sequence[int]]], chosen: np.ndarray
) -> Iterator[pa.Array]:
    """Texts of some documents, batch by batch, in the order of the survey; shards without any are not read.

    Args:
        chosen: sorted positions in the survey.
    """
    first = 0
    for shard, (_, sizes) in zip(plan.shards, layout, strict=True):
        end = first + sum(sizes)
        if not _between(chosen, first, end).size:
            first = end
            continue
        for (_, _, batch), size in zip(replay(storage, plan.chain(shard)[0], ["text"]), sizes, strict=True):
            inside = _between(chosen, first, first + size)
            if inside.size:
                yield batch.text.take(pa.array(inside - first))
            first += size


def _between(chosen: np.ndarray, first: int, end: int) -> np.ndarray:
    return chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, end)]


def _decision_table(survey: Survey, found: Decisions) -> pa.Table:
    ids = survey.table.column("id").combine_chunks()
    witness = ids.take(pa.array(found.witness, mask=found.kept))
    cluster = ids.take(pa.array(found.component, mask=found.component_size <= 1))
    return pa.table(
        {
            "witness": witness,
            "exact": found.kind == EXACT,
            "shared": found.intersection,
            "union": found.union,
            "cluster": cluster,
            "cluster_size": found.component_size.astype(np.int32),
            "copies": found.multiplicity.astype(np.int32),
        }
    )
