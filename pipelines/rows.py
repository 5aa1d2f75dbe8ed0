"""Reading the files of one folder of a run a row group at a time, in their own order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.storage import Storage

_WORDS = ["verdict", "stage", "rule", "language", "domain", "host", "shard"]  # of the ledger; read as dictionaries
Place = tuple[int, int]  # file and row in it


@dataclass(frozen=True)
class Stretch:
    """A row group of one file."""

    file: int
    first: int
    table: pa.Table


class Rows:
    """The rows of a folder of a finished run: its ledger, its corpus, or its dropped texts.

    Args:
        storage: of the run.
        files: names of all its files.
        folder: ``ledger``, ``corpus`` or ``dropped``.
        id_name: the column with the ids.
    """

    def __init__(self, storage: Storage, files: Iterable[str], folder: str = "ledger", id_name: str = "id") -> None:
        self.storage = storage
        self.id_name = id_name
        self._words = _WORDS if folder == "ledger" else []
        self.names = sorted(name for name in files if name.startswith(f"{folder}/"))

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._open(0).schema_arrow if self.names else pa.schema([])

    def _open(self, file: int) -> pq.ParquetFile:
        return pq.ParquetFile(self.storage.open(self.names[file]), read_dictionary=self._words)

    def stretches(self, columns: Sequence[str], after: Place | None = None) -> Iterator[Stretch]:
        """Row groups in order, from the one that holds the row behind ``after``."""
        start = after or (0, -1)
        for file in range(start[0], len(self.names)):
            with self._open(file) as opened:
                first = 0
                for group in range(opened.num_row_groups):
                    rows = opened.metadata.row_group(group).num_rows
                    if file > start[0] or first + rows > start[1] + 1:
                        yield Stretch(file, first, opened.read_row_group(group, columns=list(columns)))
                    first += rows

    def rows(self, places: Sequence[Place], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some rows, in the order asked for."""
        found: dict[Place, dict[str, Any]] = {}
        for file in sorted({file for file, _ in places}):
            wanted = sorted(row for at, row in places if at == file)
            with self._open(file) as opened:
                first = 0
                for group in range(opened.num_row_groups):
                    count = opened.metadata.row_group(group).num_rows
                    here = [row for row in wanted if first <= row < first + count]
                    if here:
                        table = opened.read_row_group(group, columns=list(columns)).take([row - first for row in here])
                        found |= {(file, row): one for row, one in zip(here, table.to_pylist(), strict=True)}
                    first += count
        return [found[place] for place in places]

    def stretches_back(self, columns: Sequence[str], before: Place) -> Iterator[Stretch]:
        """Row groups from the one that holds ``before`` to the first one."""
        for file in range(before[0], -1, -1):
            with self._open(file) as opened:
                counts = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
                for group in range(len(counts) - 1, -1, -1):
                    first = sum(counts[:group])
                    if file < before[0] or first < before[1]:
                        yield Stretch(file, first, opened.read_row_group(group, columns=list(columns)))

    def place(self, id_: str) -> Place | None:
        """Where a document is; None where it is not there."""
        for stretch in self.stretches([self.id_name]):
            row = pc.index(stretch.table.column(self.id_name), id_).as_py()
            if row >= 0:
                return stretch.file, stretch.first + row
        return None

    def find(self, id_: str) -> dict[str, Any] | None:
        """The whole row of a document; None where there is none."""
        place = self.place(id_)
        return None if place is None else self.rows([place], self.schema.names)[0]

    def places(self, ids: Sequence[str]) -> list[Place]:
        """Where some documents are, in the order of the files; those that are not there are left out."""
        wanted, found = pa.array(list(ids), pa.string()), []
        for stretch in self.stretches([self.id_name]) if ids else ():
            there = pc.is_in(stretch.table.column(self.id_name), value_set=wanted).to_numpy(zero_copy_only=False)
            found += [(stretch.file, stretch.first + int(row)) for row in np.flatnonzero(there)]
            if len(found) == len(ids):
                break
        return found

    def measures(self) -> list[str]:
        """Columns that hold numbers or truth values."""
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        return [field.name for field in self.schema if any(kind(field.type) for kind in kinds)]
