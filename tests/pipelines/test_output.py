"""The folder of a run: whose it is, who works in it, and what verification notices."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError, RunError
from pipelines.output import MARK
from pipelines.verify import verify_run
from tests.support.corpus import english, write_jsonl
from tests.support.runs import gristmill, rows, run_recipe, tree, write_recipe


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    objects = [{"text": english(i)} for i in range(4)] + [{"text": english(1)}, "{ broken"]
    return write_jsonl(tmp_path / "in" / "s.jsonl", objects)


def test_a_folder_with_other_files_is_left_alone(shard: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "corpus").mkdir(parents=True)
    for name in ("README.md", "keep.tmp-me", "corpus/part-00000.parquet"):
        (mine / name).write_text("mine")
    before = tree(mine)
    done = gristmill("run", write_recipe(tmp_path), shard, "-o", mine, check=2)
    assert "holds files that are no run's (README.md)" in done.stderr
    assert tree(mine) == before


def test_a_run_without_its_mark_is_still_a_run(shard: Path, tmp_path: Path) -> None:
    recipe, output = write_recipe(tmp_path), tmp_path / "out"
    run_recipe(recipe, [shard], output)
    before = tree(output)
    (output / MARK).unlink()
    run_recipe(recipe, [shard], output)
    assert tree(output) == before
    (output / MARK).unlink()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no run's \(mine\.txt\)"):
        run_recipe(recipe, [shard], output)


def test_an_input_inside_the_output_is_refused(shard: Path, tmp_path: Path) -> None:
    run_recipe(write_recipe(tmp_path), [shard], tmp_path / "out")
    inner = write_jsonl(tmp_path / "out" / "more.jsonl", [{"text": english(9)}])
    with pytest.raises(InputError, match="lies inside the output"):
        run_recipe(write_recipe(tmp_path), [inner], tmp_path / "out")


def test_an_output_inside_an_input_folder_is_refused(shard: Path, tmp_path: Path) -> None:
    done = gristmill("run", write_recipe(tmp_path), shard.parent, "-o", shard.parent / "out", check=2)
    assert "would be read by the next run" in done.stderr
    assert not (shard.parent / "out").exists()


def test_an_output_that_is_a_file_is_refused(shard: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is a file" in gristmill("run", write_recipe(tmp_path), shard, "-o", tmp_path / "file", check=2).stderr


def test_one_driver_at_a_time(shard: Path, tmp_path: Path) -> None:
    recipe, output = write_recipe(tmp_path), tmp_path / "out"
    run_recipe(recipe, [shard], output)
    descriptor = os.open(output / MARK, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(RunError, match="another run is at work"):
        run_recipe(recipe, [shard], output)
    os.close(descriptor)
    assert run_recipe(recipe, [shard], output).did_nothing


@pytest.mark.parametrize("more", ["", "deduplication: null\n"])
def test_nothing_at_all(more: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    recipe = write_recipe(tmp_path, "name: none\nstages:\n  - stage: extraction\n" + more)
    run_recipe(recipe, [tmp_path / "empty.parquet"], tmp_path / "out")
    assert rows(tmp_path / "out") == [] and rows(tmp_path / "out", "corpus") == []
    assert verify_run(str(tmp_path / "out"))[1].startswith("0 records in = kept 0")
    assert "kept" in gristmill("inspect", tmp_path / "out").stdout


def rewrite(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def act(output: Path) -> None:
        data = json.loads((output / name).read_text())
        change(data)
        (output / name).write_text(json.dumps(data))

    return act


def flip(pattern: str, at: float) -> Callable[[Path], None]:
    def act(output: Path) -> None:
        path = next(iter(sorted(output.glob(pattern))))
        data = bytearray(path.read_bytes())
        data[int(len(data) * at)] ^= 1
        path.write_bytes(data)

    return act


@pytest.mark.parametrize(
    "tamper",
    [
        flip("corpus/*.parquet", 0.3),
        flip("ledger/*.parquet", 0.5),
        flip("dropped/*.parquet", 0.1),
        flip("statistics.json", 0.5),
        flip("README.md", 0.5),
        flip("run.json", 0.5),
        lambda output: next(output.glob("corpus/*.parquet")).unlink(),
        lambda output: (output / "corpus" / "more.parquet").write_bytes(b""),
        lambda output: (output / "extra.bin").write_bytes(b""),
        lambda output: (output / "corpus2").mkdir(),
        rewrite("manifest.json", lambda data: data["totals"].update(read=999)),
        rewrite("manifest.json", lambda data: data["totals"].update(kept=3)),
        rewrite("manifest.json", lambda data: data.update(key="0" * 32)),
        rewrite("manifest.json", lambda data: [e.update(rows=9) for e in data["files"].values() if "rows" in e]),
        rewrite("manifest.json", lambda data: data["files"].pop("README.md")),
    ],
)
def test_any_difference_is_noticed(tamper: Callable[[Path], None], shard: Path, tmp_path: Path) -> None:
    run_recipe(write_recipe(tmp_path), [shard], tmp_path / "out")
    assert len(verify_run(str(tmp_path / "out"))) == 6
    tamper(tmp_path / "out")
    with pytest.raises((RunError, InputError)):
        verify_run(str(tmp_path / "out"))


def test_a_changed_file_that_is_deleted_is_written_anew(shard: Path, tmp_path: Path) -> None:
    recipe, output = write_recipe(tmp_path), tmp_path / "out"
    run_recipe(recipe, [shard], output)
    before = tree(output)
    flip("corpus/*.parquet", 0.3)(output)
    next(output.glob("corpus/*.parquet")).unlink()
    assert not run_recipe(recipe, [shard], output).did_nothing
    assert tree(output) == before
