"""A stretch of a byte sequence, addressed by absolute offsets, that grows forward on demand.

Readers look ahead and sometimes back while they search for the next readable record.  A window gives them
that without holding the sequence: it is read once, front to back, and what lies behind is let go.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import BinaryIO

CHUNK = 1 << 20


class Window(ABC):
    """Bytes ``[start, end)`` of a longer sequence.

    Attributes:
        data: the bytes at hand.
        start: offset of ``data[0]`` in the sequence.
        exhausted: whether the sequence has no byte beyond ``end``.
        abandoned: whether there may be more, but going on was hopeless; it counts as exhausted then.
        size: length of the whole sequence, where it is known beforehand.
    """

    def __init__(self, size: int | None = None) -> None:
        self.data = bytearray()
        self.start = 0
        self.exhausted = False
        self.abandoned = False
        self.size = size

    @abstractmethod
    def read(self) -> bytes:
        """The next piece of the sequence, at most a few MiB; empty at its end."""

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def grow(self) -> bool:
        """Read one more piece; False at the end of the sequence."""
        piece = b"" if self.exhausted else self.read()
        if not piece:
            self.exhausted = True
            return False
        self.data += piece
        return True

    def reach(self, offset: int) -> bool:
        """Grow until ``end >= offset``; False if the sequence is shorter."""
        while self.end < offset:
            if not self.grow():
                return False
        return True

    def get(self, begin: int, end: int) -> bytes:
        """Bytes ``[begin, end)``, fewer if they are not at hand."""
        return bytes(memoryview(self.data)[begin - self.start : max(0, end - self.start)])

    def discard(self, before: int) -> None:
        """Let go of everything before an offset."""
        if before > self.start:
            count = min(before - self.start, len(self.data))
            del self.data[:count]
            self.start += count

    def skip(self, offset: int) -> bool:
        """Go forward to an offset without holding what lies between; False if the sequence is shorter or
        had to be abandoned."""
        self.discard(offset)
        while self.start < offset and self._tolerable() and self.grow():
            self.discard(offset)
        return self.start == offset

    def drain(self, patient: bool = False) -> None:
        """Go forward to the end of the sequence without holding it.

        Args:
            patient: never abandon it.
        """
        self.discard(self.end)
        while (patient or self._tolerable()) and self.grow():
            self.discard(self.end)

    def _tolerable(self) -> bool:
        if self.hopeless():
            self.abandoned = self.exhausted = True
        return not self.abandoned

    def hopeless(self) -> bool:
        """Whether skipping or searching costs more than it can bring."""
        return False

    def rewind(self, offset: int) -> bool:
        """Make an earlier offset available again; False if that is not possible."""
        return offset >= self.start

    def find(self, pattern: re.Pattern[bytes], span: int, begin: int) -> int | None:
        """First offset at or after ``begin`` where a pattern matches; lets go of what it passes, but for the
        last byte before.

        Args:
            span: bytes that the longest match has.

        Returns:
            None at the end of the sequence, or where going on had to be given up.
        """
        begin = max(begin, self.start)
        if begin - self.start > CHUNK:  # a caller that looks on behind each match may never come to the end below
            self.discard(begin - 1)
        while self._tolerable():
            found = pattern.search(self.data, begin - self.start)
            if found is not None:
                return self.start + found.start()
            begin = max(begin, self.end - span + 1)
            self.discard(begin - 1)
            if not self.grow():
                break
        return None


class StreamWindow(Window):
    """A window on a binary stream, which is read sequentially.

    ``rewind`` seeks where the stream can.  What may be read again is bounded by twice the size of the
    stream, so that no content can make a reader go over it again and again.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__(size)
        self._stream = stream
        self._rewindable = 2 * size + 64 * CHUNK if _seekable(stream) else 0

    def read(self) -> bytes:
        return self._stream.read(CHUNK)

    def rewind(self, offset: int) -> bool:
        if offset >= self.start:
            return True
        self._rewindable -= self.end - offset
        if self._rewindable < 0:
            return False
        self._stream.seek(offset)
        self.data.clear()
        self.start, self.exhausted = offset, False
        return True


def _seekable(stream: BinaryIO) -> bool:
    try:
        return bool(stream.seekable())
    except (AttributeError, ValueError):
        return False
