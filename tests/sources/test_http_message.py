"""Captured HTTP responses: headers, chunks, content encodings, and all that is wrong with them in archives."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import DocumentError
from curation.sources import ReadLimits
from curation.sources.http_message import charset, decode_body, media_type, parse_http, undo_chunks
from tests.sources.archives import http, member, read, warc

TEXT = b"<html><body>" + b"Some text of a page. " * 40 + b"</body></html>"
MIB = 1 << 20


def chunked(body: bytes, sizes: list[int], extension: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    """The naive twin of the decoder: cut a body into chunks."""
    output, at = b"", 0
    for size in sizes:
        if piece := body[at : at + size]:
            output += b"%x" % len(piece) + extension + b"\r\n" + piece + b"\r\n"
        at += size
    if rest := body[at:]:
        output += b"%X\r\n" % len(rest) + rest + b"\r\n"
    return output + end


def raw_deflate(body: bytes) -> bytes:
    return zlib.compress(body, wbits=-15)


def fetched(block: bytes, limits: ReadLimits | None = None) -> tuple[bytes | None, str | None]:
    """Content and error class of a response with this block."""
    (record,) = read(warc("response", block), "a.warc", limits)
    return record.content, record.error_class


@given(st.binary(max_size=300), st.lists(st.integers(1, 60), max_size=8), st.sampled_from([b"", b";x=y", b" ; q"]))
def test_chunks_of_any_size(body: bytes, sizes: list[int], extension: bytes) -> None:
    assert undo_chunks(chunked(body, sizes, extension)) == body


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", b"hello"),
        (b"5\nhello\n0\n\n", b"hello"),
        (b"5\r\nhello\r\n5\r\nwor", b"hellowor"),  # cut off by the crawler
        (b"5\r\nhello\r\n", b"hello"),
        (b"5\r\nhello\r\nrubbish", b"hello"),
        (b"0\r\n\r\n", b""),
        (b"", b""),
        (b"<html>decoded already</html>", b"<html>decoded already</html>"),
        (b"added text\r\nlater", b"added text\r\nlater"),
        (b"5\r\nhello world, not chunked", b"5\r\nhello world, not chunked"),
    ],
)
def test_chunks_that_are_cut_off_or_none(raw: bytes, expected: bytes) -> None:
    assert undo_chunks(raw) == expected
    assert fetched(http(raw, "Transfer-Encoding: chunked")) == (expected, None)


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor(write_content_size=False).compress,
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_content_encodings(name: str, in_chunks: bool) -> None:
    body = ENCODERS[name](TEXT)
    headers = [f"Content-Encoding: {name}", "Content-Type: text/html"]
    if in_chunks:
        body, headers = chunked(body, [7, 100, 1]), [*headers, "Transfer-Encoding: chunked"]
    assert fetched(http(body, *headers)) == (TEXT, None)


@pytest.mark.parametrize("name", ENCODERS)
def test_header_kept_over_a_decoded_body(name: str) -> None:
    assert fetched(http(TEXT, f"Content-Encoding: {name}")) == (TEXT, None)
    assert fetched(http(b"", f"Content-Encoding: {name}")) == (b"", None)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoded_body_that_is_cut_off(name: str) -> None:
    text = random.Random(7).randbytes(250_000).hex().encode()
    encoded = ENCODERS[name](text)
    content, error = fetched(http(encoded[: len(encoded) - len(encoded) // 4], f"Content-Encoding: {name}"))
    assert error is None and content is not None
    assert content.startswith(text[:1000]) and text.startswith(content)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoded_bomb(name: str) -> None:
    encoded = ENCODERS[name](bytes(20 * MIB))
    limits = ReadLimits(max_record_bytes=MIB)
    assert fetched(http(encoded, f"Content-Encoding: {name}"), limits) == (None, "record-too-large")
    with pytest.raises(DocumentError, match="1048576"):
        decode_body(encoded, (name,), MIB)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_encoded_body_that_fails_at_once_is_empty(name: str) -> None:
    assert fetched(http(ENCODERS[name](TEXT)[:6], f"Content-Encoding: {name}")) == (b"", None)


def test_more_encodings() -> None:
    assert decode_body(raw_deflate(TEXT), ("deflate",), MIB) == TEXT
    assert decode_body(gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]), ("gzip",), MIB) == TEXT
    assert decode_body(gzip.compress(TEXT) + b"trailing", ("gzip",), MIB) == TEXT
    twice = gzip.compress(zlib.compress(TEXT))
    assert fetched(http(twice, "Content-Encoding: deflate, gzip")) == (TEXT, None)
    assert fetched(http(chunked(gzip.compress(TEXT), [9]), "Transfer-Encoding: gzip, chunked")) == (TEXT, None)
    assert fetched(http(TEXT, "Content-Encoding: UTF-8")) == (TEXT, None)
    assert fetched(http(TEXT, "Content-Encoding: identity")) == (TEXT, None)
    assert decode_body(gzip.compress(TEXT), ("gzip",), len(TEXT)) == TEXT
    with pytest.raises(DocumentError):
        decode_body(gzip.compress(TEXT), ("gzip",), len(TEXT) - 1)


@pytest.mark.parametrize(
    ("header", "status", "media", "declared"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; Charset="GB2312"\r\n\r\n', 200, "text/html", "GB2312"),
        (b"HTTP/1.0 404\r\ncontent-type:text/plain;charset='koi8-r'\r\n\r\n", 404, "text/plain", "koi8-r"),
        (b"HTTP/2 301 Moved\nContent-Type: text/html\n\n", 301, "text/html", None),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html;\r\n charset=utf-8\r\n\r\n", 200, "text/html", "utf-8"),
        (b"http/1.1 200 \xe9t\xe9\r\nX: 1\r\n\r\n", 200, None, None),
        (b"HTTP/1.1 2000 OK\r\nContent-Type:\r\n\r\n", None, None, None),
        (b"HTTP/1.1\r\n\r\n", None, None, None),
    ],
)
def test_header(header: bytes, status: int | None, media: str | None, declared: str | None) -> None:
    parsed = parse_http(header + b"body\r\n\r\nmore", 1000)
    assert parsed.status == status and header[parsed.body :] == b""
    assert media_type(parsed.content_type) == media and charset(parsed.content_type) == declared


def test_blocks_without_a_header() -> None:
    assert parse_http(b"<html>\r\n\r\n</html>", 1000).body == 0
    assert parse_http(b"HTTP/1.1 200 OK\r\nnever ends", 1000).body == 27
    assert fetched(b"<html></html>") == (b"<html></html>", None)


# In the format of compress(1): gzip -dc makes of it six lines ``<html><body>grist mill stone</body></html>``.
UNDECODED = {
    "compress": bytes.fromhex(
        "1f9d903cd0d069c3c6070f316fc8e4f171464e9a397440b449c3860d08886fdc94e1f102a142832f0412f4a120e0c082"
        "07132e6cf830e2c48a17e964dcd851254891054be234e871a5438812295ac4a89163cf9b27499a1c99f2234ba02f87ca"
        "2c5af323c79d3a9336f5d932284ca2348f5e4d9a95e9d1a72e85c69c69d4e6d8910a00"
    ),
    "foo": random.Random(3).randbytes(4000),
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "x-a, X-B": random.Random(4).randbytes(4000),
}


@pytest.mark.parametrize("name", UNDECODED)
@pytest.mark.parametrize("header", ["Content-Type: text/html", "Content-Type: application/xhtml+xml", "X: untyped"])
def test_body_in_an_encoding_that_nobody_knows(name: str, header: str) -> None:
    (record,) = read(warc("response", http(UNDECODED[name], f"Content-Encoding: {name}", header)), "a.warc")
    assert (record.content, record.error_class) == (None, "unsupported-encoding")
    assert name.lower() in (record.error_detail or "") and record.http_status == 200


def test_names_of_encodings_that_change_nothing() -> None:
    # Text is text, whatever stands over it; and an image is left to the rule on media types.
    plain = {"foo": TEXT, "compress": TEXT, "none": "多语言\n文本".encode("gb18030"), "utf-16": "页".encode("utf-16")}
    for name, body in plain.items():
        assert fetched(http(body, f"Content-Encoding: {name}", "Content-Type: text/html")) == (body, None)
    assert fetched(http("日本".encode("iso2022_jp"), "Content-Encoding: foo")) == ("日本".encode("iso2022_jp"), None)
    assert fetched(http(b"", "Content-Encoding: foo")) == (b"", None)
    noise = UNDECODED["foo"]
    for type_ in ("image/png", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"):
        assert fetched(http(noise, "Content-Encoding: foo", f"Content-Type: {type_}")) == (noise, None)
    assert fetched(http(noise, "Content-Encoding: identity", "Content-Type: text/html")) == (noise, None)
    # The encodings that are known are undone whether or not another name stands beside them.
    for names in ("foo, gzip", "gzip, foo"):
        assert fetched(http(gzip.compress(TEXT), f"Content-Encoding: {names}")) == (TEXT, None)
    assert fetched(http(gzip.compress(noise), "Content-Encoding: foo, gzip")) == (None, "unsupported-encoding")


def test_gzip_inside_gzip_members() -> None:
    block = http(gzip.compress(TEXT), "Content-Encoding: gzip", "Content-Type: text/html")
    (record,) = read(member(warc("response", block)), "a.warc.gz")
    assert record.content == TEXT
