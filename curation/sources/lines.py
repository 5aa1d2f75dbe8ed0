"""JSON Lines, plain or compressed: one record a line.

Offset and length are those of the line, its end and the blank lines after it included (blank lines at the
head of the file belong to the first record).  In a plain file they are stored bytes.  In a compressed file
they are bytes of the decompressed text; where some of it could not be had, each stored byte that was passed
over counts as one byte of text, so that later offsets stay unique and the ranges still lie end to end.

A line that ends where the file does, without a line end and before its JSON does, is ``truncated``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from curation.record import Record
from curation.sources.options import ReadLimits, SourceOptions
from curation.sources.rows import failed, fill_document
from curation.sources.unpack import Damage, Gunzipped, Unpacked, Unzstandard
from curation.sources.window import CHUNK, Window

_LINE_END = re.compile(rb"\n")
_BOM = b"\xef\xbb\xbf"


class _Line(NamedTuple):
    """A line with its end.

    Attributes:
        data: None where there is none to be had, for the reason given.
        last: whether the text ends here.
    """

    begin: int
    end: int
    data: bytes | None
    damage: Damage | None = None
    last: bool = False


def text_of(file: Window, packed: str) -> Window:
    """The text of a file that may be compressed."""
    return Gunzipped(file) if packed == "gz" else Unzstandard(file) if packed == "zst" else file


def read_lines(window: Window, limits: ReadLimits, options: SourceOptions) -> Iterator[Record]:
    """Records of JSON Lines.

    Args:
        window: the text, from its beginning.

    Yields:
        Records with ``text`` (or ``content``, where ``html_field`` is asked for).  Errors: ``malformed-json``,
        ``not-an-object``, ``missing-text``, ``text-not-a-string``, ``invalid-utf8``, ``line-too-long``,
        ``gzip-damaged``, ``zstd-damaged``, ``truncated``, ``empty-file``.
    """
    pending: Record | None = None
    begin = 0  # of the next record: blank lines at the head belong to it
    for line in _lines(window, limits.max_line_bytes):
        if line.data is not None and not line.data.strip():
            if pending is not None:
                pending.length = line.end - pending.offset
                begin = line.end
            continue
        if pending is not None:
            yield pending
        pending = _record(line, begin, options)
        begin = line.end
    if pending is None:
        pending = Record(0, window.end, kind="damaged", error_class="empty-file", error_detail="no line holds anything")
    yield pending


def _lines(window: Window, limit: int) -> Iterator[_Line]:
    begin = scanned = window.start
    while True:
        found = window.data.find(b"\n", scanned - window.start)
        if found >= 0:
            end = window.start + found + 1
            yield _Line(begin, end, window.get(begin, end)) if end - begin <= limit else _too_long(begin, end, limit)
            begin = scanned = end
            if begin - window.start > CHUNK:
                window.discard(begin)
            continue
        window.discard(begin)
        scanned = window.end
        if scanned - begin > limit:
            found_end = window.find(_LINE_END, 1, scanned)
            scanned = window.end if found_end is None else found_end + 1
            yield _too_long(begin, scanned, limit)
            begin = scanned
        elif not window.grow():
            if not isinstance(window, Unpacked) or window.damage is None:
                if window.end > begin:
                    yield _Line(begin, window.end, window.get(begin, window.end), last=True)
                return
            damage, end = window.damage, window.end
            yield _Line(begin, end + window.resume(), None, damage)
            begin = scanned = window.start


def _too_long(begin: int, end: int, limit: int) -> _Line:
    return _Line(begin, end, None, Damage("line-too-long", f"{end - begin} bytes, limit {limit}"))


def _record(line: _Line, begin: int, options: SourceOptions) -> Record:
    record = Record(begin, line.end - begin)
    if line.data is None:
        assert line.damage is not None
        record.kind = "damaged"
        return failed(record, *line.damage)
    data = line.data.removeprefix(_BOM) if line.begin == 0 else line.data
    return read_object(record, data, options, "line", line.last and not data.endswith(b"}"))


def read_object(record: Record, data: bytes, options: SourceOptions, what: str, cut: bool = False) -> Record:
    """Fill a record from the bytes of a JSON object.

    Args:
        record: with its place; is changed and returned.
        what: the bytes are, for messages.
        cut: whether the file ends within them.
    """
    try:
        row = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        record.kind = "damaged"
        return failed(record, *_why_unreadable(error, what, cut))
    if not isinstance(row, dict):
        return failed(record, "not-an-object", f"the {what} holds a {type(row).__name__}")
    return fill_document(record, row, options)


def _why_unreadable(error: Exception, what: str, cut: bool) -> tuple[str, str]:
    """Error class and detail of what is no JSON."""
    if isinstance(error, UnicodeDecodeError) and not cut:
        return "invalid-utf8", f"byte {error.start} of the {what}"
    if cut:
        return "truncated", "the file ends in the middle of a line"
    if isinstance(error, json.JSONDecodeError):
        return "malformed-json", f"{error.msg} at character {error.pos}"
    return "malformed-json", "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
