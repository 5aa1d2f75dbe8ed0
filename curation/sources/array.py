"""A JSON file that is one array of objects, plain or compressed: one record an element.

Offset and length are those of the element with what separates it from the next; the opening bracket belongs to the
first record, the closing one to the last.  In a compressed file they are bytes of the decompressed text, as in JSON
Lines.

A damaged element costs itself: reading goes on at the next place that looks like the beginning of an element, that is,
an object after a comma whose first key is that of the last good element.  Objects inside of elements begin with other
keys, nearly always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from curation.record import Record
from curation.sources.lines import read_object
from curation.sources.options import ReadLimits, SourceOptions
from curation.sources.rows import failed
from curation.sources.unpack import Damage, Unpacked
from curation.sources.window import CHUNK, Window

_STRUCTURE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_BETWEEN = re.compile(rb"[\s,]*")
_SPACE = re.compile(rb"\s*")
_PLAIN_END = re.compile(rb"[,\]]")
_BOM = b"\xef\xbb\xbf"
_HEAD = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[")
_ANY_KEY = rb'"(?:[^"\\]|\\.)*"'


def begins_as_array(window: Window) -> bool:
    """Whether the text begins with an opening bracket; looks at some bytes and takes none."""
    while True:
        head = window.get(0, window.end).removeprefix(_BOM).lstrip()
        if head or not window.grow():
            return head.startswith(b"[")


def read_array(window: Window, limits: ReadLimits, options: SourceOptions) -> Iterator[Record]:
    """Records of a JSON array.

    Args:
        window: the text, from its beginning; it begins as an array.

    Yields:
        Records as ``read_lines`` has them, with the same error classes; ``line-too-long`` is an element that is
        longer than ``max_line_bytes``, ``truncated`` one in whose middle the file ends.
    """
    reader = _Array(window, limits.max_line_bytes, options)
    yield from reader.records()


class _Array:
    """Goes through the elements.

    Args:
        window: the text.
        limit: bytes of an element.
    """

    def __init__(self, window: Window, limit: int, options: SourceOptions) -> None:
        self.window, self.limit, self.options = window, limit, options
        self.begin = 0  # of the next record
        self.at = 0  # where to look on
        self.first_key = _ANY_KEY

    def records(self) -> Iterator[Record]:
        """All of them; they tile the text."""
        head = _HEAD.match(self.window.data)
        self.at = head.end() if head else 0
        pending: Record | None = None
        while True:
            start = self._skip(_BETWEEN, self.at)
            if start is None:
                yield from self._cut(pending)
                if not self._go_on():
                    return
                pending = None
            elif self._peek(start) == b"]":
                yield from self._closed(pending, start)
                return
            else:
                if pending is not None:
                    yield self._up_to(pending, start)
                pending = self._element(start)

    def _up_to(self, record: Record, end: int) -> Record:
        """The record with everything before a place; the next one begins there."""
        record.length, self.begin = end - record.offset, end
        return record

    def _closed(self, pending: Record | None, closing: int) -> Iterator[Record]:
        """The end of the array, and whatever stands behind it."""
        if pending is None:
            pending = failed(Record(self.begin, 0, kind="damaged"), "empty-file", "the array holds nothing")
        behind = self._skip(_SPACE, closing + 1)
        end = self._end()
        yield self._up_to(pending, end if behind is None else behind)
        if behind is not None:
            rest = Record(behind, end - behind, kind="damaged")
            yield failed(rest, "malformed-json", "something stands behind the array")

    def _cut(self, pending: Record | None) -> Iterator[Record]:
        """The text ends within the array: the file does, or its packing is damaged here."""
        end = self.window.end
        if pending is not None:
            yield self._up_to(pending, end)
        damage = self._damage()
        rest = Record(self.begin, end - self.begin, kind="damaged")
        if damage is not None:
            assert isinstance(self.window, Unpacked)
            yield failed(self._up_to(rest, end + self.window.resume()), *damage)
        elif pending is None or pending.kind != "damaged":  # else it has taken the end with it
            yield failed(self._up_to(rest, end), "truncated", "the file ends before the array does")

    def _go_on(self) -> bool:
        """Whether there is text behind a damage; goes to the next element in it."""
        if not self.window.grow() and self.window.end <= self.begin:
            return False
        found = self._search(self._boundary(), max(self.begin, self.window.start))
        self.at = self._end() if found is None else found
        return True

    def _damage(self) -> Damage | None:
        """Why the text ends here, where it is not the end of the file."""
        return self.window.damage if isinstance(self.window, Unpacked) else None

    def _element(self, start: int) -> Record:
        """The element that begins at a place; ``at`` is behind it then."""
        end = self._object_end(start) if self._peek(start) == b"{" else self._plain_end(start)
        record = Record(self.begin, 0)
        if end is not None and end - start <= self.limit:
            data = self.window.get(start, end)
            read_object(record, data, self.options, "element")
            if record.kind != "damaged":
                self._remember_key(data)
                self.at = end
                if self._ends_well(end):
                    return record
                failed(record, "malformed-json", "no comma stands behind the element")
                record.kind, record.text, record.content = "damaged", None, None
        elif end is not None or self.window.end - start > self.limit:
            record.kind = "damaged"
            failed(record, "line-too-long", f"an element of more than {self.limit} bytes")
        else:
            record.kind = "damaged"
            failed(record, *(self._damage() or ("truncated", "the file ends in the middle of an element")))
        self._resume(start, record)
        return record

    def _resume(self, start: int, record: Record) -> None:
        """Behind a damaged element: the next place where one seems to begin, or the end."""
        found = self._search(self._boundary(), start + 1)
        self.at = self._end() if found is None else found
        if found is not None and record.error_class == "truncated":  # the file goes on, so it did not end there
            failed(record, "malformed-json", "a brace or a quote is missing")

    def _boundary(self) -> re.Pattern[bytes]:
        """Where an element ends and another begins, as far as that can be told by its first key."""
        return re.compile(rb"\}\s*,\s*(?=\{\s*" + self.first_key + rb"\s*:)")

    def _remember_key(self, data: bytes) -> None:
        found = re.match(rb"\{\s*(" + _ANY_KEY + rb")\s*:", data)
        if found:
            self.first_key = re.escape(found[1])

    def _ends_well(self, end: int) -> bool:
        following = self._skip(_SPACE, end)
        return following is None or self._peek(following) in (b",", b"]")

    # scanning

    def _object_end(self, start: int) -> int | None:
        """Behind the brace that closes the one at ``start``; None where there is none within the limit."""
        depth, at = 0, start
        while True:
            found = self._next(_STRUCTURE, at, start)
            if found is None:
                return None
            byte, at = self._peek(found), found + 1
            if byte == b'"':
                string_end = self._string_end(at, start)
                if string_end is None:
                    return None
                at = string_end
            elif byte in b"{[":
                depth += 1
            else:
                depth -= 1
                if depth == 0:
                    return at

    def _string_end(self, at: int, start: int) -> int | None:
        while True:
            found = self._next(_IN_STRING, at, start)
            if found is None:
                return None
            if self._peek(found) == b'"':
                return found + 1
            at = found + 2

    def _plain_end(self, start: int) -> int | None:
        """Behind a value that is no object."""
        if self._peek(start) == b'"':
            return self._string_end(start + 1, start)
        if self._peek(start) == b"[":
            return self._object_end(start)
        return self._next(_PLAIN_END, start, start)

    def _next(self, pattern: re.Pattern[bytes], at: int, start: int) -> int | None:
        """Where a byte of a kind is, at ``at`` or behind it; None beyond the limit or at the end."""
        while True:
            found = pattern.search(self.window.data, at - self.window.start)
            if found:
                return self.window.start + found.start()
            at = max(at, self.window.end)
            if self.window.end - start > self.limit or not self.window.grow():
                return None

    def _skip(self, pattern: re.Pattern[bytes], at: int) -> int | None:
        """Behind all bytes of a kind; None at the end.  Lets go of what was read."""
        while True:
            if self.begin - self.window.start > CHUNK:
                self.window.discard(self.begin)
            found = pattern.match(self.window.data, at - self.window.start)
            behind = at if found is None else self.window.start + found.end()
            if behind < self.window.end:
                return behind
            at = behind
            if not self.window.grow():
                return None

    def _search(self, pattern: re.Pattern[bytes], at: int) -> int | None:
        """Behind what matches, looked for in pieces; what lies before is let go."""
        while True:
            found = pattern.search(self.window.data, at - self.window.start)
            if found:
                return self.window.start + found.end()
            at = max(at, self.window.end - CHUNK // 4)
            self.window.discard(at)
            if not self.window.grow():
                return None

    def _peek(self, at: int) -> bytes:
        return self.window.get(at, at + 1)

    def _end(self) -> int:
        while self.window.grow():
            self.window.discard(self.window.end - CHUNK // 4)
        return self.window.end
