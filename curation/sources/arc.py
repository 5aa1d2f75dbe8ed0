"""Heads of ARC records (Internet Archive ARC 1.0 of 1996, and its version 2).

A head is one line, ``URL IP-address date content-type length``; version 2 puts five more fields before the
length.  Addresses with spaces occur, so the line is read from the date outwards.  A line end follows each
block.  The file begins with a version block (``filedesc://``), whose length is often wrong.
"""

from __future__ import annotations

import re

from curation.sources.head import Dialect, Header, Unreadable, decode, line_starts
from curation.sources.window import Window

_URL_CHARACTERS = 8192
_HEAD = re.compile(
    rb"([A-Za-z][A-Za-z0-9+.\-]{0,31}:[^\r\n]{0,%d}?)"  # address
    rb"[ \t](\S{1,64})[ \t](\d{8,14})[ \t]"  # IP address, date
    rb"(?:([^\r\n]{0,4096}?)[ \t])?(\d{1,15})[ \t]*\r?\n" % _URL_CHARACTERS  # type and more, length
)
# A head whose numbers are damaged can still be told from text.
_SIMILAR = re.compile(rb"\r?\n(?:[A-Za-z][A-Za-z0-9+.\-]{0,31}:|[^\r\n]{0,512}[ \t]\d{1,3}(?:\.\d{1,3}){3}[ \t])")

# Where a line begins as an address does: few of the lines of any text, and none of a run of line ends.
_ADDRESS = re.compile(rb"\n(?=[A-Za-z][A-Za-z0-9+.\-]{0,31}:)")
_ADDRESS_SPAN = 34


class Arc(Dialect):
    """A head line, the block, a line end."""

    name = "arc"
    separator = b"\n"
    span = _URL_CHARACTERS + 4300
    opening = _URL_CHARACTERS

    def head(self, window: Window, begin: int, limit: int) -> tuple[Header, int] | Unreadable:
        window.reach(begin + self.span)
        found = _HEAD.match(window.data, begin - window.start)
        if found is None:
            at_end = window.exhausted and b"\n" not in window.get(begin, window.end)
            return Unreadable("no ARC header", cut=at_end)
        url, _, date, more, length = found.groups()
        content_type = bytes(more or b"").split(b" ")[0].rstrip(b";")
        header = Header(
            kind="warcinfo" if url.lower().startswith(b"filedesc:") else "",
            length=int(length),
            url=decode(bytes(url)),
            date=decode(bytes(date)),
            content_type=decode(content_type) or None,
            loose=url.lower().startswith(b"filedesc:"),
        )
        return header, window.start + found.end()

    def plausible(self, window: Window, begin: int) -> bool:
        window.reach(begin + self.span)
        return _HEAD.match(window.data, begin - window.start) is not None

    def separated(self, window: Window, end: int) -> bool:
        window.reach(end + self.span)
        return _SIMILAR.match(window.data, end - window.start) is not None

    def find(self, window: Window, begin: int) -> int | None:
        if window.reach(begin + 1) and line_starts(window, begin) and self.plausible(window, begin):
            return begin
        while (found := window.find(_ADDRESS, _ADDRESS_SPAN, begin)) is not None:
            begin = found + 1
            if self.plausible(window, begin):
                return begin
        return None

    def opens(self, prefix: bytes) -> bool:
        return _HEAD.match(prefix) is not None
