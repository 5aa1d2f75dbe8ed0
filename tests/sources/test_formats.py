"""Names of files, and the invariant of ranges."""

from __future__ import annotations

import io

import pytest

from curation.errors import InputError
from curation.sources import ReadLimits, SourceOptions, check_tiling, detect_format, read_records


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("CC-MAIN-20240518.warc.gz", "warc.gz"),
        ("a.warc", "warc"),
        ("a.warc.wet.gz", "warc.gz"),
        ("a.wet", "warc"),
        ("a.warc.wat.gz", "warc.gz"),
        ("OLD.ARC.GZ", "arc.gz"),
        ("a.arc", "arc"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl.gz"),
        ("a.json.zst", "jsonl.zst"),
        ("part-0.parquet", "parquet"),
        ("https://example.org/a.warc.gz?token=a.b#c", "warc.gz"),
        ("s3://bucket/key/a.parquet", "parquet"),
    ],
)
def test_names(name: str, format_: str) -> None:
    assert detect_format(name) == format_


@pytest.mark.parametrize("name", ["a.txt", "a.gz", "warc", "a.warc.bz2", "a.parquet.gz", "a?.warc.gz.tmp"])
def test_unknown_names_are_refused_with_what_is_understood(name: str) -> None:
    with pytest.raises(InputError, match=r"\.warc\.gz") as caught:
        detect_format(name)
    assert caught.value.where == name
    with pytest.raises(InputError):
        read_records(io.BytesIO(b""), name, 0, ReadLimits(), SourceOptions())


@pytest.mark.parametrize(
    ("ranges", "size", "fault"),
    [
        ([], 0, None),
        ([(0, 0, 0)], 0, None),
        ([(5, 5, 0), (0, 5, 0)], 10, None),
        ([(0, 10, 0), (0, 10, 7), (10, 1, 0)], 11, None),
        ([(0, 5, 0)], None, None),
        ([(0, 5, 0), (6, 4, 0)], 10, "gap"),
        ([(0, 5, 0), (4, 6, 0)], 10, "overlap"),
        ([(1, 9, 0)], 10, "gap"),
        ([(0, 9, 0)], 10, "the file at 10"),
        ([(0, 10, 0), (0, 9, 7)], 10, "lengths 10 and 9"),
        ([(0, 10, 7), (0, 10, 7)], 10, "two records"),
        ([], 10, "the file at 10"),
    ],
)
def test_tiling(ranges: list[tuple[int, int, int]], size: int | None, fault: str | None) -> None:
    found = check_tiling(ranges, size)
    assert found is None if fault is None else found is not None and fault in found
