"""Reading the files of one folder of a run a row group at a time, in their own order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.storage import Storage

_WORDS = ["verdict", "stage", "rule", "language", "domain", "host", "shard"]  # of the ledger; read as dictionaries
Place = tuple[int, int]  # file and row in it
T = TypeVar("T")
R = TypeVar("R")


def part_number(name: str) -> int:
    """Number of the shard that a file is of, by its name: ``ledger/part-00007-1a2b3c4d.parquet``."""
    return int(name.split("-")[1])


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
                for group, first, metadata in _groups(opened):
                    if file > start[0] or first + metadata.num_rows > start[1] + 1:
                        yield Stretch(file, first, opened.read_row_group(group, columns=list(columns)))

    def file(self, file: int, columns: Sequence[str]) -> pa.Table:
        """Columns of one whole file."""
        with self._open(file) as opened:
            return opened.read(columns=list(columns), use_threads=False)

    def rows(self, places: Sequence[Place], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some rows, in the order asked for."""
        found: dict[Place, dict[str, Any]] = {}
        wanted: dict[int, list[int]] = {}
        for file, row in sorted(set(places)):
            wanted.setdefault(file, []).append(row)
        for some in at_once(lambda file: self._in_file(file, wanted[file], columns), wanted):
            found |= some
        return [found[place] for place in places]

    def _in_file(self, file: int, wanted: list[int], columns: Sequence[str]) -> dict[Place, dict[str, Any]]:
        """Rows of one file, rising."""
        found: dict[Place, dict[str, Any]] = {}
        with self._open(file) as opened:
            for group, first, metadata in _groups(opened):
                here = [row for row in wanted if first <= row < first + metadata.num_rows]
                if here:
                    table = opened.read_row_group(group, columns=list(columns), use_threads=False)
                    taken = table.take([row - first for row in here]).to_pylist()
                    found |= {(file, row): one for row, one in zip(here, taken, strict=True)}
        return found

    def over(
        self, columns: Sequence[str], task: Callable[[Stretch], R], skips: Callable[[int, int, Any], bool]
    ) -> list[R]:
        """A task for every row group, some files at once; in order.

        Args:
            skips: says of a row group by file, first row and metadata that it need not be read.
        """

        def of_file(file: int) -> list[R]:
            found = []
            with self._open(file) as opened:
                for group, first, metadata in _groups(opened):
                    if not skips(file, first, metadata):
                        table = opened.read_row_group(group, columns=list(columns), use_threads=False)
                        found.append(task(Stretch(file, first, table)))
            return found

        return [one for found in at_once(of_file, range(len(self.names))) for one in found]

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


def _groups(opened: pq.ParquetFile) -> Iterator[tuple[int, int, pq.RowGroupMetaData]]:
    """Number, first row and metadata of every row group."""
    first = 0
    for group in range(opened.num_row_groups):
        metadata = opened.metadata.row_group(group)
        yield group, first, metadata
        first += metadata.num_rows


def at_once(task: Callable[[T], R], some: Iterable[T]) -> list[R]:
    """Results of a task, in order; a few at a time, since Arrow releases the interpreter's lock."""
    listed = list(some)
    if len(listed) < 2:
        return [task(one) for one in listed]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(task, listed))
