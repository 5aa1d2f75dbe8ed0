"""Texts of a few documents of a large run: only the row groups that hold them are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.corpora import CORPORA, Corpus
from pipelines.look import FinishedRun
from pipelines.what_if.records import Records


def texts_by_row(run: FinishedRun, records: Records, rows: np.ndarray, ids: Sequence[str]) -> dict[str, str]:
    """Texts of documents, as far as they are stored.

    Args:
        rows: ``int64[m]``, rising, of the ledger.
        ids: of these.
    """
    texts: dict[str, str] = {}
    for part, span in records.part_spans().items():
        inside = slice(*np.searchsorted(rows, [span.start, span.stop]).tolist())
        if ids[inside]:
            texts |= texts_of(run, part, ids[inside])
    return texts


def texts_of(run: FinishedRun, part: int, ids: Sequence[str]) -> dict[str, str]:
    """Texts of documents of one shard, as far as they are stored; as :meth:`FinishedRun.texts` gives them.

    Args:
        part: number of the shard.
        ids: of documents in it.
    """
    assert run.manifest is not None
    begin = tuple(f"{folder}/part-{part:05d}-" for folder in ("corpus", "dropped"))
    found: dict[str, str] = {}
    for name in run.manifest["files"]:
        if name.startswith(begin):
            with pq.ParquetFile(run.storage.open(name)) as file:
                found |= _from_file(file, ids, CORPORA[run.kind] if name.startswith("corpus/") else CORPORA["corpus"])
    return found


def _from_file(file: pq.ParquetFile, ids: Sequence[str], kind: Corpus) -> dict[str, str]:
    stored = file.read(columns=[kind.id_name]).column(kind.id_name)
    rows = np.flatnonzero(np.asarray(pc.is_in(stored, value_set=pa.array(ids, pa.string()))))
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    groups = np.searchsorted(ends, rows, "right")
    texts: dict[str, str] = {}
    for group in np.unique(groups).tolist():
        inside = pa.array(rows[groups == group] - (ends[group] - sizes[group]))
        table = file.read_row_group(group, columns=[kind.id_name, *kind.text_columns]).take(inside)
        texts |= {row[kind.id_name]: kind.text(row) for row in table.to_pylist()}
    return texts
