"""The text inside gzip and Zstandard files, as one sequence of bytes, as far as it can be had."""

from __future__ import annotations

from typing import NamedTuple

import zstandard

from curation.sources.gzip_member import Member, Patience, find_member, opening
from curation.sources.window import Window

_OPENING = 512  # inflated bytes by which the next member is recognised as text
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\r"))
_ZSTD_PIECE = 1 << 10  # a Zstandard block of 4 bytes can hold 128 KiB, so this yields at most 32 MiB
_ZSTD_WINDOW = 128 << 20  # what the zstd tool accepts without --long


class Damage(NamedTuple):
    """Why a sequence ended before its end."""

    error_class: str
    detail: str


class Unpacked(Window):
    """The decompressed bytes of a file.

    Attributes:
        damage: why the sequence is exhausted, if not because it is complete.
    """

    def __init__(self) -> None:
        super().__init__()
        self.damage: Damage | None = None

    def resume(self) -> int:
        """Go on behind the damage, if that is possible.

        What could not be had counts as so many bytes of the sequence as stored bytes were passed over, at
        least one; how many there were is unknown.  The window is empty afterwards and starts behind them.

        Returns:
            That number of bytes.
        """
        lost = max(1, self._pass_over())
        self.start = self.end + lost
        self.data.clear()
        self.damage = None
        return lost

    def _pass_over(self) -> int:
        """Let ``read`` go on at the next readable place, or end; the number of stored bytes in between."""
        raise NotImplementedError


class Gunzipped(Unpacked):
    """Text in gzip members; after damage it goes on with the next member that holds text."""

    def __init__(self, file: Window) -> None:
        super().__init__()
        self._file = file
        self._position = 0
        self._member: Member | None = None
        self._patience = Patience()

    def read(self) -> bytes:
        while True:
            if self._member is None:
                if not self._file.reach(self._position + 1):
                    return b""
                # Nothing is skipped, so no ratio is too high: what comes out is bounded piece by piece.
                self._member = Member(self._file, self._position, limit=0, ratio=float("inf"))
            if piece := self._member.read():
                return piece
            if self._member.outcome != "complete":
                self._explain(self._member)
                return b""
            self._position = self._member.position
            self._file.discard(self._position)
            self._member = None

    def _explain(self, member: Member) -> None:
        stored = f"from stored byte {member.begin}"
        if member.outcome == "truncated":
            self.damage = Damage("truncated", f"the file ends in the middle of the gzip member {stored}")
        elif member.outcome == "content":
            detail = f"{member.reason} in the gzip member {stored}: a line read from it may be altered"
            self.damage = Damage("gzip-damaged", detail)
        else:
            self.damage = Damage("gzip-damaged", f"{member.reason} at stored byte {member.position}")

    def _pass_over(self) -> int:
        member, self._member = self._member, None
        assert member is not None
        self._patience.spend(member)
        file, failed = self._file, member.position
        if member.outcome == "content" and _begins_text(opening(file, failed, _OPENING)):
            found: int | None = failed
        else:
            found = find_member(file, self._patience.floor(member), _OPENING, _begins_text)
        self.exhausted = found is None
        self._position = file.end if found is None else found
        return self._position - failed


class Unzstandard(Unpacked):
    """Text in Zstandard frames; damage ends it."""

    def __init__(self, file: Window) -> None:
        super().__init__()
        self._file = file
        self._position = 0
        self._rest = b""
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def read(self) -> bytes:
        while self.damage is None:
            piece = self._rest or self._feed()
            self._rest = b""
            if not piece:
                if self._frame is not None:
                    self.damage = Damage("truncated", "the file ends in the middle of a Zstandard frame")
                return b""
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
            try:
                output = self._frame.decompress(piece)
            except zstandard.ZstdError as error:
                self.damage = Damage("zstd-damaged", f"{error}, near stored byte {self._position}")
                return b""
            if self._frame.eof:
                self._rest = self._frame.unused_data
                self._frame = None
            if output:
                return output
        return b""

    def _feed(self) -> bytes:
        file = self._file
        file.reach(self._position + 1)
        piece = file.get(self._position, self._position + _ZSTD_PIECE)
        self._position += len(piece)
        file.discard(self._position)
        return piece

    def _pass_over(self) -> int:
        failed = self._position
        self._file.drain()
        self._position, self._rest, self._frame = self._file.end, b"", None
        self.exhausted = True
        return self._position - failed


def _begins_text(prefix: bytes) -> bool:
    """Whether bytes are UTF-8 text that may be cut within a character at either end."""
    if not prefix or prefix.translate(None, _CONTROLS) != prefix:
        return False
    for cut in range(min(4, len(prefix))):
        if prefix[cut] & 0xC0 != 0x80:
            break
    try:
        prefix[cut:].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end == len(prefix) - cut and error.reason == "unexpected end of data"
    return True
