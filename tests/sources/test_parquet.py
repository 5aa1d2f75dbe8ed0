"""Parquet: columns, row groups, and files that cannot be read."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError
from curation.record import Record
from curation.sources import ReadLimits, SourceOptions, check_tiling, read_records

TEXTS = [f"text {number}" for number in range(100)]


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def rows(data: bytes, limits: ReadLimits | None = None, **options: Any) -> list[Record]:
    stream = cast(BinaryIO, pa.BufferReader(data))
    records = list(read_records(stream, "a.parquet", len(data), limits or ReadLimits(), SourceOptions(**options)))
    assert check_tiling(((r.offset, r.length, r.inner_offset) for r in records), None) is None
    return records


def test_rows_and_their_columns() -> None:
    dates = [datetime(2024, 5, 18, 1, 58, 10, 999, tzinfo=UTC)] * 100
    table = pa.table({"url": TEXTS, "text": TEXTS, "id": range(100), "date": dates, "other": range(100)})
    for options in ({"row_group_size": 7}, {}, {"use_dictionary": False, "compression": "zstd"}):
        records = rows(written(table, **options))
        assert [(r.offset, r.length, r.text, r.record_id) for r in records] == [
            (number, 1, text, str(number)) for number, text in enumerate(TEXTS)
        ]
        assert (records[3].url, records[3].crawl_date) == ("text 3", "2024-05-18T01:58:10Z")


@pytest.mark.parametrize(
    "type_", [pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()], ids=str
)
def test_types_of_text(type_: pa.DataType) -> None:
    column = pa.array(["a", None, "ü"]).cast(pa.string()).cast(type_)
    records = rows(written(pa.table({"text": column})))
    assert [(record.text, record.error_class) for record in records] == [
        ("a", None),
        (None, "missing-text"),
        ("ü", None),
    ]


def test_bad_rows() -> None:
    column = pa.array([b"fine", b"\xff\xfe", b"x" * 100], pa.binary())
    as_text = pa.Array.from_buffers(pa.string(), 3, column.buffers())
    for text in (column, as_text):
        records = rows(written(pa.table({"text": text})), ReadLimits(max_row_bytes=99))
        assert [record.error_class for record in records] == [None, "invalid-utf8", "row-too-large"]


def test_bad_values_beside_the_text_are_left_out() -> None:
    odd = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers())
    dates = pa.array([1_716_000_000_000_000_001, 2**62], pa.timestamp("ns", "Nowhere/Odd"))
    days = pa.array([0, 1], pa.date32())
    records = rows(written(pa.table({"text": ["a", "b"], "url": odd, "date": dates, "day": days})))
    assert [(record.text, record.url, record.crawl_date) for record in records] == [
        ("a", "ok", None),
        ("b", None, None),
    ]
    records = rows(written(pa.table({"text": ["a", "b"], "day": days})), date_field="day")
    assert [record.crawl_date for record in records] == ["1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z"]


def test_html_column() -> None:
    data = written(pa.table({"page": ["<p>ü"], "raw": [b"<p>\xff"]}))
    (record,) = rows(data, html_field="page")
    assert (record.content, record.charset, record.text) == ("<p>ü".encode(), "utf-8", None)
    (record,) = rows(data, html_field="raw")
    assert (record.content, record.charset) == (b"<p>\xff", None)


@pytest.mark.parametrize(
    ("options", "named"),
    [({}, "'text'"), ({"text_field": "a", "id_field": "key"}, "'key'"), ({"text_field": "b"}, "int64")],
)
def test_missing_columns_are_named(options: dict[str, str], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        rows(written(pa.table({"a": ["x"], "b": [1]})), **options)
    assert "a, b" in str(caught.value) or named == "int64"


def test_no_rows() -> None:
    assert rows(written(pa.table({"text": pa.array([], pa.string())}))) == []


def test_unreadable_files() -> None:
    data = written(pa.table({"text": TEXTS}))
    for broken, error in ((data[:-20], "truncated"), (b"junk" * 9, "parquet-damaged"), (b"PAR1", "parquet-damaged")):
        (record,) = rows(broken)
        assert (record.error_class, record.kind) == (error, "damaged")
        assert (record.offset, record.length) == (0, len(broken))
    footer = data[:-30] + b"\xff" * 20 + data[-10:]
    assert [record.error_class for record in rows(footer)] == ["parquet-damaged"]


def test_bad_row_group_costs_its_rows() -> None:
    data = bytearray(
        written(pa.table({"text": TEXTS}), row_group_size=25, use_dictionary=False, write_page_checksum=True)
    )
    column = pq.ParquetFile(io.BytesIO(bytes(data))).metadata.row_group(1).column(0)
    at = column.data_page_offset + column.total_compressed_size - 10
    data[at] ^= 0xFF
    records = rows(bytes(data))
    assert [record.text for record in records if not record.error_class] == TEXTS[:25] + TEXTS[50:]
    (lost,) = [record for record in records if record.error_class]
    assert (lost.offset, lost.length, lost.error_class) == (25, 25, "parquet-damaged")


class Failing(io.BytesIO):
    """A store that stops answering."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError("connection reset")


def test_a_failing_store_is_no_damage() -> None:
    data = written(pa.table({"text": TEXTS}))
    for name in ("a.parquet", "a.warc.gz", "a.jsonl"):
        with pytest.raises(OSError, match="connection reset"):
            list(read_records(Failing(data), name, len(data), ReadLimits(), SourceOptions()))
