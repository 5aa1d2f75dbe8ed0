"""What the two archive formats have in common: a head, then a block of declared length."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from curation.sources.window import Window


class Header(NamedTuple):
    """A record's head, as far as anybody asks for it.

    Attributes:
        kind: record type in lower case; empty where the block tells it (ARC).
        length: declared bytes of the block.
        content_type: media type of the block, with parameters.
        block_digest: ``algorithm:value``.
        loose: whether the declared length is known to be unreliable in practice, so that a wrong one is
            no damage (the version block of an ARC file).
    """

    kind: str
    length: int
    record_id: str | None = None
    url: str | None = None
    date: str | None = None
    content_type: str | None = None
    block_digest: str | None = None
    loose: bool = False


@dataclass(slots=True)
class Unreadable:
    """Why there is no head at some place.

    Attributes:
        cut: whether the bytes end before the head does.
    """

    reason: str
    cut: bool = False


class Dialect(ABC):
    """One archive format.

    Attributes:
        name: ``warc`` or ``arc``.
        separator: what the format prescribes between a block and the next head.
        span: how many bytes decide whether a place looks like a head.
    """

    name: str
    separator: bytes
    span: int

    @abstractmethod
    def head(self, window: Window, begin: int, limit: int) -> tuple[Header, int] | Unreadable:
        """The head at ``begin`` and the offset of its block.

        Args:
            limit: longest head in bytes.
        """

    @abstractmethod
    def plausible(self, window: Window, begin: int) -> bool:
        """Whether what stands at ``begin`` looks like a head; cheap, and never True for ordinary text."""

    @abstractmethod
    def separated(self, window: Window, end: int) -> bool:
        """Whether a block that ends at ``end`` is followed by the separator in such a way that it can be
        believed, even if no head comes after it."""

    @abstractmethod
    def find(self, window: Window, begin: int) -> int | None:
        """First plausible head at the start of a line at or after ``begin``; lets go of what it passes."""

    @abstractmethod
    def opens(self, prefix: bytes) -> bool:
        """Whether the first inflated bytes of a gzip member begin a head.

        Args:
            prefix: up to ``opening`` bytes.
        """

    opening: int
    """How many inflated bytes ``opens`` wants."""


def decode(value: bytes) -> str:
    """A header value as text: UTF-8 as the standard says, else Latin-1, which never fails."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def line_starts(window: Window, offset: int) -> bool:
    """Whether a head can begin at ``offset``: not in the middle of a line of text.

    What stands before it may be damaged, so it need not be a line end; a printable character says that the
    supposed head is only spoken of.
    """
    return offset == window.start or not 0x20 <= window.data[offset - 1 - window.start] < 0x7F
