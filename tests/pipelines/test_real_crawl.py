"""Real crawl through a run: counts against warcio, damage against where it was done, duplicates against brute force."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import warcio

from benchmarks import oracle
from pipelines.verify import verify_run
from tests.support.runs import rows, run_recipe, write_recipe

RULES = """
name: real
stages:
  - stage: extraction
  - stage: language
    keep: [en, zh]
  - stage: gopher-repetition
  - stage: gopher-quality
  - stage: fineweb
  - stage: personal-data
"""
WHOLE = ["commoncrawl-2008.warc.gz", "iana-2014-revisits.warc.gz", "http-return-codes.warc.gz", "archive-org-wget.warc"]


def places(path: Path) -> list[tuple[int, int]]:
    """Offset and length of every record, as warcio has them."""
    with path.open("rb") as stream:
        records = warcio.ArchiveIterator(stream)
        return [(records.get_record_offset(), records.get_record_length()) for _ in records]


@pytest.fixture(scope="module")
def run(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[tuple[int, int]]]:
    """A run over real shards, one of them damaged in four members; the shards and the damaged places."""
    folder = tmp_path_factory.mktemp("real")
    built, real = real_data / "crawl" / "built", real_data / "crawl" / "real"
    shards = [built / name for name in ("pages-000.warc.gz", "pages-001.warc.gz", "mirror-pages.warc.gz")]
    shards += [real / name for name in WHOLE]
    broken = folder / "broken.warc.gz"
    data, rng = bytearray((built / "pages-002.warc.gz").read_bytes()), random.Random(2)
    damaged = sorted(rng.sample(places(built / "pages-002.warc.gz")[1:], 4))
    for offset, length in damaged:
        # In the middle of the compressed stream: zlib may go on, but the checksum cannot hold.
        for _ in range(40):
            data[offset + rng.randrange(length // 4, 3 * length // 4)] ^= 1 << rng.randrange(8)
    broken.write_bytes(data)
    run_recipe(write_recipe(folder, RULES), [*shards, broken], folder / "out", workers=2)
    return folder / "out", broken, damaged


def test_reconciles(run: tuple[Path, Path, list[tuple[int, int]]]) -> None:
    assert len(verify_run(str(run[0]))) == 6


@pytest.mark.parametrize("name", ["pages-000.warc.gz", "mirror-pages.warc.gz", *WHOLE])
def test_every_record_that_warcio_finds(
    name: str, run: tuple[Path, Path, list[tuple[int, int]]], real_data: Path
) -> None:
    found = sorted((row["offset"], row["record_id"]) for row in rows(run[0]) if row["shard"] == name)
    path = next((real_data / "crawl").glob(f"*/{name}"))
    with path.open("rb") as stream:
        archive = warcio.ArchiveIterator(stream)
        expected = [
            (archive.get_record_offset(), record.rec_headers.get_header("WARC-Record-ID").strip("<>"))
            for record in archive
        ]
    assert [place for place, _ in found] == [place for place, _ in expected]
    assert [id_ for _, id_ in found] == [id_ for _, id_ in expected]


def test_exactly_the_damaged_records_are_quarantined(run: tuple[Path, Path, list[tuple[int, int]]]) -> None:
    output, broken, damaged = run
    ledger = [row for row in rows(output) if row["shard"] == broken.name]
    gone = sorted((row["offset"], row["length"]) for row in ledger if row["stage"] == "read" and row["rule"])
    assert [place for place, _ in gone if place] == [place for place, _ in damaged]  # place 0 is the warcinfo
    assert {row["verdict"] for row in ledger if (row["offset"], row["length"]) in damaged} == {"quarantined"}
    assert len(ledger) == 277  # 276 pages and the warcinfo, as in the undamaged shard


def test_duplicates_by_brute_force(run: tuple[Path, Path, list[tuple[int, int]]]) -> None:
    ledger = {row["id"]: row for row in rows(run[0])}
    texts = {row["id"]: row["text"] for folder in ("corpus", "dropped") for row in rows(run[0], folder)}
    near = [row for row in ledger.values() if row["verdict"] == "duplicate"]
    assert near, "the mirrored pages should give some"
    for row in near:
        mine, other = oracle.shingles(texts[row["id"]]), oracle.shingles(texts[row["witness"]])
        assert ledger[row["witness"]]["verdict"] == "kept"
        assert (row["shared_shingles"], row["all_shingles"]) == (len(mine & other), len(mine | other))
        assert 5 * len(mine & other) > 4 * len(mine | other)
    reached = sorted(id_ for id_, row in ledger.items() if row["verdict"] in ("kept", "duplicate"))
    kept = np.array([ledger[id_]["verdict"] == "kept" for id_ in reached])
    judgement = oracle.judge(oracle.all_pairs([texts[id_] for id_ in reached], Fraction(4, 5)), kept)
    assert judgement.orphans == 0
    assert judgement.pairs >= len(near) and judgement.recall >= 0.998


def test_a_cut_shard_says_so(real_data: Path, tmp_path: Path) -> None:
    whole = real_data / "crawl" / "real" / "heritrix-blogs-2013.warc.gz"
    size = int(whole.stat().st_size * 0.6)
    cut = tmp_path / "cut.warc.gz"
    cut.write_bytes(whole.read_bytes()[:size])
    run_recipe(write_recipe(tmp_path), [cut], tmp_path / "out")
    ledger = sorted(rows(tmp_path / "out"), key=lambda row: row["offset"])
    complete = [place for place in places(whole) if sum(place) <= size]
    assert [(row["offset"], row["length"]) for row in ledger[:-1]] == complete
    last = ledger[-1]
    assert (last["verdict"], last["rule"], last["offset"] + last["length"]) == ("quarantined", "truncated", size)
