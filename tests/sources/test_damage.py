"""Damage costs what is damaged and nothing else."""

from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from curation.record import Record
from curation.sources import ReadLimits, gzip_member
from tests.sources.archives import arc, gunzip, http, member, offsets, page, read, warc

MIB = 1 << 20
WORDS = b"grist mill stone corn flour water wheel sack bread oven field harvest sieve bran germ husk".split()


def body(number: int) -> bytes:
    """Text that deflate finds neither trivial nor incompressible, different for each number."""
    source = random.Random(number)
    return b"<p>" + b" ".join(source.choices(WORDS, k=source.randrange(20, 400))) + b"</p>"


PAGES = [page(number, body(number)) for number in range(12)]
MEMBERS = [member(data) for data in PAGES]
CLEAN = read(b"".join(MEMBERS), "a.warc.gz")


def flip(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def intact(data: bytes, content: bytes) -> bool:
    """Whether a member holds what it should by the standard library: a deflate stream ends with unused bits."""
    try:
        return gunzip(data) == content
    except (OSError, EOFError, zlib.error):
        return False


def moved(record: Record) -> tuple[object, ...]:
    """A record without its place."""
    return (record.kind, record.record_id, record.url, record.crawl_date, record.http_status, record.content)


def test_clean_archive() -> None:
    assert [record.content for record in CLEAN] == [body(number) for number in range(12)]
    assert [record.offset for record in CLEAN] == offsets(MEMBERS)
    assert {record.error_class for record in CLEAN} == {None}


# --- gzip members


@st.composite
def damages(draw: st.DrawFn) -> dict[int, tuple[int, int]]:
    """Member → place within its deflate stream or trailer, and bits to flip."""
    which = draw(st.sets(st.integers(0, len(MEMBERS) - 1), min_size=1, max_size=6))
    return {
        index: (draw(st.integers(10, len(MEMBERS[index]) - 1)), draw(st.integers(1, 255))) for index in sorted(which)
    }


@settings(max_examples=150, deadline=None)
@given(damages())
def test_any_damaged_members_cost_only_themselves(damage: dict[int, tuple[int, int]]) -> None:
    members = [flip(data, *damage[i]) if i in damage else data for i, data in enumerate(MEMBERS)]
    assume(not any(intact(members[i], PAGES[i]) for i in damage))
    records = read(b"".join(members), "a.warc.gz")
    begins = offsets(members)
    good = {record.offset: record for record in records if record.error_class is None}
    assert sorted(good) == [begin for i, begin in enumerate(begins) if i not in damage]
    for index, clean in enumerate(CLEAN):
        if index not in damage:
            assert good[begins[index]] == clean
    assert all(record.error_class in ("gzip-damaged", "truncated") for record in records if record.error_class)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10), st.binary(min_size=1, max_size=60), st.integers(10, 400))
def test_any_overwritten_stretch_costs_only_its_member(index: int, junk: bytes, at: int) -> None:
    data = MEMBERS[index]
    at = min(at, len(data) - len(junk)) if len(junk) < len(data) - 10 else 10
    broken = data[:at] + junk + data[at + len(junk) :]
    assume(len(broken) == len(data) and at >= 10 and not intact(broken, PAGES[index]))
    records = read(b"".join([*MEMBERS[:index], broken, *MEMBERS[index + 1 :]]), "a.warc.gz")
    good = [record for record in records if record.error_class is None]
    assert good == [record for i, record in enumerate(CLEAN) if i != index]


@pytest.mark.parametrize("at", range(4))
def test_damaged_gzip_header(at: int) -> None:
    # Magic, method and reserved flags; the other bytes of a gzip header say nothing that could be checked.
    members = [*MEMBERS[:3], flip(MEMBERS[3], at, 0x80), *MEMBERS[4:]]
    records = read(b"".join(members), "a.warc.gz")
    assert [record.error_class for record in records] == [None] * 3 + ["gzip-damaged"] + [None] * 8
    assert records[3].offset == offsets(members)[3]


def test_each_of_several_damaged_members_is_a_record_that_says_whose() -> None:
    members = [data if i not in (4, 5, 6) else flip(data, len(data) - 20, 0x10) for i, data in enumerate(MEMBERS)]
    records = read(b"".join(members), "a.warc.gz")
    lost = [record for record in records if record.error_class]
    assert [record.offset for record in lost] == offsets(members)[4:7]
    assert [record.url for record in lost] == [f"https://example.org/{i}" for i in (4, 5, 6)]
    assert {record.kind for record in lost} == {"damaged"} and {record.content for record in lost} == {None}


def test_deflate_stream_that_runs_over_the_next_member_and_ends_behind_it() -> None:
    # What a lost end-of-stream mark does: decoding goes on through the next member, and its end looks clean.
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    head = MEMBERS[0][:10] + deflate.compress(PAGES[0]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    size = len(MEMBERS[1])
    stored = b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + MEMBERS[1]
    data = b"".join([MEMBERS[2], head, stored, b"\x03\x00", bytes(8), MEMBERS[3]])
    assert len(zlib.decompress(head[10:] + stored + b"\x03\x00", -15)) == len(PAGES[0]) + size
    good = [record.record_id for record in read(data, "a.warc.gz") if record.error_class is None]
    assert good == [f"urn:uuid:{number:08d}" for number in (2, 1, 3)]


def test_missing_bytes_inside_a_member() -> None:
    members = [*MEMBERS[:2], MEMBERS[2][:60] + MEMBERS[2][90:], *MEMBERS[3:]]
    records = read(b"".join(members), "a.warc.gz")
    assert [record.error_class for record in records] == [None, None, "gzip-damaged"] + [None] * 9


@pytest.mark.parametrize("junk", [bytes(1), bytes(5000), b"junk" * 9, b"\x1f\x8b\x08", member(b""), b"WARC/1.0\r\n"])
@pytest.mark.parametrize("place", [0, 5, 12])
def test_junk_between_members(junk: bytes, place: int) -> None:
    records = read(b"".join([*MEMBERS[:place], junk, *MEMBERS[place:]]), "a.warc.gz")
    assert [moved(record) for record in records if not record.error_class] == [moved(record) for record in CLEAN]
    (lost,) = [record for record in records if record.error_class]
    assert lost.length == len(junk)


@settings(max_examples=120, deadline=None)
@given(st.integers(1, sum(map(len, MEMBERS)) - 1))
@example(sum(map(len, MEMBERS)) - 1)
@example(sum(map(len, MEMBERS[:-1])) + 1)
@example(sum(map(len, MEMBERS[:-1])) + 5)
@example(sum(map(len, MEMBERS[:-1])) + 10)
def test_gzip_truncated_anywhere(size: int) -> None:
    records = read(b"".join(MEMBERS)[:size], "a.warc.gz")
    begins = offsets(MEMBERS)
    whole = [i for i, begin in enumerate(begins) if begin + len(MEMBERS[i]) <= size]
    assert records[: len(whole)] == CLEAN[: len(whole)]
    if size in begins:
        assert len(records) == len(whole)
    else:
        (last,) = records[len(whole) :]
        assert last.error_class == "truncated" and "in the middle of a gzip member" in (last.error_detail or "")


def nested(inner: bytes) -> bytes:
    """A member whose record holds an archive; level 0 stores it as it is, as any level does with compressed data."""
    block = http(inner, "Content-Type: application/gzip")
    outer = member(warc("response", block, "WARC-Target-URI: https://example.org/inner", number=99), level=0)
    assert inner[:10_000] in outer
    return outer


def test_last_member_that_runs_on_is_damaged_not_truncated() -> None:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = MEMBERS[0][:10] + deflate.compress(PAGES[0] + b"no end") + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert [record.error_class for record in read(MEMBERS[1] + data, "a.warc.gz")] == [None, "gzip-damaged"]
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = MEMBERS[0][:10] + deflate.compress(PAGES[0]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert [record.error_class for record in read(MEMBERS[1] + data, "a.warc.gz")] == [None, "truncated"]


def test_nested_archive_behind_a_damaged_gzip_header() -> None:
    outer = nested(b"".join(MEMBERS) * 3)
    records = read(MEMBERS[5] + flip(outer, 1, 0x10) + MEMBERS[6], "a.warc.gz")
    assert [record.error_class for record in records] == [None, "gzip-damaged", None]


@pytest.mark.parametrize("from_end", [3, 200, 2000])
def test_nested_archive_is_not_taken_for_records(from_end: int) -> None:
    outer = nested(b"".join(MEMBERS))
    data = b"".join([MEMBERS[5], flip(outer, len(outer) - from_end, 0xFF), MEMBERS[6]])
    records = read(data, "a.warc.gz")
    assert [record.error_class for record in records] == [None, "gzip-damaged", None]


def test_nested_archive_in_a_member_that_cannot_be_inflated() -> None:
    outer = nested(b"".join(MEMBERS) * 20)
    second_block = 10 + 5 + int.from_bytes(outer[11:13], "little")
    assert second_block < len(outer)
    data = b"".join([MEMBERS[5], flip(outer, second_block + 1, 0xFF), MEMBERS[6]])
    records = read(data, "a.warc.gz")
    assert [record.error_class for record in records[:2]] == [None, "gzip-damaged"]
    assert records[1].length > 0.97 * len(outer) and records[-1].record_id == "urn:uuid:00000006"


def test_nested_archive_in_a_truncated_member() -> None:
    records = read(MEMBERS[5] + nested(b"".join(MEMBERS))[:-400], "a.warc.gz")
    assert [record.error_class for record in records] == [None, "truncated"]


def test_nested_archive_in_a_member_that_is_too_large() -> None:
    inner = b"".join(MEMBERS)
    outer = nested(inner)
    records = read(MEMBERS[5] + outer + MEMBERS[6], "a.warc.gz", ReadLimits(max_record_bytes=len(inner)))
    assert [record.error_class for record in records] == [None, "record-too-large", None]
    assert (records[1].kind, records[1].length) == ("response", len(outer))


def test_damage_without_seeking_is_the_same() -> None:
    members = [data if i % 3 else flip(data, 40, 0x55) for i, data in enumerate(MEMBERS)]
    data = b"".join(members)
    assert read(data, "a.warc.gz", seekable=False) == read(data, "a.warc.gz")


# --- several records in one member


def test_whole_file_in_one_member() -> None:
    data = member(b"".join(PAGES))
    records = read(data, "a.warc.gz")
    assert [moved(record) for record in records] == [moved(record) for record in CLEAN]
    assert [record.inner_offset for record in records] == offsets(PAGES)
    assert {(record.offset, record.length) for record in records} == {(0, len(data))}


LONG = ReadLimits(max_record_bytes=20_000)  # members that hold more are gone through twice


@pytest.mark.parametrize("limits", [ReadLimits(), LONG], ids=["held", "long"])
@pytest.mark.parametrize("at", [0.3, 0.6, 0.9])
def test_damage_inside_a_long_member(limits: ReadLimits, at: float) -> None:
    pages = [page(number, body(number)) for number in range(200)]
    whole = member(b"".join(pages))
    place = int(len(whole) * at)
    data = whole[:place] + b"\xff" * 64 + whole[place + 64 :]  # a run of ones is no deflate code for long
    records = read(data + MEMBERS[3], "a.warc.gz", limits)
    assert moved(records[-1]) == moved(CLEAN[3]) and records[-1].offset == len(whole)
    *before, lost = records[:-1]
    assert (lost.error_class, lost.kind) == ("gzip-damaged", "damaged")
    # The records read are those of the clean file up to the damage, to within what was being inflated there.
    assert [record.content for record in before] == [body(i) for i in range(len(before))]
    inflated = len(zlib.decompressobj(31).decompress(whole[:place]))
    complete = sum(1 for begin, data in zip(offsets(pages), pages, strict=True) if begin + len(data) <= inflated)
    assert complete - 2 <= len(before) <= complete + 1


@pytest.mark.parametrize("limits", [ReadLimits(), LONG], ids=["held", "long"])
def test_behind_a_malformed_record_nothing_of_a_damaged_member_is_believed(limits: ReadLimits) -> None:
    pages = [page(number, body(number)) for number in range(100)]
    wrong = pages[60].replace(b"Content-Length: ", b"Content-Length: 9")
    whole = member(b"".join([*pages[:60], wrong, *pages[61:]]))
    # The member is whole: what follows the record can be read.
    records = read(whole, "a.warc.gz", limits)
    assert [record.error_class for record in records] == [None] * 60 + ["warc-malformed"] + [None] * 39
    # It is not: there is no telling what its records were.
    records = read(flip(whole, len(whole) - 6, 1) + MEMBERS[0], "a.warc.gz", limits)
    assert [record.error_class for record in records] == [None] * 60 + ["gzip-damaged", None]
    assert records[60].inner_offset == sum(map(len, pages[:60]))


@pytest.mark.parametrize("limits", [ReadLimits(), LONG], ids=["held", "long"])
def test_checksum_of_a_member_of_several_records(limits: ReadLimits) -> None:
    pages = [page(number, body(number)) for number in range(100)]
    whole = member(b"".join(pages))
    records = read(flip(whole, len(whole) - 6, 1) + MEMBERS[0], "a.warc.gz", limits)
    # Which one was altered is not known: the last one stands for it.
    assert [record.error_class for record in records] == [None] * 99 + ["gzip-damaged", None]
    assert "CRC-32" in (records[99].error_detail or "")


def test_long_member_without_seeking_is_said() -> None:
    whole = member(b"".join(page(number, random.Random(number).randbytes(100_000)) for number in range(60)), 1)
    records = read(whole + MEMBERS[0], "a.warc.gz", LONG, seekable=False)
    assert [record.error_class for record in records] == ["member-too-large", None]


def test_truncated_long_member() -> None:
    whole = member(b"".join(page(number, body(number)) for number in range(200)))
    records = read(whole[: len(whole) // 2], "a.warc.gz", LONG)
    assert records[-1].error_class == "truncated"
    assert len(records) > 60 and {record.error_class for record in records[:-1]} == {None}


# --- whole members, wrong content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello", "no WARC header"),
        (page(1, b"x" * 100)[:-30], "fewer there"),
        (page(1, b"x" * 100) + b"trailing junk", None),
        (warc("response", b"x" * 100, length=60), "no record ends"),
        (warc("response", b"x" * 100, length=100).replace(b"Content-Length", b"Content-Lenght"), "no Content-Length"),
        (warc("response", b"x").replace(b"WARC-Type", b"WARC-Typ"), "no WARC-Type"),
        (b"WARC/1.0\r\n" + b"X: y\r\n" * 20_000, "longer than"),
    ],
)
def test_wrong_content_is_one_malformed_member(content: bytes, reason: str | None) -> None:
    records = read(MEMBERS[0] + member(content) + MEMBERS[1], "a.warc.gz")
    wrong = [record for record in records if record.error_class]
    assert [record.error_class for record in wrong] == ["warc-malformed"]
    assert wrong[0].offset == len(MEMBERS[0]) and wrong[0].length == len(member(content))
    assert reason is None or reason in (wrong[0].error_detail or "")
    assert [moved(r) for r in records if r.error_class is None and r.inner_offset == 0][-1] == moved(CLEAN[1])


def test_what_looks_like_a_record_in_a_malformed_member_is_content() -> None:
    sample = b"<pre>\r\n" + page(77, b"sample") + b"</pre>"
    wrong = page(1, sample).replace(b"Content-Length: ", b"Content-Length: 9")
    records = read(MEMBERS[0] + member(wrong) + MEMBERS[1], "a.warc.gz")
    assert [record.error_class for record in records] == [None, "warc-malformed", None]


# --- too large


def test_bomb_behind_an_honest_head() -> None:
    huge = 64 << 20
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = http(b"", f"Content-Type: text/html\r\nContent-Length: {huge}")
    parts = [deflate.compress(warc("response", block, length=len(block) + huge)[:-4])]
    parts += [deflate.compress(bytes(1 << 20)) for _ in range(64)]
    bomb = b"".join([*parts, deflate.flush()])
    limits = ReadLimits(max_record_bytes=1 << 20)
    records = read(MEMBERS[0] + bomb + MEMBERS[1], "a.warc.gz", limits)
    assert [record.error_class for record in records] == [None, "record-too-large", None]
    assert records[1].kind == "response" and records[1].length == len(bomb)


@pytest.mark.parametrize("head", [b"", page(1, b"x" * 50)], ids=["nothing", "record"])
def test_bomb_that_claims_nothing(head: bytes) -> None:
    bomb = member(head + bytes(50 << 20), 9)
    records = read(MEMBERS[0] + bomb + MEMBERS[1], "a.warc.gz", ReadLimits(max_record_bytes=1 << 20))
    assert records[0] == CLEAN[0] and moved(records[-1]) == moved(CLEAN[1])
    assert [record.error_class for record in records[1:-1]][-1] == "record-too-large"


@pytest.mark.parametrize("name", ["a.warc.gz", "a.arc.gz"])
@pytest.mark.parametrize("filling", [b"\0", b"\n", b"WARC/1.0 "], ids=["zeros", "lines", "spoken-of"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "behind-several-records"])
def test_bomb_before_any_member_of_one_record(
    name: str, filling: bytes, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Heads may still begin anywhere in such a member, so it is searched; but no further than it would be passed over.
    inflated: list[int] = []
    inflate = gzip_member.Member.read

    def counting(self: gzip_member.Member) -> bytes:
        piece = inflate(self)
        inflated.append(len(piece))
        return piece

    monkeypatch.setattr(gzip_member.Member, "read", counting)
    pages = PAGES if name == "a.warc.gz" else [arc(f"http://example.org/{i}", http(body(i))) for i in range(12)]
    before = [] if first else [member(pages[0] + pages[1])]
    bomb = member(filling * (100 * MIB // len(filling)), 9)
    after = [member(data) for data in pages[2:]]
    limit = 2 * MIB
    stored = b"".join([*before, bomb, *after])
    tracemalloc.start()
    try:
        records = read(stored, name, ReadLimits(max_record_bytes=limit))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    begin = sum(map(len, before))
    lost = [record for record in records if record.error_class]
    assert [(r.error_class, r.offset, r.length) for r in lost] == [("record-too-large", begin, len(bomb))]
    assert [r.content for r in records if r not in lost] == [body(i) for i in range(0 if not first else 2, 12)]
    assert sum(inflated) < 3 * limit
    assert peak < 5 * limit + len(stored)


def test_many_records_of_a_very_repetitive_member_are_all_read() -> None:
    # More than a hundredfold, and longer than is held; a stretch without a head has to be searched.
    pages = [page(number, bytes(100_000)) for number in range(30)]
    whole = member(b"".join([*pages[:20], b"lost head\r\n" + bytes(50_000) + b"\r\n", *pages[20:]]), 9)
    assert len(whole) * 100 < sum(map(len, pages))
    records = read(whole, "a.warc.gz", ReadLimits(max_record_bytes=MIB))
    assert [record.url for record in records if record.content] == [f"https://example.org/{i}" for i in range(30)]
    assert [record.error_class for record in records if record.error_class] == ["warc-malformed"]


def test_members_that_fail_late_are_not_inflated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each head opens like a record and runs, stored, over all heads behind it.
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\x00\x05\x00\xfa\xffWARC/" + b"\x00\xff\xff\x00\x00"
    data = head * 200
    records = read(data + MEMBERS[0], "a.warc.gz")
    assert [record.offset for record in records] == list(range(0, len(data) + 1, len(head)))
    assert moved(records[-1]) == moved(CLEAN[0])
    monkeypatch.setattr(gzip_member, "_PATIENCE", 100 * len(data))
    monkeypatch.setattr(gzip_member, "_PATIENCE_RATIO", 1)
    records = read(data + MEMBERS[0], "a.warc.gz")
    assert 100 < len(records) < 130  # then the search goes on where the last one failed: at the end


# --- plain files


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 11), st.data())
def test_damage_in_a_plain_file_costs_only_its_record(index: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(PAGES[index]) - 1))
    pages = [*PAGES[:index], flip(PAGES[index], at, data.draw(st.integers(1, 255))), *PAGES[index + 1 :]]
    records = read(b"".join(pages), "a.warc")
    by_offset = {record.offset: record for record in records}
    clean = read(b"".join(PAGES), "a.warc")
    for other, begin in enumerate(offsets(pages)):
        if other != index:
            assert by_offset[begin] == clean[other]


def test_plain_file_with_a_destroyed_head() -> None:
    head_end = PAGES[4].index(b"\r\n\r\n")
    for junk in (bytes(head_end), b"\r\n" * (head_end // 2), bytes(len(PAGES[4])), b"\xff" * len(PAGES[4])):
        broken = (junk + PAGES[4][len(junk) :])[: len(PAGES[4])]
        records = read(b"".join([*PAGES[:4], broken, *PAGES[5:]]), "a.warc")
        good = [record.url for record in records if record.error_class is None]
        assert good == [f"https://example.org/{i}" for i in range(12) if i != 4]


@pytest.mark.parametrize("length", [0, 1, 50, 5000, 10**9, 10**14])
@pytest.mark.parametrize("seekable", [True, False])
def test_plain_file_with_a_wrong_length(length: int, seekable: bool) -> None:
    wrong = warc("response", http(body(4), f"Content-Type: {'text/html'}"), length=length, number=4)
    records = read(b"".join([*PAGES[:4], wrong, *PAGES[5:]]), "a.warc", seekable=seekable)
    assert [record.error_class for record in records] == [None] * 4 + ["warc-malformed"] + [None] * 7
    assert records[4].record_id == "urn:uuid:00000004"


def test_heads_that_are_spoken_of_are_no_heads() -> None:
    sample = b"<pre>WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 2\r\n\r\nhi\r\n\r\n</pre>"
    wrong = page(4, sample).replace(b"Content-Length: ", b"Content-Length: 7", 1)
    records = read(b"".join([PAGES[3], wrong, PAGES[5]]), "a.warc")
    assert [record.error_class for record in records] == [None, "warc-malformed", None]


@pytest.mark.parametrize("seekable", [True, False])
def test_plain_file_with_a_length_beyond_the_limit(seekable: bool) -> None:
    large = page(5, b"x" * 9000)
    lying = warc("response", b"y" * 500, length=5000, number=6)  # within the file, above the limit, wrong
    data = b"".join([*PAGES[:2], large, lying, *PAGES[2:]])
    records = read(data, "a.warc", ReadLimits(max_record_bytes=4000), seekable=seekable)
    assert [record.error_class for record in records[:4]] == [None, None, "record-too-large", "warc-malformed"]
    assert records[2].length == len(large)
    if seekable:  # else what was passed over cannot be looked at again
        assert [moved(record) for record in records[4:]] == [moved(record) for record in CLEAN[2:]]
    assert moved(records[-1]) == moved(CLEAN[-1])


@settings(max_examples=100, deadline=None)
@given(st.integers(1, sum(map(len, PAGES))))
def test_plain_file_truncated_anywhere(size: int) -> None:
    records = read(b"".join(PAGES)[:size], "a.warc")
    # The four bytes after a block may be missing: the record is whole without them.
    ends = [begin + len(data) for begin, data in zip(offsets(PAGES), PAGES, strict=True)]
    whole = sum(1 for end in ends if end - 4 <= size)
    assert [moved(record) for record in records[:whole]] == [moved(record) for record in CLEAN[:whole]]
    rest = [record.error_class for record in records[whole:]]
    assert rest == ([] if any(end - 4 <= size <= end for end in ends) else ["truncated"])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["a.warc", "a.warc.gz", "a.arc", "a.arc.gz"]))
def test_any_bytes_are_tiled(data: bytes, name: str) -> None:
    read(data, name)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"WARC/1.0\r\n", b"Content-Length: 3\r\n", b"WARC-Type: response\r\n", b"\r\n", b"abc", b"\n"]
        ),
        max_size=30,
    )
)
def test_any_shuffled_parts_are_tiled(parts: list[bytes]) -> None:
    data = b"".join(parts)
    read(data, "a.warc")
    read(member(data), "a.warc.gz")
