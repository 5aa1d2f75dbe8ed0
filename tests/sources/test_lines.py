"""JSON Lines, plain and compressed, with bad lines and damaged streams."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.record import Record
from curation.sources import ReadLimits, SourceOptions
from tests.sources.archives import Pipe, member, offsets, read

ROWS = [
    {"text": f"Document {number}: " + random.Random(number).randbytes(150).hex(), "id": number} for number in range(40)
]
LINES = [json.dumps(row).encode() + b"\n" for row in ROWS]
PLAIN = b"".join(LINES)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS = {"a.jsonl": bytes, "a.ndjson.gz": member, "a.jsonl.zst": zstd}


def lines(data: bytes, name: str = "a.jsonl", **options: Any) -> list[Record]:
    """Records whose ranges tile what is decompressed, however long that is."""
    limits = options.pop("limits", None)
    plain = name.endswith(("jsonl", "ndjson", "json"))
    records = read(data, name, limits, SourceOptions(**options), tiled=plain)
    ends = [record.offset + record.length for record in records]
    assert [record.offset for record in records] == [0, *ends[:-1]]
    return records


def texts(records: list[Record]) -> list[str | None]:
    return [record.text for record in records if record.error_class is None]


def errors(records: list[Record]) -> list[str]:
    return [record.error_class for record in records if record.error_class]


@pytest.mark.parametrize("name", PACKERS)
def test_rows(name: str) -> None:
    records = lines(PACKERS[name](PLAIN), name)
    assert [(r.text, r.record_id, r.offset, r.length, r.kind) for r in records] == [
        (row["text"], str(row["id"]), begin, len(line), "document")
        for row, begin, line in zip(ROWS, offsets(LINES), LINES, strict=True)
    ]
    assert texts(lines(PACKERS[name](PLAIN[:-1]), name)) == [row["text"] for row in ROWS]


def test_fields() -> None:
    row = {
        "body": "text",
        "html": "<p>höher",
        "id": "ignored",
        "key": "k-1",
        "link": "https://example.org/",
        "fetched": "2024-05-18T03:58:10+02:00",
    }
    data = json.dumps(row).encode()
    chosen = {"id_field": "key", "url_field": "link", "date_field": "fetched"}
    (record,) = lines(data, text_field="body", **chosen)
    assert (record.record_id, record.url, record.crawl_date) == ("k-1", "https://example.org/", "2024-05-18T01:58:10Z")
    assert (record.text, record.content) == ("text", None)
    (record,) = lines(data, html_field="html", **chosen)
    assert (record.text, record.content) == (None, "<p>höher".encode())
    assert (record.content_type, record.charset) == ("text/html", "utf-8")
    (record,) = lines(b'{"text": "a", "id": true, "url": 7, "date": 12}')
    assert (record.record_id, record.url, record.crawl_date) == (None, None, None)
    (record,) = lines(b'{"text": "a", "url": "u", "date": "2024-05-18"}')
    assert (record.url, record.crawl_date) == ("u", "2024-05-18T00:00:00Z")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"text": "a"', "malformed-json"),
        (b"not json", "malformed-json"),
        (b'{"text": "a"} x', "malformed-json"),
        (b'{"text": "a\x01b"}', "malformed-json"),
        (b"[" * 100_000, "malformed-json"),
        (b'{"text": ' * 50_000 + b"1" + b"}" * 50_000, "malformed-json"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "malformed-json"),
        (b"[1, 2]", "not-an-object"),
        (b'"text"', "not-an-object"),
        (b"null", "not-an-object"),
        (b'{"content": "a"}', "missing-text"),
        (b'{"text": null}', "missing-text"),
        (b'{"text": 5}', "text-not-a-string"),
        (b'{"text": ["a"]}', "text-not-a-string"),
        (b'{"text": "\xff"}', "invalid-utf8"),
        (b'{"text": "\xed\xa0\x80"}', "invalid-utf8"),
        (b'{"text": "' + b"x" * 2000 + b'"}', "line-too-long"),
        (b"x" * 3_000_000, "line-too-long"),
    ],
)
def test_bad_line_costs_one_line(line: bytes, error: str) -> None:
    limit = 2000 if error == "line-too-long" else 1 << 20
    for name, pack in PACKERS.items():
        records = lines(pack(LINES[0] + line + b"\n" + LINES[1]), name, limits=ReadLimits(max_line_bytes=limit))
        assert [record.error_class for record in records] == [None, error, None]
        assert (records[1].offset, records[1].length) == (len(LINES[0]), len(line) + 1)
        assert texts(records) == [ROWS[0]["text"], ROWS[1]["text"]]


def test_longest_line_is_read() -> None:
    assert texts(lines(LINES[0], limits=ReadLimits(max_line_bytes=len(LINES[0])))) == [ROWS[0]["text"]]
    assert errors(lines(LINES[0], limits=ReadLimits(max_line_bytes=len(LINES[0]) - 1))) == ["line-too-long"]


def test_blank_lines_belong_to_the_record_before_or_the_first() -> None:
    data = b"\n \r\n" + LINES[0] + b"\n\n" + LINES[1] + b"\t\n"
    records = lines(data)
    assert [(record.offset, record.length) for record in records] == [
        (0, 4 + len(LINES[0]) + 2),
        (4 + len(LINES[0]) + 2, len(LINES[1]) + 2),
    ]
    (record,) = lines(b"\n\n \n")
    assert (record.error_class, record.length) == ("empty-file", 4)
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        assert errors(lines(gzip.compress(b"") if name.endswith("gz") else zstd(b""), name)) == ["empty-file"]


def test_line_ends_and_byte_order_mark() -> None:
    data = b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b\\u2028\\ud800"}\r\n'
    assert texts(lines(data)) == ["a", "b\u2028\ud800"]


@given(st.integers(1, len(PLAIN) - 1))
def test_plain_file_truncated_anywhere(size: int) -> None:
    records = lines(PLAIN[:size])
    ends = [begin + len(line) - 1 for begin, line in zip(offsets(LINES), LINES, strict=True)]
    whole = sum(1 for end in ends if end <= size)
    assert texts(records) == [row["text"] for row in ROWS[:whole]]
    assert errors(records) == ([] if size in ends or size - 1 in ends else ["truncated"])


@settings(deadline=None, max_examples=40)
@given(st.integers(20, len(member(PLAIN)) - 1))
def test_gzip_file_truncated_anywhere(size: int) -> None:
    records = lines(member(PLAIN)[:size], "a.jsonl.gz")
    assert errors(records) == ["truncated"]
    assert texts(records) == [row["text"] for row in ROWS[: len(records) - 1]]


def test_zstandard_file_truncated() -> None:
    frames = zstd(PLAIN[: len(PLAIN) // 2]) + zstd(PLAIN[len(PLAIN) // 2 :])
    for size in (len(frames) // 4, len(frames) - 30):
        records = lines(frames[:size], "a.jsonl.zst")
        assert errors(records) == ["truncated"] and "Zstandard frame" in (records[-1].error_detail or "")
        assert texts(records) == [row["text"] for row in ROWS[: len(records) - 1]]


def test_damage_in_one_gzip_member_of_several() -> None:
    quarters = [b"".join(LINES[at : at + 10]) for at in range(0, 40, 10)]
    members = [member(quarter) for quarter in quarters]
    members[1] = members[1][:700] + bytes(40) + members[1][740:]
    for seekable in (True, False):
        data = b"".join(members)
        records = read(data, "a.jsonl.gz", seekable=seekable, tiled=False)
        good = texts(records)
        assert good[:10] == [row["text"] for row in ROWS[:10]]
        assert good[-20:] == [row["text"] for row in ROWS[20:]]
        assert "gzip-damaged" in errors(records)
        assert len({record.offset for record in records}) == len(records)


def test_wrong_checksum_in_a_gzip_member_is_said_and_costs_no_more() -> None:
    members = [member(b"".join(LINES[at : at + 20])) for at in (0, 20)]
    members[0] = members[0][:-8] + b"\0\0\0\0" + members[0][-4:]
    records = lines(b"".join(members), "a.jsonl.gz")
    assert texts(records) == [row["text"] for row in ROWS]
    assert errors(records) == ["gzip-damaged"] and records[20].length > 0
    assert "may be altered" in (records[20].error_detail or "")


def test_damaged_zstandard_frame_ends_the_file() -> None:
    data = bytearray(zstd(PLAIN[: len(PLAIN) // 2]) + zstd(PLAIN[len(PLAIN) // 2 :]))
    data[len(data) * 3 // 4] ^= 0xFF
    records = lines(bytes(data), "a.jsonl.zst")
    assert errors(records) == ["zstd-damaged"] and records[-1].error_class == "zstd-damaged"
    assert len(texts(records)) >= 19


def test_junk_behind_the_last_gzip_member() -> None:
    records = lines(member(PLAIN) + bytes(1000), "a.jsonl.gz")
    assert texts(records) == [row["text"] for row in ROWS] and errors(records) == ["gzip-damaged"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_bomb_is_passed_over(name: str) -> None:
    huge = LINES[0] + b'{"text": "' + bytes(40 << 20) + b'"}\n' + LINES[1]
    records = lines(
        PACKERS["a.ndjson.gz" if name.endswith("gz") else name](huge), name, limits=ReadLimits(max_line_bytes=1 << 20)
    )
    assert [record.error_class for record in records] == [None, "line-too-long", None]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"]))
def test_any_bytes_are_tiled(data: bytes, name: str) -> None:
    lines(data, name)
    lines(b"\x1f\x8b\x08\0" + data, "a.jsonl.gz")


def test_stream_that_gives_little_at_a_time() -> None:
    from curation.sources import read_records

    stream = Pipe(member(PLAIN), most=7)
    records = list(read_records(stream, "a.jsonl.gz", 1, ReadLimits(), SourceOptions()))
    assert records == lines(member(PLAIN), "a.jsonl.gz")
