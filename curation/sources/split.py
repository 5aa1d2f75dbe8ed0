"""Cuts a sequence of archive records into records, and goes on after damage.

A record is believed when what follows it fits: the end of the sequence, a further head, or the separator
that the format prescribes.  Where that fails, everything up to the next place that looks like a head is one
malformed stretch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from curation.sources.head import Dialect, Header, Unreadable
from curation.sources.options import ReadLimits
from curation.sources.window import Window

_LINE_ENDS = re.compile(rb"[\r\n]*")
_MAX_LINE_ENDS = 1024  # real writers leave up to a handful; more is no separator

TOO_LARGE = "record-too-large"
TRUNCATED = "truncated"
MALFORMED = "malformed"


@dataclass(slots=True)
class Raw:
    """One record as cut out, or a stretch that is none.

    Attributes:
        begin, end: its place in the sequence, separators included.
        header: its head, if it could be read.
        block: what follows the head; where the record is cut short, what there is of it; None where the
            block is too large to hold.
        error_class: ``malformed`` (the archive's name is put in front later), ``truncated``,
            ``record-too-large``, or None.
        error_detail: one line for people.
    """

    begin: int
    end: int
    header: Header | None = None
    block: bytes | None = None
    error_class: str | None = None
    error_detail: str | None = None


def split(window: Window, dialect: Dialect, limits: ReadLimits, scan: bool = True) -> Iterator[Raw]:
    """Cut a sequence into records.

    Args:
        window: the sequence; what has been cut is let go of.
        scan: whether to look for the next head after a malformed stretch.  If not, the stretch takes all
            that is left.

    Yields:
        Records and stretches that lie end to end from the window's start to its end.
    """
    splitter = _Splitter(window, dialect, limits, scan)
    begin = window.start
    while window.reach(begin + 1):
        raw = splitter.next(begin)
        yield raw
        begin = raw.end
        window.discard(begin)


class _Splitter:
    def __init__(self, window: Window, dialect: Dialect, limits: ReadLimits, scan: bool) -> None:
        self.window, self.dialect, self.limits, self.scan = window, dialect, limits, scan

    def next(self, begin: int) -> Raw:
        window, limits = self.window, self.limits
        head = self.dialect.head(window, self._after_line_ends(begin), limits.max_header_bytes)
        if isinstance(head, Unreadable):
            return self._malformed(Raw(begin, begin), head.reason, begin + 1, head.cut)
        header, block_begin = head
        raw = Raw(begin, begin, header)
        block_end = block_begin + header.length
        beyond = window.size is not None and block_end > window.size
        if header.length > limits.max_record_bytes and not beyond:
            return self._too_large(raw, block_begin)
        if beyond or not window.reach(block_end):
            raw.block = window.get(block_begin, window.end)
            return self._malformed(raw, f"{header.length} bytes declared, fewer there", block_begin, cut=True)
        end = self._end_of(block_end)
        if end is None:
            raw.block = window.get(block_begin, block_end)
            return self._malformed(raw, f"no record ends after the {header.length} bytes declared", block_begin)
        raw.end, raw.block = end, window.get(block_begin, block_end)
        return raw

    def _after_line_ends(self, offset: int) -> int:
        """The offset after a run of line ends."""
        window = self.window
        window.reach(offset + _MAX_LINE_ENDS)
        at = offset - window.start
        found = _LINE_ENDS.match(window.data, at, at + _MAX_LINE_ENDS)
        return offset if found is None else window.start + found.end()

    def _end_of(self, block_end: int) -> int | None:
        """Where the record ends whose block ends at ``block_end``; None if no record can end there."""
        window, dialect = self.window, self.dialect
        end = self._after_line_ends(block_end)
        if not window.reach(end + 1) or dialect.plausible(window, end) or dialect.separated(window, block_end):
            return end
        # A head just where it should be: then only what separates them is damaged.
        end = block_end + len(dialect.separator)
        return end if dialect.plausible(window, end) else None

    def _malformed(self, raw: Raw, reason: str, search_from: int, cut: bool = False) -> Raw:
        """A stretch up to the next head; ``cut``: if there is none, the sequence ended too early."""
        window = self.window
        found = None
        if self.scan:
            found = self.dialect.find(window, search_from)
        else:
            window.drain()
        raw.end = window.end if found is None else found
        if raw.header is not None and raw.header.loose:
            return raw
        raw.error_class = TRUNCATED if cut and found is None and not window.abandoned else MALFORMED
        raw.error_detail = reason
        return raw

    def _too_large(self, raw: Raw, block_begin: int) -> Raw:
        """Pass over a block without holding it."""
        window = self.window
        assert raw.header is not None
        length = raw.header.length
        end = self._end_of(block_begin + length) if window.skip(block_begin + length) else None
        if end is None and not window.abandoned:
            # The declared length is wrong: look for the next head right after this one, if one can go back.
            resume = block_begin if self.scan and window.rewind(block_begin) else window.start
            return self._malformed(raw, f"no record ends after the {length} bytes declared", resume, window.exhausted)
        raw.end = window.end if end is None else end
        raw.error_class = TOO_LARGE
        raw.error_detail = f"{length} bytes declared, limit {self.limits.max_record_bytes}"
        return raw
