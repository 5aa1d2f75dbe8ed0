"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import RunError
from pipelines.storage import Storage

TABLE = pa.table({"text": [f"line {i} of many" for i in range(20_000)], "number": range(20_000)})


def test_a_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with pytest.raises(ZeroDivisionError), storage.writer("a/b.bin") as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert storage.list("") == []
    with storage.writer("a/b.bin") as stream:
        stream.write(b"whole")
        assert not storage.exists("a/b.bin")
    assert storage.read("a/b.bin") == b"whole"


def test_a_manifest_counts_only_while_its_files_are_there(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("k/data", b"12345")
    assert storage.manifest("k") is None
    storage.commit("k", {"rows": 1}, ["k/data"])
    manifest = storage.manifest("k")
    assert manifest is not None and manifest["rows"] == 1
    # BLAKE2b-256 of b"12345" by coreutils: b2sum -l 256
    assert manifest["files"]["k/data"]["digest"].startswith("blake2b:")
    (tmp_path / "k/data").write_bytes(b"1234")
    assert storage.manifest("k") is None
    (tmp_path / "k/manifest.json").write_bytes(b"{ not json")
    assert storage.manifest("k") is None


def entry(storage: Storage, name: str) -> dict[str, Any]:
    """What a manifest says of one file when it is committed now."""
    return storage.commit("k", {}, [name])["files"][name]


def of_bytes(data: bytes) -> dict[str, Any]:
    """What a manifest must say of them."""
    return {"bytes": len(data), "digest": "blake2b:" + hashlib.blake2b(data, digest_size=32).hexdigest()}


def as_parquet(stream: Any) -> None:
    with pq.ParquetWriter(stream, TABLE.schema, compression="zstd") as writer:
        writer.write_table(TABLE, row_group_size=3_000)


def as_arrow(stream: Any) -> None:
    with pa.ipc.new_file(stream, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=3_000)


def as_pieces(stream: Any) -> None:
    wide = np.arange(6, dtype="<u4").reshape(2, 3)
    assert stream.write(wide) == 24  # bytes, not rows
    for piece in (b"bytes", bytearray(b"more"), memoryview(b"a view"), pa.py_buffer(b"a buffer"), b""):
        stream.write(piece)
    assert stream.tell() == 24 + 5 + 4 + 6 + 8


@pytest.mark.parametrize("fill", [as_parquet, as_arrow, as_pieces, lambda stream: None])
def test_a_manifest_says_what_was_written_however_it_was(fill: Callable[[Any], None], tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with storage.writer("k/data") as stream:
        fill(stream)
    said = entry(storage, "k/data")
    assert said == of_bytes((tmp_path / "k/data").read_bytes())
    assert entry(Storage(str(tmp_path)), "k/data") == said  # one that has not written it reads it
    if fill is as_parquet:
        assert pq.read_table(tmp_path / "k/data").equals(TABLE)
    if fill is as_arrow:
        assert pa.ipc.open_file(tmp_path / "k/data").read_all().equals(TABLE)


def test_a_name_does_not_say_that_bytes_are_to_be_packed(tmp_path: Path) -> None:
    for uri in (str(tmp_path), f"memory://{tmp_path.name}"):
        storage = Storage(uri)
        storage.write("k/data.gz", b"12345")
        assert storage.read("k/data.gz") == b"12345"
        assert entry(storage, "k/data.gz") == of_bytes(b"12345")
        assert entry(Storage(uri), "k/data.gz") == of_bytes(b"12345")


def test_a_manifest_tells_of_damage_since_the_writing(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("k/data", b"12345")
    (tmp_path / "k/data").write_bytes(b"1234X")
    assert entry(storage, "k/data") == of_bytes(b"12345")
    # Once committed, it is not remembered any longer.
    assert entry(storage, "k/data") == of_bytes(b"1234X")


def test_a_file_of_another_size_or_with_another_past_is_read(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("k/data", b"12345")
    (tmp_path / "k/data").write_bytes(b"somebody else's")
    assert entry(storage, "k/data") == of_bytes(b"somebody else's")
    storage.write("k/data", b"12345")
    storage.delete("k/data")
    (tmp_path / "k/data").write_bytes(b"54321")
    assert entry(storage, "k/data") == of_bytes(b"54321")
    storage.write("k/data", b"first")
    with pytest.raises(ZeroDivisionError), storage.writer("k/data") as stream:
        stream.write(b"other")
        raise ZeroDivisionError
    (tmp_path / "k/data").write_bytes(b"third")
    assert entry(storage, "k/data") == of_bytes(b"third")


def test_leftovers_of_killed_attempts_are_swept(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a", b"1")
    storage.write("shards/b", b"1")
    for name in ("a.tmp-77-deadbeef", "shards/b.tmp-77-deadbeef"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("keep.tmp-me", "shards/b.tmp-77"):
        (tmp_path / name).write_bytes(b"not a leftover")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "c.tmp-77-deadbeef").write_bytes(b"in a folder that is no run's")
    assert storage.sweep(["shards"]) == 2
    assert storage.list("") == ["a", "keep.tmp-me", "mine/c.tmp-77-deadbeef", "shards/b", "shards/b.tmp-77"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    with (
        pytest.raises(RunError, match="No space left on device"),
        storage.writer("x"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert storage.list("") == []
