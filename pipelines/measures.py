"""Stored measurements: one Arrow file for each stage of a shard, one record batch for each batch of documents.

Batch ``b`` of every stage's file speaks of batch ``b`` of the shard's records: of those of them that reached
the stage, in order.  Which ones these are is not stored; it follows from the decisions upstream, which are
pure functions of the measurements.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.batch import ROW_LANGUAGE, Batch
from curation.errors import DocumentError, RunError
from curation.stage import Decision, Measured, Stage, decide
from pipelines.plan import Link
from pipelines.storage import Storage

FILE = "measures.arrow"
ERROR_CLASS = pa.field("error_class", pa.string())
ERROR_DETAIL = pa.field("error_detail", pa.string())
TEXT = pa.field("text", pa.large_string())

# How a RuntimeError begins that says: memory is short, on a GPU or on a processor; a GPU gave up; too many threads.
_NO_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "[enforce fail at alloc_cpu")
_NO_MACHINE = ("CUDA error", "cuDNN error", "can't start new thread")


def file_schema(stage: Stage) -> pa.Schema:
    """Columns of a stage's file: its measures, the text where it changes it, errors."""
    text = [TEXT] if stage.changes_text else []
    return pa.schema([*stage.schema, *text, ERROR_CLASS, ERROR_DETAIL])


class MeasureWriter:
    """Writes what one stage measures, batch by batch."""

    def __init__(self, stage: Stage, stream: BinaryIO) -> None:
        self.stage = stage
        self.schema = file_schema(stage)
        self.rows = self.batches = 0
        self.errors: Counter[str] = Counter()
        self._writer = pa.ipc.new_file(stream, self.schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))

    def write(self, measured: Measured, count: int) -> None:
        """Add one batch of ``count`` documents."""
        columns = dict(measured.columns)
        if self.stage.changes_text:
            columns["text"] = measured.text
        columns["error_class"] = pa.array(
            [measured.errors[row].error_class if row in measured.errors else None for row in range(count)], pa.string()
        )
        columns["error_detail"] = pa.array(
            [measured.errors[row].detail if row in measured.errors else None for row in range(count)], pa.string()
        )
        arrays = [_whole(columns[field.name], field.type) for field in self.schema]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
        self.rows += count
        self.batches += 1
        self.errors.update(error.error_class for error in measured.errors.values())

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()

    def summary(self, link: Link) -> dict[str, Any]:
        """What the manifest says besides the files."""
        return {
            "stage": self.stage.name,
            "key": link.key,
            "rows": self.rows,
            "batches": self.batches,
            "errors": dict(sorted(self.errors.items())),
        }


def _whole(array: pa.Array | pa.ChunkedArray, type_: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array if array.type == type_ else array.cast(type_)


@contextmanager
def measure_writer(storage: Storage, link: Link) -> Iterator[MeasureWriter]:
    """A writer whose file appears when the block ends well; committing it is a separate step."""
    with storage.writer(f"{link.folder}/{FILE}") as stream:
        writer = MeasureWriter(link.stage, stream)
        yield writer
        writer.close()


class MeasureReader:
    """Reads one stage's file.

    Args:
        columns: the columns wanted; those that the stage's rules need are read in any case.
    """

    def __init__(self, storage: Storage, link: Link, columns: Sequence[str] | None = None) -> None:
        self.stage = link.stage
        schema = file_schema(link.stage)
        wanted = None if columns is None else {*columns, *needed_columns(link.stage)}
        included = [i for i, name in enumerate(schema.names) if wanted is None or name in wanted]
        source: Any = storage.open(f"{link.folder}/{FILE}")
        if storage.local:
            source = pa.memory_map(storage.path(f"{link.folder}/{FILE}"))
        self._reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=included))
        self._source = source

    @property
    def batches(self) -> int:
        """Number of batches."""
        return int(self._reader.num_record_batches)

    def read(self, index: int) -> Measured:
        """What the stage measured in one batch."""
        batch = self._reader.get_batch(index)
        names = batch.schema.names
        columns = {name: batch.column(name) for name in names if name not in ("text", "error_class", "error_detail")}
        text = batch.column("text") if "text" in names else None
        classes, details = batch.column("error_class"), batch.column("error_detail")
        rows = np.flatnonzero(np.asarray(classes.is_valid()))
        errors = {int(row): DocumentError(classes[row].as_py(), details[row].as_py() or "") for row in rows}
        return Measured(columns, text, errors)

    def close(self) -> None:
        """Release the file."""
        self._source.close()


def needed_columns(stage: Stage) -> set[str]:
    """Columns of a stage without which its decisions cannot be repeated; those that rules go by may be of others."""
    return {rule.measure for rule in stage.rules()} | {"error_class", "error_detail"}


def _told_by(stages: Iterable[Stage]) -> set[str]:
    """Columns that tell the rules of some stages which thresholds hold."""
    return {name for stage in stages for rule in stage.rules() for name in rule.by}


@dataclass(frozen=True)
class Settled:
    """What became of the documents of a batch at one stage.

    Attributes:
        stage: the stage.
        rows: ``int64[n]``, which records of the batch reached it.
        measured: what it measured of them.
        decision: what its rules say.
        survives: ``bool[n]``, neither failing nor in error.
        text: of each document as it came to the stage, None before extraction or where it was not asked for.
    """

    stage: Stage
    rows: np.ndarray
    measured: Measured
    decision: Decision
    survives: np.ndarray
    text: pa.Array | None


def settle(stage: Stage, rows: np.ndarray, measured: Measured, batch: Batch) -> Settled:
    """Let the rules of a stage decide.

    Args:
        batch: the documents as they came to the stage.
    """
    told = _told_by([stage]) & set(batch.table.column_names)
    decision = decide(stage.rules(), {name: batch.column(name) for name in told} | measured.columns, len(batch))
    survives = decision.first < 0
    survives[list(measured.errors)] = False
    text = batch.text if "text" in batch.table.column_names else None
    return Settled(stage, rows, measured, decision, survives, text)


def advance(batch: Batch, settled: Settled, drop: Sequence[str] = ()) -> Batch:
    """The documents that go on to the next stage, with what was measured of them.

    Args:
        drop: columns that nobody needs from here on.
    """
    table = batch.table
    for name in drop:
        if name in table.column_names:
            table = table.drop_columns([name])
    if settled.measured.text is not None:
        column = _whole(settled.measured.text, TEXT.type)
        place = table.column_names.index("text") if "text" in table.column_names else None
        table = table.append_column(TEXT, column) if place is None else table.set_column(place, TEXT, column)
    for name, column in settled.measured.columns.items():
        if name not in table.column_names:
            table = table.append_column(name, column)
    if not settled.survives.all():
        return Batch(table.filter(pa.array(settled.survives)))
    same = settled.measured.text is None and not settled.measured.columns.keys() & set(ROW_LANGUAGE)
    return batch.with_table(table) if same else Batch(table)


def replay(
    storage: Storage, links: Sequence[Link], columns: Sequence[str] | None = None
) -> Iterator[tuple[int, list[Settled], Batch]]:
    """Go through stored measurements once more and repeat every decision.

    Args:
        links: leading stages of a shard, all committed.
        columns: columns wanted, ``text`` among them or not; None for all.

    Yields:
        For each batch: its number of records, what every stage decided, and the documents left at the end.
    """
    wanted = None if columns is None else [*columns, *_told_by(link.stage for link in links)]
    with ExitStack() as stack:
        readers = []
        for link in links:
            reader = MeasureReader(storage, link, wanted)
            stack.callback(reader.close)
            readers.append(reader)
        for index in range(readers[0].batches):
            first = readers[0].read(index)
            count = len(next(iter(first.columns.values())))
            batch = Batch(pa.table(first.columns))
            rows = np.arange(count)
            history = []
            for reader in readers:
                measured = first if reader is readers[0] else reader.read(index)
                _check_length(reader.stage, measured, len(rows))
                settled = settle(reader.stage, rows, measured, batch)
                history.append(settled)
                batch = advance(batch, settled)
                rows = rows[settled.survives]
            yield count, history, batch


def _check_length(stage: Stage, measured: Measured, expected: int) -> None:
    for name, column in measured.columns.items():
        if len(column) != expected:
            raise RunError(
                f"stored measurements of stage {stage.name!r} speak of {len(column)} documents in column "
                f"{name!r} where {expected} reached it; delete its folder and run again"
            )


def null_columns(stage: Stage, count: int) -> dict[str, pa.Array]:
    """Every measure of a stage, null."""
    return {field.name: pa.nulls(count, field.type) for field in stage.schema}


def measure_guarded(stage: Stage, batch: Batch) -> Measured:
    """Measure a batch so that a document which breaks the stage costs only itself.

    When measuring raises, the batch is bisected down to the documents that are to blame; these get an
    error with the name of what was raised, all others are measured as if nothing had been.

    Raises:
        RunError, OSError, MemoryError: when the machine failed, not a document.  What passes must not become a
            verdict, so the shard as a whole is tried again.
    """
    if len(batch) == 0:
        return Measured(null_columns(stage, 0), pa.array([], TEXT.type) if stage.changes_text else None)
    try:
        return stage.measure(batch)
    except (RunError, OSError, MemoryError):
        raise
    except Exception as error:
        fault = _machine_fault(stage, error)
        if fault is not None:
            raise fault from error
        if len(batch) > 1:
            half = len(batch) // 2
            parts = [measure_guarded(stage, Batch(batch.table.slice(0, half)))]
            parts.append(measure_guarded(stage, Batch(batch.table.slice(half))))
            return _join(stage, parts, half)
        blame = error if isinstance(error, DocumentError) else _blame(stage, error)
        text = pa.array([""], TEXT.type) if stage.changes_text else None
        return Measured(null_columns(stage, 1), text, {0: blame})


def _machine_fault(stage: Stage, error: Exception) -> OSError | MemoryError | None:
    """What to raise for a RuntimeError that no document is to blame for; None for all other errors.

    Known by name and text: torch is not imported to find out, nor by a driver that is told about it.
    """
    said = str(error).strip().split("\n")[0]
    message = f"{stage.name}: {said}"
    if any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return MemoryError(message)
    if isinstance(error, RuntimeError) and said.startswith(_NO_MEMORY):
        return MemoryError(message)
    if isinstance(error, RuntimeError) and said.startswith(_NO_MACHINE):
        return OSError(message)
    return None


def _blame(stage: Stage, error: Exception) -> DocumentError:
    # Addresses in memory differ from run to run, the ledger must not.
    said = re.sub(r"0x[0-9a-fA-F]+", "0x…", str(error)).strip().split("\n")[0][:200]
    return DocumentError(f"{stage.name}-failed", f"{type(error).__name__}: {said}" if said else type(error).__name__)


def _join(stage: Stage, parts: list[Measured], half: int) -> Measured:
    def column(name: str, type_: pa.DataType) -> pa.Array:
        return pa.concat_arrays([_whole(part.columns[name], type_) for part in parts])

    columns = {field.name: column(field.name, field.type) for field in stage.schema}
    text = None
    if stage.changes_text:
        text = pa.concat_arrays([_whole(part.text, TEXT.type) for part in parts])
    errors = {**parts[0].errors, **{row + half: error for row, error in parts[1].errors.items()}}
    return Measured(columns, text, errors)


def null_fill(array: pa.Array, rows: np.ndarray, count: int) -> pa.Array:
    """Spread a column of some rows over ``count`` rows, null elsewhere."""
    indices = np.full(count, -1, np.int64)
    indices[rows] = np.arange(len(rows))
    return pc.take(array, pa.array(indices, mask=indices < 0))
