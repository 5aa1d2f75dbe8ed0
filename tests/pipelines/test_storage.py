"""Files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from curation.errors import RunError
from pipelines.storage import Storage


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
