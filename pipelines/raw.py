"""What a shard holds of one document, read where the ledger says that it lies.

Only as much is read as a person looks at, whatever the shard claims: stored bytes, inflated bytes and characters are
bounded.  What is read is text to be shown, never anything else.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow.parquet as pq

from curation.errors import GristmillError
from curation.read import document_id
from curation.sources import ReadLimits, SourceOptions, detect_format, read_records
from curation.sources.formats import GZIP_MAGIC, ZSTD_MAGIC
from pipelines.inputs import Shard

STORED = 8 << 20  # bytes of a record as it lies there
INFLATED = 32 << 20  # bytes of a member, inflated
PASSED = 128 << 20  # bytes of a compressed file of lines that are gone through to come to a record
SHOWN = 200_000  # characters
_HEAD = 16 << 10  # bytes of a record's head that are shown
_STEP = 1 << 20
_ROWS = 256 << 20  # bytes of a row group of Parquet that is opened for one row

GONE, CHANGED, TOO_FAR, UNREADABLE = "gone", "changed", "too-far", "unreadable"


class SourceError(Exception):
    """Why there is nothing to show.

    Attributes:
        code: ``gone``, ``changed``, ``too-far`` or ``unreadable``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Raw:
    """A record as it lies in its shard.

    Attributes:
        head: of an archive's record: its own header and that of HTTP; empty for other formats.
        text: the page, its line or its row, as text.
        charset: in which the page was read.
        size: bytes of the page.
        cut: whether only its beginning is here.
    """

    head: str
    text: str
    charset: str
    size: int
    cut: bool


def raw_record(shard: Mapping[str, Any], row: Mapping[str, Any], longest: int = SHOWN) -> Raw:
    """The record of a document.

    Args:
        shard: as ``run.json`` has it.
        row: of the ledger.
        longest: characters of the text.

    Raises:
        SourceError: and nothing else, whatever the shard has become.
    """
    where = Shard(**{name: shard[name] for name in Shard.__dataclass_fields__})
    try:
        with where.open() as stream:
            size = stream.seek(0, io.SEEK_END)
            if size != where.size:
                raise SourceError(CHANGED, f"the file has {size:,} bytes now; it had {where.size:,} when it was read")
            stream.seek(0)
            found = _read(stream, where, row)
    except FileNotFoundError:
        raise SourceError(GONE, "the file is not there any more") from None
    except (OSError, GristmillError, ValueError, zlib.error) as error:
        raise SourceError(UNREADABLE, f"the file cannot be read: {type(error).__name__}") from None
    return Raw(found.head, found.text[:longest], found.charset, found.size, found.cut or len(found.text) > longest)


def _read(stream: BinaryIO, shard: Shard, row: Mapping[str, Any]) -> Raw:
    kind, _, packed = detect_format(shard.uri).partition(".")
    if kind == "parquet":
        return _row(stream, int(row["offset"]))
    stored = _is_packed(stream, packed)
    if kind == "jsonl":
        data = (_inflated_lines if stored else _stored)(stream, int(row["offset"]), int(row["length"]))
        return _plain(data, int(row["length"]))
    return _archived(stream, shard, row, stored)


def _is_packed(stream: BinaryIO, packed: str) -> bool:
    first = stream.read(4)
    stream.seek(0)
    return first.startswith(GZIP_MAGIC) or first == ZSTD_MAGIC or (packed != "" and not first.startswith(b"{"))


def _stored(stream: BinaryIO, offset: int, length: int) -> bytes:
    """Bytes of the file, up to a bound."""
    stream.seek(offset)
    return stream.read(min(length, STORED))


def _inflated_lines(stream: BinaryIO, offset: int, length: int) -> bytes:
    """The same of what the file is, inflated; a file is gone through from its beginning."""
    if offset > PASSED:
        raise SourceError(TOO_FAR, f"the record lies {offset >> 20:,} MiB into a compressed file")
    with _inflating(stream) as inflated:
        while offset > 0:
            passed = len(inflated.read(min(_STEP, offset)))
            if not passed:
                raise SourceError(CHANGED, "the file ends before the record begins")
            offset -= passed
        return inflated.read(min(length, STORED))


def _inflating(stream: BinaryIO) -> BinaryIO:
    first = stream.read(4)
    stream.seek(0)
    if first == ZSTD_MAGIC:
        import zstandard

        return cast(BinaryIO, zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(stream))
    import gzip

    return cast(BinaryIO, gzip.GzipFile(fileobj=stream))


def _plain(data: bytes, length: int) -> Raw:
    """A line or an element of JSON, indented if it is whole."""
    text = data.decode("utf-8", "replace").strip().rstrip(",").strip()
    if len(data) == length:
        # The first and the last element of an array have a bracket about them, and stay as they are.
        with suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return Raw("", text, "utf-8", length, len(data) < length)


def _row(stream: BinaryIO, number: int) -> Raw:
    """A row of Parquet as JSON."""
    file = pq.ParquetFile(stream)
    first = 0
    for group in range(file.num_row_groups):
        told = file.metadata.row_group(group)
        if number < first + told.num_rows:
            if told.total_byte_size > _ROWS:
                raise SourceError(TOO_FAR, f"the row lies in a group of {told.total_byte_size >> 20:,} MiB")
            one = file.read_row_group(group).slice(number - first, 1).to_pylist()[0]
            text = json.dumps(one, ensure_ascii=False, indent=2, default=str)
            return Raw("", text, "utf-8", len(text.encode("utf-8", "replace")), False)
        first += told.num_rows
    raise SourceError(CHANGED, "the file has no such row")


def _archived(stream: BinaryIO, shard: Shard, row: Mapping[str, Any], packed: bool) -> Raw:
    """A page of a WARC or ARC file, transfer and content encodings undone as when it was read."""
    offset, length, inner = int(row["offset"]), int(row["length"]), int(row["inner_offset"])
    data = _stored(stream, offset, length)
    limits = ReadLimits(max_record_bytes=INFLATED)
    options = SourceOptions(verify_digests=False)
    head = _head(data, inner, packed)
    for record in read_records(io.BytesIO(data), shard.uri, len(data), limits, options):
        if record.inner_offset != inner:
            continue
        record.offset = offset
        if document_id(shard.identity, record) != row["id"] or (record.url or None) != (row.get("url") or None):
            break
        charset = row.get("charset") or "utf-8"
        if record.content is None:
            text = record.text or ""
            return Raw(head, text, "utf-8", len(text.encode("utf-8", "replace")), len(data) < length)
        return Raw(head, _decoded(record.content, charset), charset, len(record.content), len(data) < length)
    raise SourceError(CHANGED, "another record lies at this place now")


def _decoded(content: bytes, charset: str) -> str:
    try:
        return content[: 4 * SHOWN].decode(charset, "replace")
    except LookupError:
        return content[: 4 * SHOWN].decode("utf-8", "replace")


def _head(data: bytes, inner: int, packed: bool) -> str:
    """The lines in front of the page."""
    if packed:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            data = inflater.decompress(data, min(INFLATED, inner + _HEAD))
        except zlib.error:
            return ""
    whole = data[inner : inner + _HEAD].decode("utf-8", "replace").replace("\r\n", "\n").lstrip("\n")
    first, _, rest = whole.partition("\n\n")
    second = rest.partition("\n\n")[0] if rest.startswith("HTTP/") else ""
    return f"{first}\n\n{second}".strip()
