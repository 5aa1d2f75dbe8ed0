"""One gzip member at a time, so that damage to one costs no other.

``zlib`` reads a whole gzip file or fails.  Here a member is a sequence of its own (RFC 1952: header, deflate
stream, CRC-32 and length), inflated as raw deflate with the checks done by us: so it is known what failed,
where the member ends, and what could be inflated before.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Literal

from curation.sources.window import CHUNK, Window

_MAGIC = b"\x1f\x8b\x08"
_HEAD = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")  # deflate, no reserved flag
_RESERVED, _HCRC, _EXTRA, _NAME, _COMMENT = 0xE0, 0x02, 0x04, 0x08, 0x10
_FIXED = 10  # bytes of a header without optional fields
_MAX_HEADER = 1 << 17  # the extra field alone may take 64 KiB
_TRAILER = 8

_CUT = "cut"
_MAX_REWINDS = 3  # a member whose lengths are wrong again and again is not worth more

_PIECE = 32 << 10  # stored bytes fed at once
_STEPS = (8192, 256, 16)  # inflated bytes asked for at once on the way to damage
_STEP = 64  # the same at the beginning of a member
_OPENING_INPUT = 16 << 10

LOOKBACK = 1 << 20
"""Stored bytes kept behind the place that is being inflated.

Damage that destroys an end-of-block code makes zlib read on into the next members.  It goes on until it meets
that code by chance, tens of KiB at most, and fails soon after; the search for the next member goes back
this far."""

_PATIENCE = 256 << 20  # inflated bytes that damaged members may cost beyond a multiple of what was read
_PATIENCE_RATIO = 8

Outcome = Literal["complete", "header", "deflate", "content", "truncated"]
"""How a member ends.  ``content``: only CRC-32 or only the length is wrong, so the deflate stream was in step to
its end.  If both are, it may have ended anywhere: it can run on into the next members and end with one of them."""


class Member(Window):
    """What one gzip member holds, as a sequence of inflated bytes.

    Attributes:
        begin: offset of its first stored byte.
        position: offset of the next stored byte; the end of the member if it is complete or only its content
            is wrong.
        outcome: None while there is more to inflate.
        reason: one line on what is wrong.
    """

    def __init__(self, file: Window, begin: int, limit: int, ratio: float, header_length: int | None = None) -> None:
        """
        Args:
            file: the stored bytes; let go of behind the member as it is inflated.
            limit: inflated bytes below which the ratio is of no interest.
            ratio: inflated bytes per stored byte above which skipping is hopeless.
            header_length: take this for granted instead of reading the header.
        """
        super().__init__()
        self.file, self.begin = file, begin
        self._limit, self._ratio = limit, ratio
        self._rewinds = _MAX_REWINDS
        self._restart(begin)
        header = read_header(file, begin) if header_length is None else header_length
        if isinstance(header, int):
            self.position += header
        elif header == _CUT:
            self._fail("truncated", "the file ends inside the gzip header")
        else:
            self._fail("header", header)
        self._deflate_begin = self.position

    def _restart(self, position: int) -> None:
        """Begin with the deflate stream at an offset."""
        self.position = position
        self.outcome: Outcome | None = None
        self.reason = ""
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._crc = 0
        self._length = 0
        self._calls = 0  # of the inflater

    def rewind(self, offset: int) -> bool:
        """Make an earlier offset available again by inflating the member once more, a few times at most."""
        if offset >= self.start:
            return True
        if not self._rewinds or not self.file.rewind(self.begin):
            return False
        self._rewinds -= 1
        self._restart(self._deflate_begin)
        self.data.clear()
        self.start, self.exhausted = 0, False
        while self.start < offset and self.grow():
            self.discard(offset)
        return True

    def hopeless(self) -> bool:
        stored = self.position - self.begin
        return self.outcome is None and self._length > self._limit and self._length > self._ratio * stored

    def _fail(self, outcome: Outcome, reason: str) -> None:
        self.outcome, self.reason = outcome, reason

    def read(self) -> bytes:
        while self.outcome is None:
            piece = self._inflater.unconsumed_tail or self._feed()
            output = self._inflate(piece)
            self._crc = zlib.crc32(output, self._crc)
            self._length += len(output)
            if self._inflater.eof and self.outcome is None:
                self.position -= len(self._inflater.unused_data)
                self._check_trailer()
            elif not piece and not output and self.outcome is None:
                self._fail("truncated", "the file ends inside the deflate stream")
            if output:
                return output
        return b""

    def _feed(self) -> bytes:
        file = self.file
        file.reach(self.position + _PIECE)
        piece = file.get(self.position, self.position + _PIECE)
        self.position += len(piece)
        if self.position - file.start > 2 * LOOKBACK + CHUNK:
            file.discard(self.position - LOOKBACK)
        return piece

    def _inflate(self, piece: bytes) -> bytes:
        # A copy costs a twentieth of the work.  While the member's first bytes are at hand, there is another way.
        before = self._inflater.copy() if self.begin < self.file.start else None
        try:
            output = self._inflater.decompress(piece, CHUNK)
        except zlib.error as error:
            self._fail("deflate", str(error))
            return self._salvage(before or self._inflated_again(), piece)
        self._calls += 1
        return output

    def _inflated_again(self) -> zlib._Decompress:
        """The state before the piece that failed: the same calls once more."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        at = self._deflate_begin
        for _ in range(self._calls):
            piece = inflater.unconsumed_tail
            if not piece:
                piece = self.file.get(at, at + _PIECE)
                at += len(piece)
            inflater.decompress(piece, CHUNK)
        return inflater

    def _salvage(self, inflater: zlib._Decompress, piece: bytes) -> bytes:
        """What a damaged piece still inflates to before it fails, to within ``_STEPS[-1]`` bytes."""
        output = bytearray()
        rest = piece
        for step in _STEPS:
            try:
                while rest:
                    before = inflater.copy()
                    output += inflater.decompress(rest, step)
                    rest = inflater.unconsumed_tail
            except zlib.error:
                inflater = before
        self.position -= len(rest)
        return bytes(output)

    def _check_trailer(self) -> None:
        at = self.position
        if not self.file.reach(at + _TRAILER):
            return self._fail("truncated", "the file ends inside the gzip trailer")
        trailer = self.file.get(at, at + _TRAILER)
        self.position += _TRAILER
        crc_holds = int.from_bytes(trailer[:4], "little") == self._crc
        length_holds = int.from_bytes(trailer[4:], "little") == self._length & 0xFFFFFFFF
        if not crc_holds and not length_holds:
            return self._fail("deflate", "neither CRC-32 nor length match")
        if not crc_holds:
            return self._fail("content", "CRC-32 does not match")
        if not length_holds:
            return self._fail("content", "length in the gzip trailer does not match")
        self.outcome = "complete"
        return None


def read_header(file: Window, begin: int) -> int | str:
    """Length of the gzip header at an offset, or what is wrong with it (``_CUT``: the file ends inside it)."""
    file.reach(begin + _FIXED)
    fixed = file.get(begin, begin + _FIXED)
    if fixed[:3] != _MAGIC[: len(fixed)]:
        return "no gzip header"
    if len(fixed) < _FIXED:
        return _CUT
    flags = fixed[3]
    if flags & _RESERVED:
        return "gzip header with reserved flags"
    if not flags & (_EXTRA | _NAME | _COMMENT | _HCRC):
        return _FIXED
    file.reach(begin + _MAX_HEADER)
    return _optional_fields(file.get(begin, begin + _MAX_HEADER), flags)


def _optional_fields(header: bytes, flags: int) -> int | str:
    at = _FIXED
    if flags & _EXTRA:
        at += 2 + int.from_bytes(header[at : at + 2], "little")
    for flag in (_NAME, _COMMENT):
        if flags & flag:
            zero = header.find(b"\0", at)
            if zero < 0:
                return _CUT if len(header) < _MAX_HEADER else "gzip header without end"
            at = zero + 1
    if flags & _HCRC:
        if int.from_bytes(header[at : at + 2], "little") != zlib.crc32(header[:at]) & 0xFFFF:
            return _CUT if at + 2 > len(header) else "gzip header checksum does not match"
        at += 2
    return at if at <= len(header) else _CUT


def opening(file: Window, begin: int, wanted: int) -> bytes:
    """The first inflated bytes of the member at an offset; fewer where it ends or fails."""
    length = read_header(file, begin)
    return b"" if isinstance(length, str) else opening_of_deflate(file, begin + length, wanted)


def opening_of_deflate(file: Window, begin: int, wanted: int) -> bytes:
    """The first inflated bytes of the raw deflate stream at an offset."""
    file.reach(begin + _OPENING_INPUT)
    piece = file.get(begin, begin + _OPENING_INPUT)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    output = b""
    try:
        while len(output) < wanted and not inflater.eof:
            # Few bytes at once: an error takes the output of its call with it.
            more = inflater.decompress(piece, min(wanted - len(output), _STEP))
            output += more
            if not more and not inflater.unconsumed_tail:
                break
            piece = inflater.unconsumed_tail
    except zlib.error:
        pass
    return output


def find_member(file: Window, begin: int, wanted: int, opens: Callable[[bytes], bool]) -> int | None:
    """First gzip member at or after an offset whose content begins as it should; lets go of what it passes.

    Args:
        wanted: inflated bytes that ``opens`` looks at.
        opens: whether such bytes begin what is looked for.
    """
    while (found := file.find(_HEAD, 4, begin)) is not None:
        if opens(opening(file, found, wanted)):
            return found
        begin = found + 1
    return None


class Patience:
    """Where to search for the next member after a damaged one, so that the whole search stays linear.

    Members can be made that all fail late and lie one in the other's bytes; after a while the search then no
    longer goes back.
    """

    def __init__(self) -> None:
        self._wasted = 0

    def spend(self, member: Member) -> None:
        """Account for what was inflated in vain."""
        self._wasted += member.end

    def floor(self, member: Member) -> int:
        """First offset where the member after a damaged one may begin."""
        if self._wasted > _PATIENCE + _PATIENCE_RATIO * member.position:
            return max(member.begin + 1, member.position)
        return max(member.begin + 1, member.position - LOOKBACK)
