"""WARC, WET and ARC files as they come: all kinds of records, and the slips of twenty years of writers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator as FastWarc
from warcio.archiveiterator import ArchiveIterator as Warcio

from curation.sources import ReadLimits, SourceOptions, check_tiling, read_records
from tests.sources.archives import arc, arc_head, http, member, offsets, page, read, warc

URI = "WARC-Target-URI: https://example.org/"


# --- WARC


def test_kinds_of_records() -> None:
    page_block = http(b"<p>hi", "Content-Type: text/html; charset=big5", status="404 Not Found")
    parts = [
        warc("warcinfo", b"software: x\r\n", "Content-Type: application/warc-fields"),
        warc("request", b"GET / HTTP/1.1\r\n\r\n", URI, "Content-Type: application/http; msgtype=request"),
        warc("response", page_block, URI, "Content-Type: application/http; msgtype=response"),
        warc("metadata", b"via: y\r\n", URI, "Content-Type: application/warc-fields"),
        warc("resource", b"<p>file", URI, "Content-Type: Text/HTML;charset=utf-8"),
        warc("revisit", http(b"", "Content-Type: text/html"), URI),
        warc("conversion", "Grüße".encode() + b"\xff", URI, "Content-Type: text/plain"),
        warc("response", b"192.0.2.1\r\n", "WARC-Target-URI: dns:example.org", "Content-Type: text/dns"),
        warc("continuation", b"rest", URI),
    ]
    records = read(b"".join(parts), "crawl.warc")
    assert read(b"".join(map(member, parts)), "crawl.warc.gz")[2].content == records[2].content
    assert [record.offset for record in records] == offsets(parts)
    assert [record.error_class for record in records] == [None] * 9
    kinds = "warcinfo request response metadata resource revisit conversion response continuation"
    assert [record.kind for record in records] == kinds.split()
    contents = [None, None, b"<p>hi", None, b"<p>file", None, None, b"192.0.2.1\r\n", None]
    assert [record.content for record in records] == contents
    assert [record.http_status for record in records] == [None, None, 404, None, None, 200, None, None, None]
    assert [(record.content_type, record.charset) for record in records[2:5]] == [
        ("text/html", "big5"),
        ("application/warc-fields", None),
        ("text/html", "utf-8"),
    ]
    assert records[6].text == "Grüße\ufffd" and records[7].content_type == "text/dns"
    assert records[2].crawl_date == "2024-05-18T01:58:10Z" and records[2].url == "https://example.org/"
    assert records[2].record_id == "urn:uuid:00000000"


PAGE = page(3, b"<p>text</p>")
NEXT = page(4, b"<p>next</p>")


@pytest.mark.parametrize(
    "first",
    [
        PAGE[:-4],
        PAGE[:-2],
        PAGE + b"\r\n\r\n\n",
        b"\r\n" + PAGE,
        PAGE.replace(b"WARC/1.0", b"WARC/0.17"),
        PAGE.replace(b"WARC/1.0", b"WARC/2.5 beta"),
        PAGE.replace(b"WARC/1.0", b"warc/1.0"),
        PAGE.replace(b"WARC/1.0\r\n", b"WARC/1.0\n").replace(b"Z\r\n", b"Z\n"),
        PAGE.replace(b"Content-Length:", b"CONTENT-LENGTH :"),
        PAGE.replace(b"Content-Length: ", b"Content-Length:\r\n\t"),
        PAGE.replace(b"WARC-Date", b"X-Odd: caf\xe9\r\nno colon here\r\nWARC-Date"),
        PAGE.replace(b"https://example.org/3", b"<https://example.org/3>"),
        PAGE.replace(b"response\r\n", b"Response\r\n", 1),
    ],
)
@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_slips_that_are_tolerated(first: bytes, name: str) -> None:
    pack = member if name.endswith("gz") else bytes
    records = read(pack(first) + pack(NEXT), name)
    assert [record.error_class for record in records] == [None, None]
    assert [record.content for record in records] == [b"<p>text</p>", b"<p>next</p>"]
    assert records[0].url == "https://example.org/3" and records[0].kind == "response"


def test_bare_line_feeds_throughout() -> None:
    head = b"WARC/1.0\nWARC-Type: resource\nContent-Length: 5\n\n"
    records = read((head + b"hello\n\n") * 2, "a.warc")
    assert [record.content for record in records] == [b"hello", b"hello"]


def test_names_in_latin_1() -> None:
    url = b"http://example.org/caf\xe9"
    (record,) = read(PAGE.replace(b"https://example.org/3", url), "a.warc")
    assert record.url == "http://example.org/café"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-05-18T01:58:10.123456Z", "2024-05-18T01:58:10Z"),
        ("2024-05-18T01:58:10+02:00", "2024-05-17T23:58:10Z"),
        ("20240518015810", "2024-05-18T01:58:10Z"),
        ("2024-05-18", "2024-05-18T00:00:00Z"),
        ("2024-05", "2024-05-01T00:00:00Z"),
        ("2024", "2024-01-01T00:00:00Z"),
        ("202405", "2024-05-01T00:00:00Z"),
        ("2024-13-18T01:58:10Z", None),
        ("2024-02-30T01:58:10Z", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("blue monday", None),
    ],
)
def test_dates(given: str, expected: str | None) -> None:
    (record,) = read(PAGE.replace(b"2024-05-18T01:58:10Z", given.encode()), "a.warc")
    assert record.crawl_date == expected and record.error_class is None


def test_empty_and_misnamed_files() -> None:
    for name in ("a.warc", "a.warc.gz", "a.arc", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"):
        assert [(r.error_class, r.offset, r.length) for r in read(b"", name)] == [("empty-file", 0, 0)]
    # Stores and tools decompress behind names.
    assert read(PAGE, "a.warc.gz") == read(PAGE, "a.warc")
    assert read(member(PAGE), "a.warc") == read(member(PAGE), "a.warc.gz")


# --- digests

BLOCK = http(b"<p>text</p>", "Content-Type: text/html")
SHA1 = hashlib.sha1(BLOCK).digest()


@pytest.mark.parametrize(
    ("digest", "error"),
    [
        ("sha1:" + base64.b32encode(SHA1).decode(), None),
        ("SHA-1:" + base64.b32encode(SHA1).decode().lower(), None),
        ("sha1:" + SHA1.hex(), None),
        ("sha256:" + hashlib.sha256(BLOCK).hexdigest().upper(), None),
        ("sha256:" + base64.b32encode(hashlib.sha256(BLOCK).digest()).decode(), None),
        ("md5:" + base64.b32encode(hashlib.md5(BLOCK).digest()).decode().rstrip("="), None),
        ("sha1:" + base64.b32encode(SHA1[::-1]).decode(), "block-digest-mismatch"),
        ("md5:" + SHA1.hex()[:32], "block-digest-mismatch"),
        ("crc32:1234", None),  # nothing can be said
        ("sha1:short", None),
        ("nonsense", None),
    ],
)
def test_block_digests(digest: str, error: str | None) -> None:
    data = warc("response", BLOCK, f"WARC-Block-Digest: {digest}")
    (record,) = read(data, "a.warc")
    assert record.error_class == error and (record.content is None) == (error is not None)
    (record,) = read(data, "a.warc", options=SourceOptions(verify_digests=False))
    assert record.error_class is None and record.content == b"<p>text</p>"


def test_digest_finds_what_a_plain_file_cannot_show() -> None:
    data = warc("response", BLOCK, f"WARC-Block-Digest: sha1:{SHA1.hex()}").replace(b"<p>text", b"<p>tent")
    assert [record.error_class for record in read(data + NEXT, "a.warc")] == ["block-digest-mismatch", None]


# --- ARC

ARC_PAGES = [
    arc("http://example.org/a", http(b"<p>a</p>", "Content-Type: text/html; charset=koi8-r")),
    arc("http://example.org/with space", http(b"<p>b</p>", status="404 Not Found")),
    arc("dns:example.org", b"20080430204825\nexample.org. 589 IN A 192.0.2.1\n", "text/dns"),
    arc("http://example.org/c", http(b"no line end\n\n\nat all"), "no-type"),
]


@pytest.mark.parametrize("name", ["a.arc", "a.arc.gz"])
def test_arc(name: str) -> None:
    parts = [arc_head(), *ARC_PAGES]
    stored = [member(part) for part in parts] if name.endswith("gz") else parts
    records = read(b"".join(stored), name)
    assert [record.offset for record in records] == offsets(stored)
    assert [record.kind for record in records] == ["warcinfo", "response", "response", "resource", "response"]
    assert {record.error_class for record in records} == {None}
    assert [record.content for record in records[1:3]] == [b"<p>a</p>", b"<p>b</p>"]
    assert [record.http_status for record in records[1:]] == [200, 404, None, 200]
    assert records[1].charset == "koi8-r" and records[3].content_type == "text/dns"
    assert records[2].url == "http://example.org/with space"
    assert records[1].crawl_date == "2008-04-30T20:48:25Z"


def test_arc_agrees_with_warcio() -> None:
    # (warcio takes no address with a space.)
    data = b"".join([arc_head(), ARC_PAGES[0], *ARC_PAGES[2:]])
    theirs = []
    for record in Warcio(io.BytesIO(data), arc2warc=True):
        theirs.append((record.rec_headers.get_header("WARC-Target-URI"), record.content_stream().read()))
    ours = [(record.url, record.content) for record in read(data, "a.arc")]
    assert ours[1:] == theirs[1:]


def test_arc_version_2() -> None:
    block = http(b"<p>a</p>")
    line = f"http://example.org/ 192.0.2.1 19961104142103 text/html 200 fac069150613fe55 - 200 a.arc {len(block)}\n"
    records = read(arc_head() + line.encode() + block + b"\n", "a.arc")
    assert (records[1].content, records[1].content_type) == (b"<p>a</p>", None)
    assert records[1].crawl_date == "1996-11-04T14:21:03Z"


@pytest.mark.parametrize("length", [0, 20, 500, 10**9])
@pytest.mark.parametrize("packed", [False, True])
def test_arc_whose_version_block_has_a_wrong_length(length: int, packed: bool) -> None:
    parts = [arc_head(length=length), *ARC_PAGES]
    data = b"".join(map(member, parts)) if packed else b"".join(parts)
    records = read(data, "a.arc.gz" if packed else "a.arc")
    assert [record.error_class for record in records] == [None] * 5
    assert records[1].content == b"<p>a</p>"


@pytest.mark.parametrize("at", [0, 25, 40, -30])
def test_damaged_arc(at: int) -> None:
    broken = bytearray(ARC_PAGES[1])
    broken[at : at + 12 if at >= 0 else None] = b"\0" * (12 if at >= 0 else -at)
    data = b"".join([arc_head(), ARC_PAGES[0], bytes(broken), *ARC_PAGES[2:]])
    records = read(data, "a.arc")
    good = [record.url for record in records if record.error_class is None]
    assert good[:2] == ["filedesc://test.arc", "http://example.org/a"]
    assert good[-2:] == ["dns:example.org", "http://example.org/c"]
    members = [member(part) for part in (arc_head(), *ARC_PAGES)]
    members[2] = members[2][:-3] + b"\xff\xff\xff"
    records = read(b"".join(members), "a.arc.gz")
    assert [record.error_class for record in records] == [None, None, "gzip-damaged", None, None]
    assert records[2].url == "http://example.org/with space"


# --- against other readers, on real files


def real_archives(folder: Path) -> list[Path]:
    small = sorted((folder / "crawl" / "real").glob("*.warc*"))
    return [*small, folder / "crawl" / "built" / "mirror-pages.warc.gz"]


def test_real_archives_agree_with_warcio_and_fastwarc(real_data: Path) -> None:
    compared = 0
    for path in real_archives(real_data):
        data = path.read_bytes()
        ours = read(data, path.name)
        assert [record for record in ours if record.error_class] == [], path.name
        fast = [(r.headers.get("WARC-Record-ID"), r.stream_pos) for r in FastWarc(io.BytesIO(data), parse_http=False)]
        assert [(f"<{record.record_id}>", record.offset) for record in ours] == fast
        reader = Warcio(io.BytesIO(data))
        for record, theirs in zip(ours, reader, strict=True):
            assert record.kind == theirs.rec_type
            assert record.url == ((theirs.rec_headers.get_header("WARC-Target-URI") or "").strip("<>") or None)
            if record.content is None:
                continue
            try:
                assert record.content == theirs.content_stream().read(), (path.name, record.url)
            except AttributeError:  # warcio cannot read Brotli through the library that is installed
                continue
            compared += 1
    assert compared > 700


def test_valid_files_of_a_conformance_suite(real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "crawl" / "real" / "malformed-jhove.zip") as files:
        for name in files.namelist():
            if not name.endswith(".warc"):
                continue
            records = read(files.read(name), name)
            valid = "/valid-" in f"/{name}" or name.startswith("valid")
            assert records and not (valid and any(record.error_class for record in records)), name
            if "lonely" in name or "headerversion" in name or "diagnosis" in name:
                assert all(record.error_class for record in records), name


def test_whole_real_archive_in_one_member(real_data: Path) -> None:
    path = real_data / "crawl" / "real" / "heritrix-blogs-2013.warc.gz"
    clean = read(path.read_bytes(), path.name)
    plain = gzip.decompress(path.read_bytes())
    repacked = gzip.compress(plain, 1)
    for limits in (ReadLimits(), ReadLimits(max_record_bytes=1 << 20)):
        stream = io.BytesIO(repacked)
        records = list(read_records(stream, "a.warc.gz", len(repacked), limits, SourceOptions()))
        assert check_tiling(((r.offset, r.length, r.inner_offset) for r in records), len(repacked)) is None
        assert [(r.record_id, r.content) for r in records] == [(r.record_id, r.content) for r in clean]
    assert [r.offset for r in read(plain, "a.warc")] == [r.inner_offset for r in records]
