"""Parquet: one record a row.

Offset is the row's number in the file and length is 1, since a row has no bytes of its own.  Row groups are
read one after the other, only the columns needed, in batches of bounded size.  What cannot be read of a row
group becomes one damaged record over the rows that are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.errors import InputError
from curation.record import Record
from curation.sources.options import MIB, ReadLimits, SourceOptions
from curation.sources.rows import failed, fill_document

_BATCH_ROWS = 1024
_BATCH_BYTES = 16 * MIB
_MAGIC = b"PAR1"
_NO_VALUE = (ValueError, OverflowError, LookupError, pa.ArrowException)


def read_parquet(
    stream: BinaryIO, name: str, size: int, limits: ReadLimits, options: SourceOptions
) -> Iterator[Record]:
    """Records of a Parquet file.

    Yields:
        Records that tile the rows.  A file whose footer cannot be read is one record over its bytes:
        ``truncated`` if it begins as Parquet and does not end so, else ``parquet-damaged``.  Other errors:
        ``missing-text``, ``invalid-utf8``, ``row-too-large``, ``empty-file``.

    Raises:
        InputError: a column that is asked for is not there or holds no text; the columns are named.
        OSError: the stream cannot be read (as opposed to: its content makes no sense).
    """
    if not size:
        yield Record(0, 0, kind="damaged", error_class="empty-file", error_detail="the file has no bytes")
        return
    try:
        file = pq.ParquetFile(stream, page_checksum_verification=True)
    except (pa.ArrowException, OSError):
        error = _why_unreadable(stream, size)
        yield Record(0, size, kind="damaged", error_class=error[0], error_detail=error[1])
        return
    columns = _columns(file.schema_arrow, name, options)
    begin = 0
    for group in range(file.metadata.num_row_groups):
        yield from _read_group(file, stream, group, begin, columns, limits, options)
        begin += file.metadata.row_group(group).num_rows


def _columns(schema: pa.Schema, name: str, options: SourceOptions) -> list[str]:
    """The columns to read."""
    if options.whole:
        return list(dict.fromkeys(schema.names))
    wanted = options.html_field or options.text_field
    asked = [field for field in (wanted, options.id_field, options.url_field, options.date_field) if field]
    for field in asked:
        if field not in schema.names:
            raise InputError(f"no column {field!r}; there are {', '.join(schema.names)}", name)
    if not _holds_text(schema.field(wanted).type):
        raise InputError(f"column {wanted!r} is of type {schema.field(wanted).type}, which is no text", name)
    usual = [field for field in ("id", "url", "date") if field in schema.names]
    return list(dict.fromkeys([*asked, *usual]))


def _holds_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(type_) for test in (*tests, pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_null))


def _read_group(
    file: pq.ParquetFile,
    stream: BinaryIO,
    group: int,
    begin: int,
    columns: list[str],
    limits: ReadLimits,
    options: SourceOptions,
) -> Iterator[Record]:
    """Records of one row group, whose first row has the number ``begin``."""
    rows = file.metadata.row_group(group).num_rows
    batches = file.iter_batches(_batch_rows(file, group, columns), row_groups=[group], columns=columns)
    done = 0
    reason = "there are no more"
    while done < rows:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            _check_stream(stream)
            reason = str(error).split("\n", 1)[0][:200]
            batch = None
        if batch is None:
            detail = f"row group {group}, {rows - done} of {rows} rows: {reason}"
            yield Record(begin + done, rows - done, kind="damaged", error_class="parquet-damaged", error_detail=detail)
            return
        yield from _read_batch(batch, begin + done, limits, options)
        done += batch.num_rows


def _batch_rows(file: pq.ParquetFile, group: int, columns: list[str]) -> int:
    """Rows that are about ``_BATCH_BYTES``."""
    metadata = file.metadata.row_group(group)
    size: int = 0
    for index in range(metadata.num_columns):
        column = metadata.column(index)
        if column.path_in_schema.split(".")[0] in columns:
            size += max(0, column.total_uncompressed_size)
    row = size // max(1, int(metadata.num_rows))
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, row)))


def _read_whole(batch: pa.RecordBatch, begin: int, limits: ReadLimits, options: SourceOptions) -> Iterator[Record]:
    """Rows of which all columns are wanted."""
    columns = {name: _values(batch.column(name)) for name in batch.schema.names}
    for index, values in enumerate(zip(*columns.values(), strict=True)):
        record = fill_document(Record(begin + index, 1), dict(zip(columns, values, strict=True)), options)
        length = len((record.text or "").encode("utf-8", "surrogatepass"))
        if length > limits.max_row_bytes:
            record.text = None
            failed(record, "row-too-large", f"{length} bytes, limit {limits.max_row_bytes}")
        yield record


def _read_batch(batch: pa.RecordBatch, begin: int, limits: ReadLimits, options: SourceOptions) -> Iterator[Record]:
    if options.whole:
        yield from _read_whole(batch, begin, limits, options)
        return
    field = options.html_field or options.text_field
    text = _plain(batch.column(field))
    lengths = pc.binary_length(text).to_pylist() if not pa.types.is_null(text.type) else [0] * len(text)
    others = {name: _values(batch.column(name)) for name in batch.schema.names if name != field}
    rows = [dict(zip(others, values, strict=True)) for values in zip(*others.values(), strict=True)]
    rows = rows or [{} for _ in range(batch.num_rows)]
    for index, row in enumerate(rows):
        record = Record(begin + index, 1)
        length = lengths[index] or 0
        row[field] = None if length > limits.max_row_bytes else _value(text, index)
        fill_document(record, row, options)
        if length > limits.max_row_bytes:
            failed(record, "row-too-large", f"{length} bytes in {field}, limit {limits.max_row_bytes}")
        yield record


def _plain(text: pa.Array) -> pa.Array:
    """The same values as one string after the other."""
    if pa.types.is_dictionary(text.type):
        text = text.dictionary_decode()
    if pa.types.is_string_view(text.type):
        return text.cast(pa.large_string())
    return text.cast(pa.large_binary()) if pa.types.is_binary_view(text.type) else text


def _values(column: pa.Array) -> list[Any]:
    """Values as Python objects; None for those that cannot be had (bytes that are no UTF-8, odd time zones)."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except _NO_VALUE:
        return [_value_or_none(scalar) for scalar in column]


def _value_or_none(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _NO_VALUE:
        return None


def _value(text: pa.Array, index: int) -> Any:
    """One value; as bytes if the file says that it is text and it is no UTF-8."""
    try:
        return text[index].as_py()
    except UnicodeDecodeError:
        return text[index].as_buffer().to_pybytes()


def _why_unreadable(stream: BinaryIO, size: int) -> tuple[str, str]:
    """Error class and detail of a file without a readable footer."""
    _check_stream(stream)
    stream.seek(0)
    head = stream.read(4)
    stream.seek(max(0, size - 4))
    if head == _MAGIC and stream.read(4) != _MAGIC:
        return "truncated", f"the file of {size} bytes ends before its Parquet footer"
    return "parquet-damaged", f"the footer of this file of {size} bytes cannot be read"


def _check_stream(stream: BinaryIO) -> None:
    """Raise what the stream raises: Arrow reports storage that fails and content that makes no sense alike."""
    stream.seek(0)
    while stream.read(MIB):
        pass
