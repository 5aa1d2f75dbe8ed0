"""Heads of WARC records (ISO 28500:2017, WARC/1.1, and the drafts back to 0.17).

Read tolerantly, since archives of twenty years are: any version, bare line feeds, any case, folded lines, bytes
that are no UTF-8, lines without a colon.  Only what a record cannot do without is insisted on: its type and
its length.
"""

from __future__ import annotations

import re

from curation.sources.head import Dialect, Header, Unreadable, decode, line_starts
from curation.sources.window import Window

# Written out in both cases, which the search engine of ``re`` handles faster than a flag.
_VERSION = re.compile(rb"[Ww][Aa][Rr][Cc]/")
_PLAUSIBLE = re.compile(rb"[Ww][Aa][Rr][Cc]/\d[^\r\n]{0,15}\r?\n[A-Za-z][A-Za-z0-9_-]{0,63}[ \t]*:")
_LENGTH = re.compile(rb"\d{1,15}")
_KIND_CHARACTERS = 64


class Warc(Dialect):
    """``WARC/1.0``, header lines, an empty line, the block, two line ends."""

    name = "warc"
    separator = b"\r\n\r\n"
    span = 128
    opening = 16

    def head(self, window: Window, begin: int, limit: int) -> tuple[Header, int] | Unreadable:
        window.reach(begin + self.span)
        at = begin - window.start
        if _VERSION.match(window.data, at) is None:
            there = window.get(begin, begin + 5)
            return Unreadable("no WARC header", cut=0 < len(there) < 5 and b"WARC/".startswith(there.upper()))
        blank = _find_blank(window, begin, limit)
        if blank is None:
            if window.exhausted and window.end - begin <= limit:
                return Unreadable("header without end", cut=True)
            return Unreadable(f"header longer than {limit} bytes")
        header = _parse(window.get(begin, blank[0]))
        return header if isinstance(header, Unreadable) else (header, blank[1])

    def plausible(self, window: Window, begin: int) -> bool:
        window.reach(begin + self.span)
        return _PLAUSIBLE.match(window.data, begin - window.start) is not None

    def separated(self, window: Window, end: int) -> bool:
        return window.get(end, end + 4) == self.separator

    def find(self, window: Window, begin: int) -> int | None:
        while (found := window.find(_PLAUSIBLE, self.span, begin)) is not None:
            if line_starts(window, found):
                return found
            begin = found + 1
        return None

    def opens(self, prefix: bytes) -> bool:
        return _VERSION.match(prefix.lstrip(b"\r\n")) is not None


def _find_blank(window: Window, begin: int, limit: int) -> tuple[int, int] | None:
    """Where the empty line after a head begins and where the block after it does."""
    scanned = begin
    while True:
        data, at, stop = window.data, scanned - window.start, begin + limit - window.start
        found = data.find(b"\n\r\n", at, stop)
        bare = data.find(b"\n\n", at, stop if found < 0 else found)
        if bare >= 0:
            return window.start + bare, window.start + bare + 2
        if found >= 0:
            return window.start + found, window.start + found + 3
        scanned = max(begin, window.end - 2)
        if window.end - begin > limit or not window.grow():
            return None


def _parse(head: bytes) -> Header | Unreadable:
    fields: dict[bytes, bytes] = {}
    last = b""
    for line in head.split(b"\n")[1:]:
        if line[:1] in (b" ", b"\t"):  # a folded line goes on with the one before
            fields[last] = (fields.get(last, b"") + b" " + line.strip()).strip()
            continue
        name, colon, value = line.partition(b":")
        if colon:
            last = name.strip().lower()
            # The first of several wins: a head that lost its empty line runs on into HTTP headers.
            fields.setdefault(last, value.strip())
    length = fields.get(b"content-length", b"")
    if not _LENGTH.fullmatch(length):
        return Unreadable(f"Content-Length is {decode(length[:32])!r}" if length else "no Content-Length")
    kind = fields.get(b"warc-type", b"")
    if not kind:
        return Unreadable("no WARC-Type")

    def text(name: bytes) -> str | None:
        value = fields.get(name)
        return decode(value) if value else None

    record_id, url = text(b"warc-record-id"), text(b"warc-target-uri")
    return Header(
        kind=decode(kind[:_KIND_CHARACTERS]).lower(),
        length=int(length),
        record_id=_unbracketed(record_id),
        url=_unbracketed(url),
        date=text(b"warc-date"),
        content_type=text(b"content-type"),
        block_digest=text(b"warc-block-digest"),
    )


def _unbracketed(value: str | None) -> str | None:
    """Without angle brackets, which WARC 1.0's grammar put around target URIs too."""
    if value and value[0] == "<" and value[-1] == ">":
        return value[1:-1] or None
    return value
