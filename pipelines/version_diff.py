"""What differs between two published corpora."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.look import FinishedRun
from pipelines.rows import Rows


def version_diff(first: FinishedRun, second: FinishedRun, samples: int) -> dict[str, Any]:
    """Columns, documents and tokens that one has and the other has not; see the fields of the answer.

    Holds 16 bytes a document of both.
    """
    sides = [_corpus(run) for run in (first, second)]
    names = [set(side.schema.names) for side in sides]
    ids = [_ids(side) for side in sides]
    only = [np.setdiff1d(ids[0], ids[1], assume_unique=True), np.setdiff1d(ids[1], ids[0], assume_unique=True)]
    return {
        "columns_added": sorted(names[1] - names[0]),
        "columns_removed": sorted(names[0] - names[1]),
        "documents": {
            "first": len(ids[0]), "second": len(ids[1]), "both": len(ids[0]) - len(only[0]),
            "only_first": len(only[0]), "only_second": len(only[1]),
        },
        "tokens": {name: run.statistics["tokens"]["published"]
                   for name, run in (("first", first), ("second", second))},
        "languages": _kept_by("languages", first, second),
        "domains": _kept_by("domains", first, second),
        "samples_only_first": [id_.tobytes().hex() for id_ in only[0][:samples]],
        "samples_only_second": [id_.tobytes().hex() for id_ in only[1][:samples]],
    }  # fmt: skip


def _corpus(run: FinishedRun) -> Rows:
    return run.corpus()


def _ids(rows: Rows) -> np.ndarray:
    """All ids, ``V16[n]``, ascending: 32 hexadecimal digits are 16 bytes."""
    parts = [_packed(stretch.table.column(rows.id_name)) for stretch in rows.stretches([rows.id_name])]
    return np.sort(np.concatenate(parts)) if parts else np.empty(0, "S16")


def _packed(column: pa.ChunkedArray) -> np.ndarray:
    digits = "".join(column.to_pylist())
    return np.frombuffer(bytes.fromhex(digits), "V16")


def _kept_by(kind: str, *runs: FinishedRun) -> dict[str, dict[str, int]]:
    counts = [
        {name: entry["kept"]["documents"] for name, entry in run.statistics[kind].items() if entry["kept"]["documents"]}
        for run in runs
    ]
    names = sorted({*counts[0], *counts[1]})
    return {name: {"first": counts[0].get(name, 0), "second": counts[1].get(name, 0)} for name in names}
