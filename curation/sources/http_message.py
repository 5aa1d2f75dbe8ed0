"""What a captured HTTP response says, and its body with transfer and content encodings undone.

Captures are taken as they are found.  Many archives keep ``Content-Encoding`` or ``Transfer-Encoding`` over a
body that is decoded already, and crawlers cut long bodies off; so a body that does not even begin to decode is
taken as it is, and one that fails later counts as far as it goes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from curation.errors import DocumentError
from curation.sources.formats import GZIP_MAGIC, ZSTD_MAGIC

_BLANK = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\S*[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]{1,64})", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_WANTED = (b"content-type", b"content-encoding", b"transfer-encoding")


class Http(NamedTuple):
    """A response as far as its header goes.

    Attributes:
        status: None where the block does not begin with a status line.
        body: offset of the body in the block.
        content_type: value of the Content-Type header, None where there is none.
        codings: encodings that can be undone, in the order in which they have to be, lower case.
        unknown: the other encodings that are named, lower case.
    """

    status: int | None
    body: int
    content_type: str | None = None
    codings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def parse_http(block: bytes, max_header_bytes: int) -> Http:
    """Read the header of a response.

    Args:
        block: the record's block; one that does not begin with ``HTTP/`` is all body.
        max_header_bytes: where a header without end is cut.
    """
    if block[:5].upper() != b"HTTP/":
        return Http(None, 0)
    blank = _BLANK.search(block, 0, max_header_bytes)
    end, body = (blank.start(), blank.end()) if blank else (min(len(block), max_header_bytes),) * 2
    values: dict[bytes, list[bytes]] = {}
    last: list[bytes] | None = None
    for line in block[:end].split(b"\n")[1:]:
        if line[:1] in (b" ", b"\t"):
            if last:
                last[-1] += b" " + line.strip()
            continue
        name, _, value = line.partition(b":")
        name = name.strip().lower()
        last = values.setdefault(name, []) if name in _WANTED else None
        if last is not None:
            last.append(value.strip())
    status = _STATUS.match(block)
    # Codings are listed in the order in which they were applied.
    applied = [*values.get(b"content-encoding", []), *values.get(b"transfer-encoding", [])]
    names = [name.strip().lower() for name in b",".join(applied).decode("latin-1").split(",")]
    return Http(
        status=int(status[1]) if status else None,
        body=body,
        content_type=values[b"content-type"][0].decode("latin-1") or None if b"content-type" in values else None,
        codings=tuple(name for name in reversed(names) if name in _DECODERS),
        unknown=tuple(name for name in names if name not in _DECODERS and name not in ("", "identity")),
    )


def media_type(content_type: str | None) -> str | None:
    """Media type in lower case without parameters."""
    if content_type is None:
        return None
    return content_type.split(";", 1)[0].split(",", 1)[0].strip().lower()[:256] or None


def charset(content_type: str | None) -> str | None:
    """The charset parameter as it is declared."""
    found = _CHARSET.search(content_type) if content_type else None
    return found[1] if found else None


def looks_like_text(body: bytes) -> bool:
    """Whether the beginning of a body has no byte that text in any encoding lacks, or is marked as UTF-16.

    Every tenth byte of compressed data is such a control character.
    """
    beginning = body[:_BEGINNING]
    return beginning.startswith(_UTF16_MARKS) or beginning.translate(None, _CONTROLS) == beginning


def decode_body(body: bytes, codings: tuple[str, ...], limit: int) -> bytes:
    """Undo the encodings of a body.

    Args:
        body: as captured.
        codings: of ``Http``.
        limit: most bytes that may come out.

    Raises:
        DocumentError: ``record-too-large`` beyond the limit; ``unsupported-encoding`` for Brotli where no
            Brotli library is installed.
    """
    for coding in codings:
        body = _DECODERS[coding](body, limit)
    return body


def undo_chunks(body: bytes, limit: int = 0) -> bytes:
    """Undo ``Transfer-Encoding: chunked`` (RFC 9112, section 7.1); chunks never grow, so there is no limit."""
    view = memoryview(body)
    chunks: list[memoryview] = []
    at = 0
    while (size := _CHUNK_SIZE.match(body, at)) is not None:
        length = int(size[1], 16)
        if length == 0:
            break
        begin = size.end()
        end = begin + length
        if not chunks and end < len(body) and body[end : end + 1] not in (b"\r", b"\n"):
            return body  # a text that happens to begin with a hexadecimal number
        chunks.append(view[begin:end])
        at = end + (2 if body[end : end + 2] == b"\r\n" else 1)
    return b"".join(chunks) if chunks or size else body


class _BrokenError(Exception):
    """An encoded body is damaged or cut short."""


def _collect(pieces: Iterator[bytes], limit: int) -> tuple[bytes, bool]:
    """Everything up to the end or to damage, and whether there was none."""
    output: list[bytes] = []
    length = 0
    try:
        for piece in pieces:
            output.append(piece)
            length += len(piece)
            if length > limit:
                raise DocumentError("record-too-large", f"the body decodes to more than {limit} bytes")
    except _BrokenError:
        return b"".join(output), False
    return b"".join(output), True


def _inflate(body: bytes, wbits: int) -> Iterator[bytes]:
    """Pieces of a zlib, gzip (one member or several) or bare deflate stream."""
    inflater = zlib.decompressobj(wbits)
    try:
        # Little is fed at once: an error takes the output of its call with it.
        for begin in range(0, len(body), _FEED):
            fed = body[begin : begin + _FEED]
            while fed:
                yield inflater.decompress(fed, _MOST)
                fed = inflater.unconsumed_tail
                if inflater.eof:
                    fed = inflater.unused_data
                    if wbits <= zlib.MAX_WBITS or not fed.startswith(b"\x1f"):
                        return
                    inflater = zlib.decompressobj(wbits)
    except zlib.error as error:
        raise _BrokenError from error
    if not inflater.eof:
        raise _BrokenError


def _undo_gzip(body: bytes, limit: int) -> bytes:
    if not body.startswith(GZIP_MAGIC):
        return body  # decoded already
    return _collect(_inflate(body, 16 + zlib.MAX_WBITS), limit)[0]


def _undo_deflate(body: bytes, limit: int) -> bytes:
    """``deflate`` is a zlib stream (RFC 9110), but bare deflate streams are as common."""
    output, whole = _collect(_inflate(body, zlib.MAX_WBITS), limit)
    if output or whole:
        return output
    output, whole = _collect(_inflate(body, -zlib.MAX_WBITS), limit)
    return output if whole else body


def _undo_brotli(body: bytes, limit: int) -> bytes:
    try:
        import brotli
    except ImportError:
        raise DocumentError("unsupported-encoding", "Content-Encoding br needs the package brotli") from None

    def pieces() -> Iterator[bytes]:
        inflater = brotli.Decompressor()
        try:
            for begin in range(0, len(body), _FEED):
                yield inflater.process(body[begin : begin + _FEED], output_buffer_limit=_MOST)
                while not (inflater.is_finished() or inflater.can_accept_more_data()):
                    yield inflater.process(b"", output_buffer_limit=_MOST)
                if inflater.is_finished():
                    return
        except brotli.error as error:
            raise _BrokenError from error
        raise _BrokenError

    output, whole = _collect(pieces(), limit)
    return output if output or whole else body


def _undo_zstd(body: bytes, limit: int) -> bytes:
    if not body.startswith(ZSTD_MAGIC):
        return body  # decoded already
    import zstandard

    def pieces() -> Iterator[bytes]:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        try:
            with decompressor.stream_reader(body, read_across_frames=True) as reader:
                while piece := reader.read(_FEED):
                    yield piece
        except zstandard.ZstdError as error:
            raise _BrokenError from error

    return _collect(pieces(), limit)[0]


_BEGINNING = 1 << 10
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\x1b"))  # ISO-2022 encodings have escapes
_FEED = 64 << 10  # encoded bytes at once
_MOST = 1 << 20  # decoded bytes at once
_ZSTD_WINDOW = 8 << 20  # RFC 9659: the largest window that HTTP allows
_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "chunked": undo_chunks,
    "gzip": _undo_gzip,
    "x-gzip": _undo_gzip,
    "deflate": _undo_deflate,
    "br": _undo_brotli,
    "zstd": _undo_zstd,
}
