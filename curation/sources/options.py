"""What a reader may be asked for, and how much of a shard it may hold at once."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class ReadLimits:
    """Bounds that keep a hostile or damaged shard from taking the machine.

    Attributes:
        max_record_bytes: longest record block, decompressed, and longest payload once its transfer and
            content encodings are undone.  Longer ones are ``record-too-large``.
        max_line_bytes: longest JSONL line, decompressed.
        max_header_bytes: longest WARC, ARC or HTTP header.
        max_decompression_ratio: a gzip member that has outgrown ``max_record_bytes`` and is inflated only
            to find its end, or a head in it, is given up when it inflates to more than this many times its stored size.
            Pages reach 20 to 50; a deflate bomb reaches 1032.
        max_row_bytes: longest text of one Parquet row, in UTF-8.
    """

    max_record_bytes: int = 32 * MIB
    max_line_bytes: int = 32 * MIB
    max_header_bytes: int = 64 << 10
    max_decompression_ratio: float = 100.0
    max_row_bytes: int = 32 * MIB


@dataclass(frozen=True)
class SourceOptions:
    """What to look for in a shard.

    Attributes:
        text_field: JSONL key or Parquet column that holds the text.
        html_field: key or column that holds HTML still to be extracted; then ``text_field`` is not asked for.
        id_field: key or column of the source's own id; None means ``id`` where there is one.
        url_field: the same for the address; None means ``url``.
        date_field: the same for the time of capture; None means ``date``.
        verify_digests: whether WARC-Block-Digest is checked where it is given.
        whole: whether a record's text is all of its row, as JSON; then no field is asked for.
    """

    text_field: str = "text"
    html_field: str | None = None
    id_field: str | None = None
    url_field: str | None = None
    date_field: str | None = None
    verify_digests: bool = True
    whole: bool = False
