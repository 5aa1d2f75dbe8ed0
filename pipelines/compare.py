"""Two finished runs side by side: their funnels, and the documents that changed sides."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.funnel import funnel
from pipelines.look import FinishedRun
from pipelines.lookup import Lookup


def compare(first: FinishedRun, second: FinishedRun, samples: int) -> dict[str, Any]:
    """What differs between two runs.

    Args:
        samples: documents shown of each kind of change.

    Returns:
        ``funnel``: a line for each reason of either run; ``changes``: from which fate to which, how many, and the
        first ``samples`` ids of each; ``only_first``, ``only_second``: records that the other has not read.
    """
    sides = [_shards(run) for run in (first, second)]
    alone = [0, 0]
    pairs = []
    for shard in sorted({*sides[0], *sides[1]}):
        spans = [side.get(shard, slice(0, 0)) for side in sides]
        rows = _same_records(first.lookup.ids[spans[0]], second.lookup.ids[spans[1]])
        for side, span in enumerate(spans):
            alone[side] += (span.stop - span.start) - len(rows[side])
        pairs.append(np.stack([rows[0] + spans[0].start, rows[1] + spans[1].start]))
    listed = _changes(first.lookup, second.lookup, np.concatenate([np.zeros((2, 0), np.int64), *pairs], 1), samples)
    return {
        "funnel": _funnels(first, second), "changes": listed, "only_first": alone[0], "only_second": alone[1],
        "same": _read(first) - alone[0] - sum(change["documents"] for change in listed),
    }  # fmt: skip


def _read(run: FinishedRun) -> int:
    return int(run.statistics["records"]["read"])


def _shards(run: FinishedRun) -> dict[str, slice]:
    """Rows of each shard, by its identity."""
    starts = run.lookup.starts.tolist()
    return {shard["identity"]: slice(starts[file], starts[file + 1]) for file, shard in enumerate(run.ledger_shards)}


def _same_records(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the records that both have read of one shard."""
    if np.array_equal(first, second):
        return np.arange(len(first)), np.arange(len(second))
    _, left, right = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return left, right


def _changes(first: Lookup, second: Lookup, rows: np.ndarray, samples: int) -> list[dict[str, Any]]:
    """From which fate to which, how many, and the smallest ids of each; the most frequent change first.

    Args:
        rows: ``int64[2, n]``, of the records that both have, in either lookup.
    """
    words = [[_fate(*fate) for fate in lookup.fates] for lookup in (first, second)]
    known = {word: code for code, word in enumerate(sorted({*words[0], *words[1]}))}
    was, is_ = (
        np.array([known[word] for word in side], np.int64)[lookup.codes("fate")[own]]
        for side, lookup, own in zip(words, (first, second), rows, strict=True)
    )
    changed = np.flatnonzero(was != is_)
    kinds = was[changed] * len(known) + is_[changed]
    ids = first.ids[rows[0][changed]]
    # An id is random but repeatable, so the smallest are a sample that is the same each time.
    order = np.lexsort((ids, kinds))
    found, starts, counts = np.unique(kinds[order], return_index=True, return_counts=True)
    names = list(known)
    listed = [
        {
            "was": names[kind // len(known)], "now": names[kind % len(known)], "documents": count,
            "samples": [first.id_of(rows[0][changed[row]]) for row in order[start : start + min(samples, count)]],
        }
        for kind, start, count in zip(found.tolist(), starts.tolist(), counts.tolist(), strict=True)
    ]  # fmt: skip
    return sorted(listed, key=lambda change: (-change["documents"], change["was"], change["now"]))


def _fate(verdict: str, stage: str, rule: str) -> str:
    """What became of a record, in one word."""
    return f"{verdict}: {stage}.{rule}" if rule else verdict


def _funnels(first: FinishedRun, second: FinishedRun) -> list[dict[str, Any]]:
    """Lines of both funnels, those of the first in order, then what only the second has."""
    sides = [{(r.stage, r.reason, r.verdict): r for r in funnel(run.statistics)} for run in (first, second)]
    lines = []
    for key in [*sides[0], *(key for key in sides[1] if key not in sides[0])]:
        counts = [(row.documents, row.tokens) if (row := side.get(key)) else (0, 0) for side in sides]
        lines.append(
            {
                "stage": key[0], "reason": key[1], "verdict": key[2],
                "first": {"documents": counts[0][0], "tokens": counts[0][1]},
                "second": {"documents": counts[1][0], "tokens": counts[1][1]},
                "documents": counts[1][0] - counts[0][0], "tokens": counts[1][1] - counts[0][1],
            }
        )  # fmt: skip
    kept = [line for line in lines if line["verdict"] == "kept"]
    return [line for line in lines if line["verdict"] != "kept"] + kept
