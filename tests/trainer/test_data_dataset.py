"""Dataset versions, and the cache of their tokens: what is wrong is said, what is right is read."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.corpus import chinese, english, write_jsonl
from tests.trainer.published import TEXT, measured, milled, pair, publish, turn, write_manifest
from trainer.data.cache import Writer, cache_key, cached, read_entry
from trainer.data.dataset import open_dataset
from trainer.data.documents import Documents
from trainer.data.encode import encoded
from trainer.data.tokenizer import ByteTokenizer, fit
from trainer.errors import DataError

ROWS = [
    {"id": f"{n:032x}", "text": english(n), "language": "en" if n % 3 else "zh", "domain": "farm"} for n in range(30)
]
TOKENIZER = ByteTokenizer()


def test_a_version_that_the_mill_made(tmp_path: Path) -> None:
    texts = [english(n) for n in range(20)] + [chinese(n) for n in range(10)]
    shards = [write_jsonl(tmp_path / f"{n}.jsonl", [{"text": text} for text in texts[n::2]]) for n in range(2)]
    folder = milled(tmp_path / "run", TEXT, *shards)
    dataset = open_dataset(str(folder), "corpus", check_digests=True)
    assert dataset.manifest_digest == measured(folder / "manifest.json")["digest"]
    assert dataset.rows == 30 and len(dataset.parts) == 2
    assert sorted(dataset.texts()) == sorted(texts)
    entry = encoded(dataset, TOKENIZER, tmp_path / "cache")
    documents = Documents([entry])
    tokens = documents.ragged("tokens")
    assert sorted(TOKENIZER.decode(tokens[n]) for n in range(30)) == sorted(texts)
    assert all(tokens[n][0] == TOKENIZER.bos and tokens[n][-1] == TOKENIZER.eos for n in range(30))


def test_any_filesystem(tmp_path: Path) -> None:
    import fsspec

    local = publish(tmp_path / "set", "corpus", ROWS, parts=2)
    fsspec.filesystem("memory").put(str(local), "/versions/set", recursive=True)
    for location in (f"file://{local}", "memory://versions/set"):
        dataset = open_dataset(location, check_digests=True)
        assert list(dataset.texts()) == [row["text"] for row in ROWS]
        assert dataset.manifest_digest == open_dataset(str(local)).manifest_digest


def broken(folder: Path, how: str) -> Path:
    folder = publish(folder, "corpus", ROWS)
    part, manifest = folder / "corpus" / "part-00000.parquet", folder / "manifest.json"
    name, entry = "corpus/part-00000.parquet", {**measured(part), "rows": 30}
    data = part.read_bytes()
    if how == "no manifest":
        manifest.unlink()
    elif how == "torn manifest":
        manifest.write_bytes(manifest.read_bytes()[:-5])
    elif how == "other manifest":
        manifest.write_text('{"files": [1]}')
    elif how == "missing part":
        part.unlink()
    elif how == "short part":
        part.write_bytes(data[:-100])
    elif how == "truncated part that the manifest names":
        part.write_bytes(data[:-100])
        write_manifest(folder, {name: {**measured(part), "rows": 30}})
    elif how == "other rows":
        write_manifest(folder, {name: {**entry, "rows": 29}})
    elif how == "no rows":
        write_manifest(folder, {name: {**entry, "rows": 0}})
    elif how == "flipped byte":
        part.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    elif how in ("other schema", "no schema"):
        table = pq.read_table(part).replace_schema_metadata({"gristmill.schema": "corpus/9"} if how[0] == "o" else {})
        pq.write_table(table, part)
        write_manifest(folder, {name: {**measured(part), "rows": 30}})
    elif how == "no text":
        pq.write_table(pq.read_table(part).drop_columns(["text"]), part)
        write_manifest(folder, {name: {**measured(part), "rows": 30}})
    return folder


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no manifest", "there is no manifest.json"),
        ("torn manifest", "manifest.json is not that of a published dataset"),
        ("other manifest", "manifest.json is not that of a published dataset"),
        ("missing part", "part-00000.parquet is missing"),
        ("short part", "bytes, the manifest says"),
        ("truncated part that the manifest names", "part-00000.parquet cannot be read"),
        ("other rows", "has 30 rows, not 29"),
        ("no rows", "the dataset is empty"),
        ("flipped byte", "not as it was published"),
        ("other schema", "its schema is 'corpus/9'; one of corpus/1, preferences/1, instructions/1"),
        ("no schema", "its schema is 'not named'"),
        ("no text", "there is no column 'text'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, how: str, said: str) -> None:
    folder = broken(tmp_path / "set", how)
    with pytest.raises(DataError, match=said) as caught:
        list(open_dataset(str(folder), check_digests=True).texts())
    assert str(folder) in str(caught.value)


def test_another_kind_and_another_version_are_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path / "set", "preferences", [pair("a", "b", "c")])
    assert open_dataset(str(folder)).kind == "preferences"
    with pytest.raises(DataError, match="these are preferences, and what is needed are corpus"):
        open_dataset(str(folder), "corpus")
    with pytest.raises(DataError, match="not the one that was published"):
        open_dataset(str(folder), manifest_digest="blake2b:00")
    with pytest.raises(DataError, match="no column 'promt', did you mean 'prompt'"):
        next(open_dataset(str(folder)).batches(["promt"]))
    with pytest.raises(DataError, match="cannot be opened"):
        open_dataset("nowhere://at/all")


def test_rows_keep_their_labels_and_their_split(tmp_path: Path) -> None:
    first = publish(tmp_path / "a", "corpus", ROWS[:10], parts=3)
    second = publish(tmp_path / "b", "corpus", [{**row, "language": "fr", "domain": None} for row in ROWS[10:]])
    documents = Documents([encoded(open_dataset(str(p)), TOKENIZER, tmp_path / "cache") for p in (first, second)], 0.3)
    codes, names = documents.labels("language")
    assert [names[code] for code in codes] == [row["language"] for row in ROWS[:10]] + ["fr"] * 20
    codes, names = documents.labels("domain")
    assert names == ["farm"] and codes.tolist() == [0] * 10 + [-1] * 20
    tokens = documents.ragged("tokens")
    assert [TOKENIZER.decode(tokens[n]) for n in range(30)] == [row["text"] for row in ROWS]
    out = documents.held_out()
    assert 2 <= len(out) <= 18 and sorted([*out, *documents.train()]) == list(range(30))
    alone = Documents([encoded(open_dataset(str(second)), TOKENIZER, tmp_path / "cache")], 0.3)
    assert (alone.held_out() + 10).tolist() == [n for n in out if n >= 10]  # whatever else is read
    more = Documents(documents.entries, 0.6).held_out()
    assert set(out) <= set(more)
    with pytest.raises(DataError, match="share of 1"):
        Documents(documents.entries, 1)


def test_a_split_that_somebody_said_stands(tmp_path: Path) -> None:
    said = ["train", "held-out", None, "train"] * 10
    rows = [{"id": str(n), "messages": [turn("user", f"{n}"), turn("assistant", "x")], "split": s}
            for n, s in enumerate(said)]  # fmt: skip
    entry = encoded(open_dataset(str(publish(tmp_path / "a", "instructions", rows))), TOKENIZER, tmp_path / "cache")
    out = set(Documents([entry], 0.5).held_out().tolist())
    assert {n for n in out if said[n]} == {n for n, s in enumerate(said) if s == "held-out"}
    assert 1 <= len({n for n in out if said[n] is None}) <= 9
    assert Documents([entry]).held_out().tolist() == [n for n, s in enumerate(said) if s == "held-out"]
    strange = publish(tmp_path / "b", "instructions", [{**rows[0], "split": "test"}])
    with pytest.raises(DataError, match="the column 'split' says 'test'"):
        encoded(open_dataset(str(strange)), TOKENIZER, tmp_path / "cache")


def test_pairs_of_one_prompt_are_held_out_together(tmp_path: Path) -> None:
    rows = [pair(f"prompt {n % 7}", f"good {n}", f"bad {n}", pair_id=str(n)) for n in range(70)]
    entry = encoded(open_dataset(str(publish(tmp_path / "a", "preferences", rows))), TOKENIZER, tmp_path / "cache")
    out = Documents([entry], 0.5).held_out() % 7
    assert 0 < len(out) < 70 and all(count == 10 for count in np.bincount(out)[np.unique(out)])


# The cache


def test_the_cache_is_used_and_keyed_by_all_that_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(str(publish(tmp_path / "set", "corpus", ROWS)))
    cache = tmp_path / "cache"
    entry = encoded(dataset, TOKENIZER, cache)
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*.bin")}
    again = encoded(dataset, TOKENIZER, cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.bin")} == files
    assert np.array_equal(entry.arrays["tokens"], again.arrays["tokens"])
    encoded(dataset, fit(dataset.texts(), 300), cache)
    other = open_dataset(str(publish(tmp_path / "other", "corpus", ROWS[1:])))
    encoded(other, TOKENIZER, cache)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 3
    moved = tmp_path / "moved"  # the same version elsewhere is the same data
    shutil.copytree(tmp_path / "set", moved)
    encoded(open_dataset(str(moved)), TOKENIZER, cache)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 3


@pytest.mark.parametrize("damage", ["flip", "short", "gone", "index", "empty folder", "other facts"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: str) -> None:
    dataset = open_dataset(str(publish(tmp_path / "set", "corpus", ROWS)))
    good = np.array(encoded(dataset, TOKENIZER, tmp_path / "cache").arrays["tokens"])
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    file = folder / "tokens.bin"
    data = file.read_bytes()
    if damage == "flip":
        file.write_bytes(data[:77] + bytes([data[77] ^ 4]) + data[78:])
    elif damage == "short":
        file.write_bytes(data[:-2])
    elif damage == "gone":
        file.unlink()
    elif damage == "index":
        (folder / "index.json").write_bytes(b'{"arrays"')
    elif damage == "other facts":
        (folder / "index.json").write_text('{"arrays": 3}')
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    assert read_entry(folder) is None
    assert np.array_equal(encoded(dataset, TOKENIZER, tmp_path / "cache").arrays["tokens"], good)
    assert read_entry(folder) is not None
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [folder.name]


def _slowly(folder: Path, count: int, pause: float) -> Any:
    def make(writer: Writer) -> None:
        for number in range(count):
            writer.append_ragged("tokens", [np.full(3, number, np.uint16)])
            (folder / f"working-{os.getpid()}").touch()
            time.sleep(pause)

    return cached(folder, "key", make)


def _race(folder: Path, results: Any) -> None:
    results.put((_slowly(folder, 5, 0.01).arrays["tokens"].tolist(), os.getpid()))


def test_writers_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_race, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60)[0] for _ in processes]
    for process in processes:
        process.join()
    assert found == [sorted([0, 1, 2, 3, 4] * 3)] * 4
    assert len(list(tmp_path.glob("working-*"))) == 1  # the others waited
    assert sorted(path.name for path in tmp_path.iterdir() if "working" not in path.name) == ["key", "key.lock"]


def test_a_filesystem_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr("trainer.data.cache.fcntl.flock", refuse)

    def make(writer: Writer) -> None:
        writer.append("a", np.arange(3))
        if not (tmp_path / "key").exists():  # another one is faster
            cached(tmp_path, "key", lambda other: other.append("a", np.arange(3)))

    assert cached(tmp_path, "key", make).arrays["a"].tolist() == [0, 1, 2]
    assert read_entry(tmp_path / "key") is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.lock"]


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_slowly, args=(tmp_path, 10_000, 0.001))
    process.start()
    while not list(tmp_path.glob("working-*")):
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.glob("key.tmp-*")) and read_entry(tmp_path / "key") is None
    assert len(_slowly(tmp_path, 2, 0).arrays["tokens"]) == 6
    assert not list(tmp_path.glob("key.tmp-*"))  # and what it left is swept


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def make(writer: Writer) -> None:
        writer.append("a", np.arange(3))
        raise DataError("torn")

    with pytest.raises(DataError, match="torn"):
        cached(tmp_path, "key", make)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_keys_and_empty_arrays(tmp_path: Path) -> None:
    assert cache_key(1, {"b": 1, "a": 2}) == cache_key(1, {"a": 2, "b": 1}) != cache_key(1, {"a": 2, "b": 2})
    entry = cached(tmp_path, "key", lambda writer: writer.append("a", np.zeros(0, np.uint16)))
    assert entry.arrays["a"].dtype == np.uint16 and not len(read_entry(tmp_path / "key").arrays["a"])  # type: ignore[union-attr]
    assert json.loads((tmp_path / "key" / "index.json").read_text())["arrays"]["a"]["count"] == 0
