"""A lookup of a finished run: the columns that pages ask of all its records, whole, in the order of the ledger.

A ledger has a hundred columns in row groups of many files, made for reading much of little.  Its lookup holds a dozen
of them side by side as codes in one Arrow file that is mapped, not read: some 70 bytes a record.  Everything in it
follows from the run, which never changes, so it can be thrown away and made again.
"""

from __future__ import annotations

import json
import os
import posixpath
from bisect import bisect_left
from collections.abc import Callable, Collection
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpora import CORPORA
from pipelines.rows import Place, Rows
from pipelines.storage import Storage

if TYPE_CHECKING:
    from pipelines.look import FinishedRun

FORMAT = b"lookup/1"
FATE = ("verdict", "stage", "rule")
WORDS = ("fate", "language", "domain", "host", "cluster")
ID_BYTES = 16
NOWHERE = -1
_PARTED = "\x1f"  # stands between the three words of a fate, and in none of them
_READ = ("id", *FATE, *WORDS[1:], "witness", "witness_dataset", "similarity", "cluster_size", "extracted_tokens")


class Lookup:
    """Columns of all records of a run, by row: the place of a record in the whole ledger.

    Args:
        table: that ``tabled`` made.

    Attributes:
        count: number of records, n.
        starts: ``int64[files + 1]``, row at which each file of the ledger begins.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.count = table.num_rows
        self.starts = np.cumsum([0, *json.loads(table.schema.metadata[b"rows"])])

    def codes(self, name: str) -> np.ndarray:
        """Number of the word of each record, ``int32[n]``; -1 for none."""
        if not self.count:
            return np.zeros(0, np.int32)
        codes = self._column(name).indices
        return np.asarray(codes if codes.null_count == 0 else pc.fill_null(codes, NOWHERE))

    def words(self, name: str) -> pa.Array:
        """The words that codes of a column count."""
        return self._column(name).dictionary if self.count else pa.array([], pa.string())

    def word(self, name: str, row: int) -> str | None:
        """The word of one record."""
        found: str | None = self._column(name)[row].as_py()
        return found

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers, ``[n]``: ``similarity`` (NaN for none), ``cluster_size``, ``tokens``; ``witness``, the
        row of the kept document that a duplicate resembles, and ``text``, the row in its part of the corpus or of the
        dropped texts, both -1 for none; ``order``, rows in the order of ids."""
        return np.asarray(self._column(name)) if self.count else np.zeros(0, np.int32)

    def _column(self, name: str) -> Any:
        return _whole(self._table.column(name))

    def equal(self, name: str, word: str) -> np.ndarray:
        """Which records have a word, ``bool[n]``."""
        code = pc.index(self.words(name), word).as_py()
        return np.asarray(self.codes(name) == code if code >= 0 else np.zeros(self.count, bool))

    @cached_property
    def fates(self) -> list[tuple[str, str, str]]:
        """Verdict, stage and rule of each code of ``fate``; empty where there is none."""
        return [tuple(fate.split(_PARTED)) for fate in self.words("fate").to_pylist()]

    def with_fate(self, **wanted: str | None) -> np.ndarray:
        """Which records have all these of verdict, stage and rule, ``bool[n]``."""
        asked = [(FATE.index(name), word) for name, word in wanted.items() if word is not None]
        fits = [all(word and fate[place] == word for place, word in asked) for fate in self.fates]
        return np.asarray(np.array([*fits, False], bool)[self.codes("fate")])

    def fate(self, row: int) -> tuple[str, str, str]:
        """Verdict, stage and rule of one record."""
        return self.fates[int(self.codes("fate")[row])]

    def groups(self, name: str, nobody: str) -> tuple[np.ndarray, pa.Array]:
        """Codes of a column and their words, where those that have none have the word ``nobody``."""
        codes, words = self.codes(name), self.words(name)
        place = pc.index(words, nobody).as_py()
        if place < 0:
            place, words = len(words), pa.concat_arrays([words, pa.array([nobody], words.type)])
        return np.where(codes < 0, place, codes), words

    @cached_property
    def ids(self) -> np.ndarray:
        """``S16[n]``: ids as bytes."""
        return _bytes(self._column("id"))

    def id_of(self, row: int) -> str:
        """An id as text."""
        return bytes(self.ids[row]).ljust(ID_BYTES, b"\0").hex()

    def row(self, id_: str) -> int | None:
        """Row of a record."""
        if len(id_) != 2 * ID_BYTES or not self.count:
            return None
        ids, order, wanted = self.ids, self.numbers("order"), bytes.fromhex(id_).rstrip(b"\0")  # as NumPy gives them
        at = bisect_left(order, wanted, key=lambda row: ids[row])
        return int(order[at]) if at < self.count and ids[order[at]] == wanted else None

    def place(self, row: int) -> Place:
        """File of the ledger and row in it."""
        file = int(np.searchsorted(self.starts, row, "right")) - 1
        return file, int(row - self.starts[file])

    def row_at(self, place: Place) -> int:
        """The row at a place."""
        return int(self.starts[place[0]]) + place[1]


def tabled(run: FinishedRun) -> pa.Table:
    """The lookup of a run as a table, read from its ledger and the ids of its texts."""
    ledger = run.ledger()
    parts = [_part(run, ledger, file) for file in range(len(ledger.names))]
    rows = [len(part["id"]) for part in parts]
    # Column by column, so that only one of them is there twice.
    columns = {name: _joined([part.pop(name) for part in parts]) for name in list(parts[0])}
    witness = pc.index_in(columns["witness"], columns["id"], skip_nulls=True)
    columns["witness"] = pc.fill_null(witness, NOWHERE)
    columns["order"] = pa.array(np.argsort(_bytes(columns["id"]), kind="stable").astype(np.int32))
    return pa.table(columns).replace_schema_metadata({b"format": FORMAT, b"rows": json.dumps(rows).encode()})


def _joined(chunks: list[Any]) -> pa.Array:
    return pa.chunked_array(chunks).unify_dictionaries().combine_chunks()


def _part(run: FinishedRun, ledger: Rows, file: int) -> dict[str, pa.Array]:
    """Columns of one file of the ledger; ``witness`` are ids."""
    table = ledger.file(file, _READ).combine_chunks()
    told = {name: _whole(table.column(name)) for name in _READ}
    ids, witness = _as_bytes(told["id"]), _as_bytes(told["witness"])
    fate = pc.binary_join_element_wise(*(pc.fill_null(told[name].cast(pa.string()), "") for name in FATE), _PARTED)
    return {
        "id": ids,
        "fate": fate.dictionary_encode(),
        **{name: told[name].cast(pa.string()).dictionary_encode() for name in WORDS[1:]},
        "witness": pc.if_else(told["witness_dataset"].is_null(), witness, pa.scalar(None, witness.type)),
        "similarity": pc.fill_null(told["similarity"], float("nan")),
        "cluster_size": pc.fill_null(told["cluster_size"], 0),
        "tokens": pc.fill_null(told["extracted_tokens"], 0),
        "text": _texts(run, ledger.names[file], ids),
    }


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _bytes(ids: pa.Array) -> np.ndarray:
    """Ids as ``S16[n]``."""
    if len(ids) == 0:
        return np.zeros(0, f"S{ID_BYTES}")
    return np.frombuffer(ids.buffers()[1], f"S{ID_BYTES}", len(ids), ID_BYTES * ids.offset)


def _as_bytes(column: pa.Array) -> pa.Array:
    """Ids of 32 hexadecimal digits as 16 bytes; null stays null."""
    there = np.asarray(column.is_valid())
    texts = pa.concat_arrays([pa.array([], pa.string()), column.drop_null()])  # their characters lie side by side
    digits = bytes(texts.buffers()[2] or b"")[: 2 * ID_BYTES * len(texts)]
    data = pa.py_buffer(bytes.fromhex(digits.decode()))
    found = pa.FixedSizeBinaryArray.from_buffers(pa.binary(ID_BYTES), len(texts), [None, data])
    return found if there.all() else found.take(pa.array(np.cumsum(there) - 1, mask=~there))


def _texts(run: FinishedRun, name: str, ids: pa.Array) -> pa.Array:
    """Row of the text of each record in the part of the corpus, or else of the dropped texts; -1 where none is."""
    found = pa.nulls(len(ids), pa.int32())
    for rows in text_parts(run, name):
        if rows.names:
            known = _as_bytes(_whole(rows.file(0, [rows.id_name]).column(0)))
            found = pc.coalesce(found, pc.index_in(ids, known, skip_nulls=True))
    return pc.fill_null(found, NOWHERE)


def text_parts(run: FinishedRun, name: str) -> list[Rows]:
    """The part of the corpus and the part of the dropped texts beside a file of the ledger."""
    names = {"corpus": CORPORA[run.kind].id_name, "dropped": "id"}
    base = posixpath.basename(name)
    files: Collection[str] = run.manifest["files"]  # type: ignore[index]
    return [
        Rows(run.storage, [path for path in [f"{folder}/{base}"] if path in files], folder, id_)
        for folder, id_ in names.items()
    ]


# --- on disk ------------------------------------------------------------------------------------------------------


ROOM = 8 << 30  # bytes of all lookups of one folder; one of 10⁶ records takes 70 MB
IN_MEMORY = 4  # lookups for which there is no folder, at once
_making = Lock()  # one at a time: each takes a processor and some memory


def kept_in(path: Path, run: FinishedRun) -> Lookup | None:
    """The lookup of a run, mapped from a file; made, and written whole or not at all, where none is there.

    Returns:
        None where the folder cannot be written to.
    """
    table = _mapped(path)
    if table is None:
        with _making:
            table = _mapped(path)
            table = _made(path, run) if table is None else table
    return None if table is None else Lookup(table)


def _made(path: Path, run: FinishedRun) -> pa.Table | None:
    if not _can_write(path.parent):
        return None
    table = tabled(run)
    with (
        Storage(str(path.parent)).writer(path.name) as stream,
        pa.ipc.new_file(stream, table.schema) as writer,
    ):
        writer.write_table(table)
    _forget(path.parent, ROOM, path)
    return _mapped(path)


def counted_in(path: Path, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was counted of a run, from a file beside its lookup; made where it is not there."""
    beside = path.with_name(f"{path.stem}.{name}.json")
    try:
        found: dict[str, Any] = json.loads(beside.read_bytes())
    except (OSError, ValueError):
        found = make()
        if _can_write(path.parent):
            Storage(str(path.parent)).write(beside.name, json.dumps(found).encode())
    return found


@lru_cache(maxsize=IN_MEMORY)
def in_memory(run: FinishedRun) -> Lookup:
    """The lookup of a run, made for this process alone."""
    return Lookup(tabled(run))


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _mapped(path: Path) -> pa.Table | None:
    """What a file holds; None where there is none that can be read."""
    try:
        os.utime(path)  # the ones that were not asked for the longest go first
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid):
        return None
    return table if (table.schema.metadata or {}).get(b"format") == FORMAT else None


def _forget(folder: Path, most: int, but: Path) -> None:
    """Delete the lookups that were not opened for the longest, until the others take ``most`` bytes at most.

    Args:
        but: one that stays.  One that is mapped still is there for who has mapped it.
    """
    left = most
    for path in sorted(folder.glob("*.arrow"), key=lambda path: path.stat().st_mtime, reverse=True):
        left -= path.stat().st_size
        if left < 0 and path != but:
            for beside in [path, *folder.glob(f"{path.stem}.*.json")]:
                beside.unlink(missing_ok=True)
