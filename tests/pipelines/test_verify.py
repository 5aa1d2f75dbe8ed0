"""Verification of places: content with every valid run, and with no gap."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zstandard

from curation.errors import RunError
from pipelines import verify
from pipelines.look import FinishedRun
from pipelines.verify import verify_run
from tests.sources.archives import page
from tests.support.corpus import english
from tests.support.runs import PLAIN, run_recipe, write_recipe

LINES = b"".join(json.dumps({"text": english(seed)}).encode() + b"\n" for seed in range(4))
# Name → content; the names do not say how it is compressed, or do so in another case.
SHARDS = {
    "plain.jsonl": LINES,
    "A.NDJSON.GZ": gzip.compress(LINES + b"\n"),
    "b.ndjson.zst": zstandard.compress(LINES + b"\n\n"),
    "gzip-in-fact.jsonl": gzip.compress(LINES + b"\n\n\n"),
    "zstd-in-fact.json": zstandard.compress(LINES + b"\n\n\n\n"),
    "plain-in-fact.json.gz": LINES + b"\n\n\n\n\n",
    "D.WARC": page(1, english(9).encode()) + page(2, english(10).encode()),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over all of them, and over a Parquet file."""
    folder = tmp_path_factory.mktemp("verify")
    shards = folder / "shards"
    shards.mkdir()
    for name, content in SHARDS.items():
        (shards / name).write_bytes(content)
    pq.write_table(pa.table({"text": [english(11), english(12)]}), shards / "E.PARQUET")
    recipe = write_recipe(folder, PLAIN + "deduplication: null\n")
    run_recipe(recipe, [shards], folder / "out")
    return folder


def tampered(folder: Path, shard: str, change: Callable[[pa.Table], pa.Table]) -> Path:
    """A copy of the run with the ledger's rows of one shard changed, whose manifest knows the new files."""
    copy = folder.parent / f"{folder.name}-tampered"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "out", copy)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    for path in sorted((copy / "ledger").glob("*.parquet")):
        table = pq.read_table(path)
        rows = table.filter(pc.field("shard") == shard)
        pq.write_table(pa.concat_tables([table.filter(pc.field("shard") != shard), change(rows)]), path)
        manifest["files"][f"ledger/{path.name}"]["bytes"] = path.stat().st_size
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def last_made_shorter(rows: pa.Table) -> pa.Table:
    if not len(rows):
        return rows
    ends = pc.add(rows.column("offset"), rows.column("length"))
    shorter = pc.subtract(rows.column("length"), pc.cast(pc.equal(ends, pc.max(ends)), pa.int64()))
    return rows.set_column(rows.schema.get_field_index("length"), "length", shorter)


def first_moved(rows: pa.Table) -> pa.Table:
    if not len(rows):
        return rows
    moved = pc.add(rows.column("offset"), pc.cast(pc.equal(rows.column("offset"), 0), pa.int64()))
    return rows.set_column(rows.schema.get_field_index("offset"), "offset", moved)


def test_every_way_to_compress_lines_is_fine(finished: Path) -> None:
    lines = verify_run(str(finished / "out"))
    (places,) = [line for line in lines if "every byte" in line]
    # plain.jsonl and D.WARC are stored as they are, E.PARQUET has rows, five are called or are compressed.
    assert places.startswith("in 2 of 8 shards") and ", in 5 the decompressed text" in places


def test_inputs_may_be_gone(finished: Path) -> None:
    moved = finished / "moved"
    shutil.move(finished / "shards", moved)
    try:
        assert verify_run(str(finished / "out"), deep=False)
        with pytest.raises(RunError, match=rf"plain\.jsonl: records end at byte {len(LINES) - 1}"):
            verify_run(str(tampered(finished, "plain.jsonl", last_made_shorter)), deep=False)
    finally:
        shutil.move(moved, finished / "shards")


@pytest.mark.parametrize("shard", ["plain.jsonl", "D.WARC"])
def test_an_end_that_is_missing(shard: str, finished: Path) -> None:
    with pytest.raises(RunError, match=rf"{shard}: records end at byte \d+, the file at {len(SHARDS[shard])}"):
        verify_run(str(tampered(finished, shard, last_made_shorter)), deep=False)


@pytest.mark.parametrize("shard", SHARDS)
def test_a_gap_anywhere(shard: str, finished: Path) -> None:
    with pytest.raises(RunError, match=rf"{shard}: the records do not cover the file"):
        verify_run(str(tampered(finished, shard, first_moved)), deep=False)


def test_a_shard_without_any_record(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FinishedRun(str(finished / "out"))
    ledger = run.table("ledger").to_table()
    rest = ledger.filter(pc.field("shard") != "D.WARC")
    monkeypatch.setattr(FinishedRun, "table", lambda self, folder: ds.dataset(rest))
    with pytest.raises(RunError, match=r"D\.WARC: the ledger has no record of this shard"):
        verify._check_places(run, False)
