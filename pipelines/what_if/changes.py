"""Documents whose fate changes: how many, of which groups, and where a few of them are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from curation.batch import encoded
from pipelines.what_if.decisions import Decided
from pipelines.what_if.records import Chunk

GROUPS = ("language", "domain")
LOST, GAINED, OPEN = "lost", "gained", "undetermined"
WAYS = (LOST, GAINED, OPEN)
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_NONE = np.empty(0, np.int64)


@dataclass
class Changes:
    """What changes, added up.

    Attributes:
        documents, tokens: by way: kept before and now not, kept only now, undetermined.  A kept document that becomes
            undetermined counts for both.
        groups: documents by column, group (``""`` where it is null) and way.
    """

    documents: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    groups: dict[str, dict[str, Counter[str]]] = field(default_factory=lambda: {name: {} for name in GROUPS})


def ways(decided: Decided, span: slice) -> dict[str, np.ndarray]:
    """Which records change in which way, ``bool[n]`` each."""
    before, after = decided.records.before[span], decided.after[span]
    kept, stays = before == decided.kept, after == decided.kept
    return {LOST: kept & ~stays, GAINED: ~kept & stays, OPEN: decided.records.among(after, decided.open)}


def changes_of(decided: Decided) -> Changes:
    """Count them."""
    total = Changes()
    for part in decided.records.over_chunks(lambda chunk: _of_chunk(decided, chunk)):
        total.documents += part.documents
        total.tokens += part.tokens
        for name in GROUPS:
            for group, counts in part.groups[name].items():
                total.groups[name].setdefault(group, Counter()).update(counts)
    return total


def _of_chunk(decided: Decided, chunk: Chunk) -> Changes:
    rows = {way: np.flatnonzero(mask) for way, mask in ways(decided, chunk.span).items()}
    changes = Changes()
    if not any(len(found) for found in rows.values()):
        return changes
    table = decided.records.read(chunk, ["token_count", *GROUPS])
    tokens = np.asarray(table.column("token_count").fill_null(0)).astype(np.int64)
    names = {name: encoded(table.column(name)) for name in GROUPS}
    for way, found in rows.items():
        changes.documents[way], changes.tokens[way] = len(found), int(tokens[found].sum())
        for name, (indices, values) in names.items():
            counts = np.bincount(indices[found], minlength=len(values))
            for place in np.flatnonzero(counts).tolist():
                changes.groups[name].setdefault(values[place], Counter())[way] += int(counts[place])
    return changes


def some_rows(decided: Decided, count: int) -> dict[str, np.ndarray]:
    """By way, rows of a few documents that change, rising.

    They are chosen by a hash of their place: from all over the run, the same ones each time, and without reading the
    ids of all others.
    """

    def candidates(chunk: Chunk) -> dict[str, np.ndarray]:
        found = ways(decided, chunk.span).items()
        return {way: _least(np.flatnonzero(mask) + chunk.first, count) for way, mask in found}

    parts = decided.records.over_chunks(candidates) if count else []
    return {way: np.sort(_least(np.concatenate([_NONE, *(part[way] for part in parts)]), count)) for way in WAYS}


def _least(rows: np.ndarray, count: int) -> np.ndarray:
    """The rows with the least hashes."""
    hashes = rows.astype(np.uint64) * _MIXER
    return rows[np.argpartition(hashes, count)[:count]] if len(rows) > count else rows
