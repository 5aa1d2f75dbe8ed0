"""The first stage: what the records of a shard are, and which of them are documents."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, ClassVar, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pydantic import Field, field_validator

from curation.batch import Batch
from curation.errors import DocumentError
from curation.record import Record
from curation.sources import ReadLimits, SourceOptions, read_records
from curation.stage import Measured, Parameters, Rule, Stage, measure_field

T = TypeVar("T")
DOCUMENT_KINDS = frozenset({"response", "resource", "conversion", "document"})

# A batch ends with the record that reaches one of these: enough rows for vectorised work, and memory for a
# few hundred large pages.  Part of the stage's version, since stored batches follow it.
BATCH_RECORDS = 1024
BATCH_BYTES = 32 << 20

_MEDIA_TYPE = re.compile(r"[^\s;,]+")

TRANSIENT = ("content", "declared_charset", "text")
ERRORS = (pa.field("error_class", pa.string()), pa.field("error_detail", pa.string()))


class ReadParameters(Parameters):
    """What counts as a document.

    Attributes:
        http_status: the only status of an HTTP response that is kept.
        media_types: content types that can hold a document, without parameters; case does not matter.
        untyped: whether a response without a content type is tried.
        max_record_bytes: a longer record, line or row (decompressed) is quarantined.
        verify_digests: whether WARC-Block-Digest is checked where it is given.
        sample_share: share of records that go on, chosen by a hash of their ids: a smaller sample is part of a
            larger one, and every run chooses the same.
        text_field, html_field, id_field, url_field, date_field: columns of JSONL and Parquet sources.
    """

    http_status: int = Field(default=200, ge=100, le=599)
    media_types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain")
    untyped: bool = True
    max_record_bytes: int = Field(default=32 << 20, ge=1 << 10, le=1 << 30)
    verify_digests: bool = True
    sample_share: float = Field(default=1.0, gt=0, le=1)
    text_field: str = "text"
    html_field: str | None = None
    id_field: str | None = None
    url_field: str | None = None
    date_field: str | None = None

    @field_validator("media_types")
    @classmethod
    def _as_compared(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """As the content types of records are written."""
        types = tuple(type_.strip().lower() for type_ in value)
        if not types:
            raise ValueError("without a media type no page is a document; name at least one, such as text/html")
        for type_ in types:
            if not _MEDIA_TYPE.fullmatch(type_):
                raise ValueError(f"a media type without parameters is expected, such as text/html, not {type_!r}")
        return types


class Reader(Stage):
    """The first stage of a recipe: it makes tables of what a shard holds."""

    @abstractmethod
    def tables(self, stream: BinaryIO, name: str, size: int, identity: str) -> Iterator[pa.Table]:
        """What a shard holds, in batches and in its order.

        Args:
            stream: the shard's bytes, seekable, at offset 0.
            name: decides the format.
            size: in bytes.
            identity: of the shard; ids derive from it and from places.

        Yields:
            Tables with the columns of ``schema``, those of ``ERRORS``, and transient ones that only the second stage
            sees.
        """

    def measure(self, batch: Batch) -> Measured:
        """Columns of a batch that ``tables`` made; the facts are there already, errors become quarantine."""
        columns = {name: batch.column(name) for name in self.schema.names}
        classes, details = (batch.table.column(field.name).to_pylist() for field in ERRORS)
        errors = {
            row: DocumentError(error, detail or "")
            for row, (error, detail) in enumerate(zip(classes, details, strict=True))
            if error is not None
        }
        return Measured(columns, errors=errors)


class Read(Reader):
    """Facts about each record; what is no document ends here under its own rule."""

    name: ClassVar[str] = "read"
    version: ClassVar[int] = 3
    Parameters: ClassVar[type[Parameters]] = ReadParameters
    parameters: ReadParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"http_status", "sample_share"})

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("id", pa.string(), "document id: hash of the shard's content and the record's place"),
                measure_field("offset", pa.int64(), "first stored byte of the record (row number in Parquet)"),
                measure_field("length", pa.int64(), "stored bytes of the record (1 in Parquet)"),
                measure_field("inner_offset", pa.int64(), "place inside a compressed member shared by records"),
                measure_field("kind", pa.string(), "record type: response, revisit, conversion, document …"),
                measure_field("record_id", pa.string(), "the source's own id of the record"),
                measure_field("url", pa.string(), "address of the page"),
                measure_field("host", pa.string(), "host name in the address"),
                measure_field("crawl_date", pa.string(), "time of capture, UTC, ISO 8601"),
                measure_field("http_status", pa.int32(), "status of the captured HTTP response"),
                measure_field("content_type", pa.string(), "declared media type"),
                measure_field("is_document", pa.bool_(), "whether the record type can hold a document"),
                measure_field("is_revisit", pa.bool_(), "whether the record repeats an earlier capture"),
                measure_field("media_type_accepted", pa.bool_(), "whether the media type can hold a document"),
                measure_field("sample_place", pa.float64(), "place in a random order that is always the same, [0, 1)"),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        status = float(self.parameters.http_status)
        return [
            Rule("revisit", "is_revisit", "<", {"default": 1.0}),
            Rule("record-type", "is_document", ">=", {"default": 1.0}, detail="kind"),
            Rule("http-status", "http_status", "==", {"default": status}),
            Rule("media-type", "media_type_accepted", ">=", {"default": 1.0}, detail="content_type"),
            Rule("not-sampled", "sample_place", "<", {"default": self.parameters.sample_share}),
        ]

    def tables(self, stream: BinaryIO, name: str, size: int, identity: str) -> Iterator[pa.Table]:
        """The records of a shard, pages included; see ``batches`` for the columns."""
        given = self.parameters
        limits = limits_of(given.max_record_bytes)
        options = SourceOptions(
            text_field=given.text_field,
            html_field=given.html_field,
            id_field=given.id_field,
            url_field=given.url_field,
            date_field=given.date_field,
            verify_digests=given.verify_digests,
        )
        yield from self.batches(read_records(stream, name, size, limits, options), identity)

    def batches(self, records: Iterable[Record], identity: str) -> Iterator[pa.Table]:
        """Group records into tables.

        Args:
            records: in the order of the shard.
            identity: the shard's identity; ids derive from it and from a record's place.

        Yields:
            Tables with the columns of ``schema`` and the transient ``content``, ``declared_charset``,
            ``text``, ``error_class`` and ``error_detail``.
        """
        for some in batched(records, lambda record: len(record.content or b"") + len(record.text or "")):
            yield self._table(some, identity)

    def _table(self, records: list[Record], identity: str) -> pa.Table:
        accepted = [self._accepts(record) for record in records]
        ids = [document_id(identity, record) for record in records]
        columns = {
            "id": ids,
            "offset": [record.offset for record in records],
            "length": [record.length for record in records],
            "inner_offset": [record.inner_offset for record in records],
            "kind": [record.kind for record in records],
            "record_id": [clean(record.record_id) for record in records],
            "url": [clean(record.url) for record in records],
            "host": [host_of(record.url) for record in records],
            "crawl_date": [clean(record.crawl_date) for record in records],
            "http_status": [record.http_status for record in records],
            "content_type": [clean(record.content_type) for record in records],
            "is_document": [record.kind in DOCUMENT_KINDS for record in records],
            "is_revisit": [record.kind == "revisit" for record in records],
            "media_type_accepted": accepted,
            "sample_place": [sample_place(id_) for id_ in ids],
            "content": [record.content for record in records],
            "declared_charset": [clean(record.charset) for record in records],
            "text": [clean(record.text) for record in records],
            "error_class": [record.error_class for record in records],
            "error_detail": [clean(record.error_detail) for record in records],
        }
        return pa.table(columns, schema=self._table_schema())

    def _table_schema(self) -> pa.Schema:
        transient = [
            pa.field("content", pa.large_binary()),
            pa.field("declared_charset", pa.string()),
            pa.field("text", pa.large_string()),
            *ERRORS,
        ]
        return pa.schema([*self.schema, *transient])

    def _accepts(self, record: Record) -> bool:
        if record.kind not in DOCUMENT_KINDS or record.text is not None:
            return True  # other rules speak of these
        if record.content_type is None:
            return self.parameters.untyped
        return record.content_type in self.parameters.media_types


def batched(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in lists, each ending with the one that reaches ``BATCH_RECORDS`` or ``BATCH_BYTES``."""
    pending: list[T] = []
    size = 0
    for item in items:
        pending.append(item)
        size += size_of(item)
        if len(pending) >= BATCH_RECORDS or size >= BATCH_BYTES:
            yield pending
            pending, size = [], 0
    if pending:
        yield pending


def limits_of(longest: int) -> ReadLimits:
    """Limits of a reader: a document is a document, whatever it lies in."""
    return ReadLimits(max_record_bytes=longest, max_line_bytes=longest, max_row_bytes=longest)


def sample_place(id_: str) -> float:
    """Place of an id in a random order that is always the same, [0, 1)."""
    return int(id_[:12], 16) / (1 << 48)


def document_id(identity: str, record: Record) -> str:
    """32 hex digits from the shard's identity and the record's place in it, never from file order."""
    place = f"{identity}:{record.offset}:{record.inner_offset}".encode()
    return hashlib.blake2b(place, digest_size=16).hexdigest()


def host_of(url: str | None) -> str | None:
    """Host name of an address in lower case, None where there is none."""
    if not url:
        return None
    try:
        return clean(urlsplit(url).hostname)
    except ValueError:
        return None


def clean(text: str | None) -> str | None:
    """Text without lone surrogates, which Arrow cannot hold; they become U+FFFD."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if _has_surrogates(text) else text


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
