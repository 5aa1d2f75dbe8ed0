"""Small archives, made byte by byte, and a way to read them."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence

from curation.record import Record
from curation.sources import ReadLimits, SourceOptions, check_tiling, read_records

HTML = "text/html; charset=utf-8"


class Pipe(io.RawIOBase):
    """A stream that can only be read onwards, and gives little at a time."""

    def __init__(self, data: bytes, most: int = 1 << 16) -> None:
        self._inner = io.BytesIO(data)
        self._most = most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(self._most if size < 0 else min(size, self._most))


def read(
    data: bytes,
    name: str,
    limits: ReadLimits | None = None,
    options: SourceOptions | None = None,
    seekable: bool = True,
    tiled: bool = True,
) -> list[Record]:
    """All records of some bytes; asserts that they tile them."""
    stream = io.BytesIO(data) if seekable else Pipe(data)
    records = list(read_records(stream, name, len(data), limits or ReadLimits(), options or SourceOptions()))
    if tiled:
        fault = check_tiling(((r.offset, r.length, r.inner_offset) for r in records), len(data))
        assert fault is None, fault
    return records


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A captured HTTP response."""
    lines = [f"HTTP/1.1 {status}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def warc(kind: str, block: bytes, *headers: str, length: int | None = None, number: int = 0) -> bytes:
    """One WARC record."""
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Record-ID: <urn:uuid:{number:08d}>",
        "WARC-Date: 2024-05-18T01:58:10Z",
        f"Content-Length: {len(block) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def page(number: int, body: bytes) -> bytes:
    """A WARC response record with an HTML body."""
    block = http(body, f"Content-Type: {HTML}")
    headers = (f"WARC-Target-URI: https://example.org/{number}", "Content-Type: application/http; msgtype=response")
    return warc("response", block, *headers, number=number)


def member(data: bytes, level: int = 6) -> bytes:
    """One gzip member with a fixed header of ten bytes."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    trailer = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + body + trailer


def arc(url: str, block: bytes, content_type: str = "text/html", length: int | None = None) -> bytes:
    """One ARC 1.0 record."""
    size = len(block) if length is None else length
    return f"{url} 192.0.2.1 20080430204825 {content_type} {size}\n".encode() + block + b"\n"


def arc_head(name: str = "test.arc", length: int | None = None) -> bytes:
    """The version block of an ARC file."""
    block = b"1 0 Somebody\nURL IP-address Archive-date Content-type Archive-length\n"
    return arc(f"filedesc://{name}", block, "text/plain", length)


def offsets(parts: Sequence[bytes]) -> list[int]:
    """Where each part begins when they are put end to end."""
    begins, position = [], 0
    for part in parts:
        begins.append(position)
        position += len(part)
    return begins


def gunzip(data: bytes) -> bytes:
    """With the standard library, as an oracle."""
    return gzip.decompress(data)
