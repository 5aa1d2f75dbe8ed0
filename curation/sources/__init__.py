"""Readers: from the bytes of a shard to its records, whatever has happened to the bytes.

``read_records`` takes any format.  It never raises because of what a shard holds: what cannot be read becomes a record
of its own with an error class and its place, and reading goes on behind it.  Work and memory are bounded by
the size of the shard and by ``ReadLimits``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from curation.record import Record
from curation.sources.arc import Arc
from curation.sources.archive import read_gzip, read_plain
from curation.sources.array import begins_as_array, read_array
from curation.sources.formats import FORMATS, GZIP_MAGIC, detect_format, line_packing, may_be_array
from curation.sources.head import Dialect
from curation.sources.lines import read_lines, text_of
from curation.sources.options import ReadLimits, SourceOptions
from curation.sources.parquet import read_parquet
from curation.sources.tiling import check_tiling
from curation.sources.warc import Warc
from curation.sources.window import StreamWindow

__all__ = ["FORMATS", "ReadLimits", "SourceOptions", "check_tiling", "detect_format", "read_records"]


def read_records(
    stream: BinaryIO, name: str, size: int, limits: ReadLimits, options: SourceOptions
) -> Iterator[Record]:
    """All records of a shard, in the order in which they lie in it.

    Args:
        stream: at offset 0.  It is read sequentially; seeking is needed for Parquet and for gzip members of many
            records that are longer than ``max_record_bytes``, and helps where a length is damaged.
        name: decides the format by its suffix.  Whether an archive or line file is compressed is decided by its
            first bytes where they say it, since stores and tools compress and decompress behind names.
        size: bytes of the stream.

    Yields:
        Records that tile the shard (see ``check_tiling``).  Offsets are stored bytes; in compressed JSONL
        bytes of the decompressed text; in Parquet rows.

    Raises:
        InputError: the name has no known suffix, or a Parquet file lacks a column that is asked for.
    """
    kind, _, packed = detect_format(name).partition(".")
    file = StreamWindow(stream, size)
    if kind == "parquet":
        return read_parquet(stream, name, size, limits, options)
    if not file.reach(1):
        return iter([Record(0, 0, kind="damaged", error_class="empty-file", error_detail="the file has no bytes")])
    first = file.get(0, 4) if file.reach(4) else b""
    if kind == "jsonl":
        text = text_of(file, line_packing(first, packed))
        read = read_array if may_be_array(name) and begins_as_array(text) else read_lines
        return read(text, limits, options)
    dialect: Dialect = Warc() if kind == "warc" else Arc()
    is_gzip = first.startswith(GZIP_MAGIC) or (packed == "gz" and not dialect.plausible(file, 0))
    return (read_gzip if is_gzip else read_plain)(file, dialect, limits, options)
