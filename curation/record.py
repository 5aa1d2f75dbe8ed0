"""A record: one item read from a shard, or one stretch of a shard that could not be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Record:
    """What a reader says about one record.  Readers state facts; the read stage decides.

    Every stored byte of a shard belongs to exactly one record: sorted by ``(offset, inner_offset)`` the
    ranges ``[offset, offset + length)`` tile the file without gap or overlap (records that share one
    compressed member share its range).  For line and table formats see the reader's own docstring.

    Attributes:
        offset: first stored byte (in the file as it lies on disk, compressed if it is).
        length: number of stored bytes, trailing separators included.
        inner_offset: position inside the decompressed member when several records share one; else 0.
        kind: WARC record type in lower case (``response``, ``conversion`` …), ``document`` for JSONL and
            Parquet, or ``damaged`` for a stretch that could not be read.
        record_id: the source's own id (WARC-Record-ID without brackets, a JSONL ``id``), if any.
        url: target URI, if any.
        crawl_date: UTC as ISO 8601 with seconds, ``2024-05-18T01:58:10Z``, if any.
        http_status: status code of the captured HTTP response, if the record holds one.
        content_type: media type in lower case without parameters, if known.
        charset: charset parameter of the HTTP Content-Type, as declared.
        content: payload bytes still to be decoded and extracted (HTML or plain text), if any; transfer and
            content encodings are already undone.
        text: text that needs no extraction (WET, JSONL, Parquet), if any.
        error_class: kebab-case name of what is wrong, if the record must be quarantined
            (``gzip-damaged``, ``truncated``, ``record-too-large``, ``malformed-json`` …).
        error_detail: one deterministic line for people.
    """

    offset: int
    length: int
    inner_offset: int = 0
    kind: str = "document"
    record_id: str | None = None
    url: str | None = None
    crawl_date: str | None = None
    http_status: int | None = None
    content_type: str | None = None
    charset: str | None = None
    content: bytes | None = None
    text: str | None = None
    error_class: str | None = None
    error_detail: str | None = None
