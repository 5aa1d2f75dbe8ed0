"""Records of WARC and ARC files, plain or in gzip members, whatever has happened to the files.

In a gzip archive each record is a member of its own, so damage costs one record: the search for the next
member starts one byte after the head of the damaged one.  Some archives hold several records in a member, or all of
them in one.  Of such a member a record is delivered once the head of the next one follows it; the last one
waits for the checksum.  If the member turns out to be damaged, the record under way and all that follows in
the member is one damaged record.  A checksum that fails without any such trace therefore falls on the last
record, although it may be an earlier one that was altered: only block digests can tell which.

Limits.  An archive that is itself a record of a damaged archive (a ``.warc.gz`` captured as a download) can
be told from the archive around it only if the damage comes after its beginning; else its records count
as records of the shard.  The same holds for plain WARC files inside plain WARC files.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

from curation.record import Record
from curation.sources.build import build_record, damaged_record
from curation.sources.gzip_member import (
    Member,
    Patience,
    find_member,
    opening,
    opening_of_deflate,
)
from curation.sources.head import Dialect
from curation.sources.options import ReadLimits, SourceOptions
from curation.sources.split import MALFORMED, TOO_LARGE, TRUNCATED, Raw, split
from curation.sources.window import Window

GZIP_DAMAGED = "gzip-damaged"

_OVERHEAD = 1 << 10  # bytes that a cut record costs beside its block


def read_plain(file: Window, dialect: Dialect, limits: ReadLimits, options: SourceOptions) -> Iterator[Record]:
    """Records of an archive that is not compressed.

    Yields:
        Records that tile the file.  ``truncated``: the file ends before the record does and no further head
        follows.  ``warc-malformed``: no head can be read, or no record ends where the length says.
    """
    for raw in split(file, dialect, limits):
        yield build_record(raw, dialect, raw.begin, raw.end - raw.begin, 0, limits, options)


def read_gzip(file: Window, dialect: Dialect, limits: ReadLimits, options: SourceOptions) -> Iterator[Record]:
    """Records of an archive in gzip members.

    Yields:
        Records that tile the file; ``gzip-damaged`` and ``truncated`` for what cannot be inflated,
        ``warc-malformed`` for members that are whole but hold no record.
    """
    return _GzipArchive(file, dialect, limits, options).records()


class _GzipArchive:
    def __init__(self, file: Window, dialect: Dialect, limits: ReadLimits, options: SourceOptions) -> None:
        self.file, self.dialect, self.limits, self.options = file, dialect, limits, options
        self.record_per_member = False  # known after the first member that holds one record
        self.patience = Patience()

    def records(self) -> Iterator[Record]:
        begin = 0
        while self.file.reach(begin + 1):
            begin = yield from self._member(begin)
            self.file.rewind(begin)
            self.file.skip(begin)

    def _open(self, begin: int, header_length: int | None = None, patient: bool = False) -> Member:
        limits = self.limits
        ratio = float("inf") if patient else limits.max_decompression_ratio
        return Member(self.file, begin, limits.max_record_bytes, ratio, header_length)

    def _split(self, member: Member) -> Iterator[Raw]:
        # In a member that holds one record, what looks like another one is its content.
        return split(member, self.dialect, self.limits, scan=not self.record_per_member)

    def _member(self, begin: int) -> Generator[Record, None, int]:
        """Records of the member at an offset; returns where the next one begins."""
        member = self._open(begin)
        held: list[Raw] = []
        size = 0
        for raw in self._split(member):
            held.append(raw)
            size += _OVERHEAD + len(raw.block or b"")
            if size > self.limits.max_record_bytes + _OVERHEAD:
                held.clear()
                return (yield from self._long_member(member))
        end, damage = self._outcome(member, held[-1] if held else None)
        self.record_per_member |= damage is None and len(held) == 1
        yield from self._deliver(held, begin, end, damage)
        return end

    def _long_member(self, member: Member) -> Generator[Record, None, int]:
        """A member of many records that is too long to be held: first to its end, then once more."""
        begin = member.begin
        member.drain(patient=True)
        end, damage = self._outcome(member, None)
        if self.file.rewind(begin):
            # Its end is known by now: nothing in it is passed over in vain.
            member = self._open(begin, patient=damage is None)
            yield from self._deliver(self._split(member), begin, end, damage)
        else:
            detail = "a gzip member of many records is longer than can be held, and the stream cannot seek"
            yield damaged_record(None, begin, end - begin, 0, "member-too-large", detail)
        return end

    def _deliver(self, raws: Iterable[Raw], begin: int, end: int, damage: tuple[str, str] | None) -> Iterator[Record]:
        """All records but the last for certain; the last one only if the member is whole."""
        length = end - begin
        last: Raw | None = None
        for raw in raws:
            # Behind a malformed stretch of a damaged member the stream may be out of step: what still looks
            # like records may be altered.  A stretch without a head confirms nothing before it either.
            out_of_step = damage is not None and raw.error_class == MALFORMED
            if last is not None:
                if out_of_step and raw.header is None:
                    break
                yield self._record(last, begin, length)
            last = raw
            if out_of_step:
                break
        if damage is not None:
            yield damaged_record(last, begin, length, last.begin if last else 0, *damage)
        elif last is None:
            yield damaged_record(None, begin, length, 0, f"{self.dialect.name}-malformed", "empty gzip member")
        else:
            yield self._record(last, begin, length)

    def _record(self, raw: Raw, begin: int, length: int) -> Record:
        if raw.error_class == TRUNCATED:  # the member is whole: it is its content that does not fit
            raw = replace(raw, error_class=MALFORMED)
        return build_record(raw, self.dialect, begin, length, raw.begin, self.limits, self.options)

    def _outcome(self, member: Member, last: Raw | None) -> tuple[int, tuple[str, str] | None]:
        """Where the next member begins, and what is wrong with this one as error class and detail."""
        if member.outcome == "complete":
            return member.position, None
        if member.abandoned:
            detail = f"inflates to more than {self.limits.max_decompression_ratio:g} times its stored size"
            return self._next_member(member.position), (TOO_LARGE, detail)
        end = self._resume(member, last)
        at_end = self.file.exhausted and end == self.file.end
        if member.outcome == "truncated" and at_end and not _overrun(last):
            return end, (TRUNCATED, f"the file ends in the middle of a gzip member: {member.reason}")
        return end, (GZIP_DAMAGED, f"{member.reason}, {member.position - member.begin} bytes into the member")

    def _next_member(self, begin: int) -> int:
        found = find_member(self.file, begin, self.dialect.opening, self.dialect.opens)
        return self.file.end if found is None else found

    def _resume(self, member: Member, last: Raw | None) -> int:
        """Where to go on after a damaged member."""
        file, begin = self.file, member.begin
        if member.outcome == "content" and self._member_begins(member.position):
            return member.position
        if member.outcome == "header":
            end = self._end_without_header(begin)
            if end is not None:
                return end
        self.patience.spend(member)
        floor = self.patience.floor(member)
        if last is not None and last.header is not None and self._holds_archive(last.block or b""):
            # Its members stand, as they are, in this one.
            if member.outcome == "truncated" and not _overrun(last):
                file.skip(file.end)
                return file.end
            floor = max(floor, begin + _expected_length(member, last.header.length))
        file.reach(floor)
        return self._next_member(min(floor, file.end))

    def _member_begins(self, offset: int) -> bool:
        return not self.file.reach(offset + 1) or self.dialect.opens(opening(self.file, offset, self.dialect.opening))

    def _end_without_header(self, begin: int) -> int | None:
        """End of a member whose gzip header is damaged and all else is not."""
        header = 10
        if not self.dialect.opens(opening_of_deflate(self.file, begin + header, self.dialect.opening)):
            return None
        member = self._open(begin, header)
        member.drain()
        self.patience.spend(member)
        return member.position if member.outcome == "complete" else None

    def _holds_archive(self, block: bytes) -> bool:
        """Whether a gzip archive of the same kind stands in a block."""
        return find_member(_Bytes(block), 0, self.dialect.opening, self.dialect.opens) is not None


class _Bytes(Window):
    """A window on bytes at hand."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self.data += data
        self.exhausted = True

    def read(self) -> bytes:
        return b""


def _expected_length(member: Member, length: int) -> int:
    """About the least stored bytes of a member that holds ``length`` bytes, by what it took so far."""
    return int(0.98 * length * (member.position - member.begin) / max(1, member.end))


def _overrun(last: Raw | None) -> bool:
    """Whether more was inflated than the record can have: then its end was lost, not the file's."""
    return last is not None and last.error_class == MALFORMED
