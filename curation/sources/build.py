"""Records out of cut archive records: what the house wants to know of each."""

from __future__ import annotations

import re

from curation.errors import DocumentError
from curation.record import Record
from curation.sources.dates import normalise_date
from curation.sources.digests import digest_holds
from curation.sources.head import Dialect, Header
from curation.sources.http_message import Http, charset, decode_body, looks_like_text, media_type, parse_http
from curation.sources.options import ReadLimits, SourceOptions
from curation.sources.split import MALFORMED, TOO_LARGE, Raw

DAMAGED = "damaged"
DIGEST_MISMATCH = "block-digest-mismatch"
UNSUPPORTED_ENCODING = "unsupported-encoding"

_HTTP_MESSAGE = "application/http"
_TEXTUAL = re.compile(r"text/.*|.*(?:html|xml|json)")  # of media types in lower case


def damaged_record(
    raw: Raw | None, offset: int, length: int, inner_offset: int, error_class: str, error_detail: str | None
) -> Record:
    """A stretch that could not be read.

    Args:
        raw: what could be read before the damage; if that reaches past a head, the record says whose it was,
            so that the page can be fetched again.  No checksum confirms it.
    """
    header = raw.header if raw else None
    return Record(
        offset,
        length,
        inner_offset,
        kind=(header.kind if header and error_class == TOO_LARGE else "") or DAMAGED,
        record_id=header.record_id if header else None,
        url=header.url if header else None,
        crawl_date=normalise_date(header.date) if header else None,
        error_class=error_class,
        error_detail=error_detail,
    )


def build_record(
    raw: Raw,
    dialect: Dialect,
    offset: int,
    length: int,
    inner_offset: int,
    limits: ReadLimits,
    options: SourceOptions,
) -> Record:
    """A record as the contract wants it, from one that was cut out.

    Args:
        raw: as cut; its errors become the record's.
        offset, length, inner_offset: its place in the file.
    """
    if raw.error_class is not None:
        error = f"{dialect.name}-{MALFORMED}" if raw.error_class == MALFORMED else raw.error_class
        return damaged_record(raw, offset, length, inner_offset, error, raw.error_detail)
    header, block = raw.header, raw.block
    assert header is not None
    record = Record(
        offset,
        length,
        inner_offset,
        kind=header.kind,
        record_id=header.record_id,
        url=header.url,
        crawl_date=normalise_date(header.date),
    )
    if block is None:  # a loose head over something that cannot be held
        return record
    if options.verify_digests and header.block_digest and digest_holds(header.block_digest, block) is False:
        record.error_class, record.error_detail = DIGEST_MISMATCH, f"the header says {header.block_digest[:128]}"
        return record
    try:
        _fill(record, header, block, limits)
    except DocumentError as error:
        record.content = record.text = None
        record.error_class, record.error_detail = error.error_class, error.detail
    return record


def _fill(record: Record, header: Header, block: bytes, limits: ReadLimits) -> None:
    """What the block says.

    Raises:
        DocumentError: the payload cannot be decoded.
    """
    if not record.kind:  # ARC does not say it
        record.kind = "response" if block[:5] == b"HTTP/" else "resource"
    record.content_type = media_type(header.content_type)
    if record.kind in ("response", "revisit"):
        _fill_from_http(record, block, limits)
    elif record.kind == "resource":
        record.charset = charset(header.content_type)
        record.content = block
    elif record.kind == "conversion":
        _fill_conversion(record, header, block)


def _fill_from_http(record: Record, block: bytes, limits: ReadLimits) -> None:
    http = parse_http(block, limits.max_header_bytes)
    declared = http.content_type
    if http.body:
        record.http_status = http.status
        record.content_type = media_type(declared)
        record.charset = charset(declared)
    if record.kind == "response":
        if not http.body and record.content_type == _HTTP_MESSAGE:
            record.content_type = None  # the type of a message that is not there says nothing of the payload
        record.content = decode_body(block[http.body :], http.codings, limits.max_record_bytes)
        _check_encoding(record.content, record.content_type, http)


def _check_encoding(content: bytes, content_type: str | None, http: Http) -> None:
    """Refuse what would be text if we knew how to decode it.

    Headers often name an encoding that is none (``utf-8``) or stand over a decoded body; so what is text all the
    same is taken as it is.  What shall be no text anyway is left to the rule on media types.

    Raises:
        DocumentError: ``unsupported-encoding``.
    """
    if http.unknown and (content_type is None or _TEXTUAL.fullmatch(content_type)) and not looks_like_text(content):
        names = ", ".join(http.unknown)[:128]
        raise DocumentError(UNSUPPORTED_ENCODING, f"Content-Encoding {names} is not known, and the body is no text")


def _fill_conversion(record: Record, header: Header, block: bytes) -> None:
    """Extracted text (WET) is UTF-8; a conversion to anything else is content."""
    if record.content_type in (None, "text/plain"):
        # What is no UTF-8 becomes U+FFFD, which the quality rules see.
        record.text = block.decode("utf-8", "replace")
    else:
        record.charset = charset(header.content_type)
        record.content = block
