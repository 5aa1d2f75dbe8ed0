"""Inputs and outputs in an object store: Arrow's own S3, against a server on this machine."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs as pafs
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curation.errors import RunError
from pipelines.inputs import find_shards
from pipelines.output import ABOUT, PUBLISHED
from pipelines.storage import MANIFEST, Storage
from pipelines.verify import verify_run
from tests.support.corpus import chinese, english, write_jsonl
from tests.support.runs import run_recipe, tree, write_recipe
from workers.driver import RunResult

Bucket = Callable[..., str]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Address of a store that lives as long as these tests."""
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, request: pytest.FixtureRequest) -> Bucket:
    """A new bucket; called with a path inside it, it gives the URI."""
    name = "b-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    store = pafs.S3FileSystem(
        access_key="key", secret_key="secret", endpoint_override=endpoint, scheme="http", region="us-east-1",
        allow_bucket_creation=True,
    )  # fmt: skip
    store.create_dir(name)
    options = f"endpoint_override=http://{endpoint}&scheme=http&region=us-east-1"
    return lambda path="": f"s3://key:secret@{name}/{path}?{options}".replace("/?", "?")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two of them, with copies, near copies and what is broken."""
    folder = tmp_path_factory.mktemp("shards")
    first = [{"id": f"a{i}", "text": english(i)} for i in range(6)] + ["{ not json", {"id": "copy", "text": english(0)}]
    near = english(1, 40).replace("on day", "on the day", 1)
    second = [{"id": f"b{i}", "text": chinese(i)} for i in range(3)]
    second += [{"id": "long", "text": english(1, 40)}, {"id": "near", "text": near}]
    return [write_jsonl(folder / "first.jsonl", first), write_jsonl(folder / "second.jsonl.gz", second)]


@pytest.fixture(scope="module")
def on_disk(shards: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the run over them holds on a local disk."""
    folder = tmp_path_factory.mktemp("on-disk")
    run_recipe(write_recipe(folder), shards, folder / "out")
    return tree(folder / "out")


def run_on(output: str, recipe: Path, shards: list[Path] | list[str], workers: int = 1) -> RunResult:
    """Run with URIs where others have paths."""
    return run_recipe(recipe, shards, output, workers)  # type: ignore[arg-type]


def stored(uri: str) -> dict[str, str]:
    """``tree`` of a folder in the store."""
    storage = Storage(uri)
    return {name: hashlib.sha256(storage.read(name)).hexdigest() for name in storage.list("")}


def upload(uri: str, *paths: Path) -> None:
    for path in paths:
        Storage(uri).write(path.name, path.read_bytes())


# --- inputs


@pytest.mark.parametrize("pattern", ["crawl", "crawl/*.jsonl*", "**/*.jsonl*"])
def test_shards_are_found_in_a_bucket_and_keep_their_identity(pattern: str, bucket: Bucket, shards: list[Path]) -> None:
    upload(bucket("crawl"), *shards)
    Storage(bucket("crawl")).write("README", b"no shard")
    found = find_shards([bucket(pattern)])
    local = find_shards([str(path) for path in shards])
    assert [(s.identity, s.name, s.size, s.digest) for s in found] == [
        (s.identity, s.name, s.size, s.digest) for s in local
    ]
    for there, here in zip(found, local, strict=True):
        assert there.open().read() == here.open().read()


def test_a_digest_that_the_store_tells_spares_the_reading() -> None:
    class Telling(MemoryFileSystem):
        """Tells digests, as object stores do, and cannot be read."""

        protocol = "telling"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.replace("telling://", "memory://"))

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            return {**super().info(path, **options), "ETag": '"d41d8"'}

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            assert mode != "rb", "was read"
            return super()._open(path, mode, **options)

    fsspec.register_implementation("telling", Telling, clobber=True)
    Telling().pipe_file("/crawl/a.jsonl", b"{}\n")
    (shard,) = find_shards(["telling://crawl/a.jsonl"])
    assert (shard.digest, shard.size) == ("etag:d41d8", 3)


# --- outputs


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_gives_the_same_bytes_as_on_a_disk(
    workers: int, bucket: Bucket, shards: list[Path], on_disk: dict[str, str], tmp_path: Path
) -> None:
    recipe, output = write_recipe(tmp_path), bucket("runs/one")
    run_on(output, recipe, shards, workers)
    assert stored(output) == on_disk
    assert len(verify_run(output)) == 6
    assert run_on(output, recipe, shards).did_nothing


def test_a_run_over_a_bucket_decides_as_one_over_files(
    bucket: Bucket, shards: list[Path], on_disk: dict[str, str], tmp_path: Path
) -> None:
    upload(bucket("crawl"), *shards)
    run_on(bucket("out"), write_recipe(tmp_path), [bucket("crawl")])
    # A publication's name hangs on where its shards lie; what was computed, and what came out, does not.
    there = stored(bucket("out"))
    for folder in ("shards/", "deduplication/"):
        computed = {name: digest for name, digest in there.items() if name.startswith(folder)}
        assert computed == {name: digest for name, digest in on_disk.items() if name.startswith(folder)}
    for name in (*PUBLISHED, "statistics.json"):
        assert [d for n, d in there.items() if n.startswith(name)] == [
            d for n, d in on_disk.items() if n.startswith(name)
        ]
    published = Storage(bucket("out"))
    for name in ("run.json", "manifest.json", "README.md", "statistics.json"):
        assert b"secret" not in published.read(name)
    assert b'"uri": "s3://b-' in published.read("run.json")
    verify_run(bucket("out"))


def test_verification_finds_a_changed_object(bucket: Bucket, shards: list[Path], tmp_path: Path) -> None:
    output = bucket("out")
    run_on(output, write_recipe(tmp_path), shards)
    storage = Storage(output)
    name = storage.list("corpus")[0]
    data = bytearray(storage.read(name))
    data[len(data) // 2] ^= 1
    storage.write(name, bytes(data))
    with pytest.raises(RunError, match=r"its digest is not the one in manifest\.json"):
        verify_run(output)


# --- interruptions


def test_a_failed_write_leaves_nothing_that_counts(bucket: Bucket) -> None:
    storage = Storage(bucket("out"))
    with pytest.raises(ZeroDivisionError), storage.writer("k/data") as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert storage.list("") == []
    with pytest.raises(FileNotFoundError):
        storage.commit("k", {}, ["k/data"])
    assert storage.manifest("k") is None


WRITE_AND_WAIT = """
import sys, time
from pipelines.storage import Storage
with Storage(sys.argv[1]).writer("k/data") as stream:
    stream.write(bytes(24 << 20))  # several parts of an upload
    stream.flush()
    print("written", flush=True)
    time.sleep(600)
"""


def test_a_killed_writer_leaves_what_was_there_before(bucket: Bucket) -> None:
    storage = Storage(bucket("out"))
    storage.write("k/data", b"whole")
    storage.commit("k", {}, ["k/data"])
    with subprocess.Popen([sys.executable, "-c", WRITE_AND_WAIT, storage.uri], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"written\n"
        writer.kill()
    assert storage.list("") == ["k/data", "k/manifest.json"]
    assert storage.read("k/data") == b"whole"
    assert storage.manifest("k") is not None


def test_a_killed_run_goes_on(bucket: Bucket, shards: list[Path], on_disk: dict[str, str], tmp_path: Path) -> None:
    recipe, storage = write_recipe(tmp_path), Storage(bucket("out"))
    command = [sys.executable, "-m", "cli.main", "run", str(recipe), *map(str, shards), "-o", storage.uri]
    with subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as driver:
        while not any(name.endswith(MANIFEST) for name in storage.list("shards")):
            assert driver.poll() is None, driver.stdout.read().decode()  # type: ignore[union-attr]
            time.sleep(0.01)
        driver.kill()
    assert driver.returncode == -signal.SIGKILL
    assert storage.manifest("") is None
    committed = sum(name.endswith(MANIFEST) for name in storage.list("shards"))
    again = run_on(storage.uri, recipe, shards)
    assert stored(storage.uri) == on_disk
    results = sum(name.startswith("shards/") and name.endswith(MANIFEST) for name in on_disk)
    assert sum(again.computed.values()) == results - committed


def test_two_drivers_at_once_leave_no_other_bytes(
    bucket: Bucket, shards: list[Path], on_disk: dict[str, str], tmp_path: Path
) -> None:
    """Nobody keeps the second one out of a store.  It may fail, as files are cleared away under it; no more."""
    recipe, output = write_recipe(tmp_path), bucket("out")
    command = [sys.executable, "-m", "cli.main", "run", str(recipe), *map(str, shards), "-o", output, "--workers", "1"]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [driver.communicate()[0] for driver in drivers]
    assert {driver.returncode for driver in drivers} <= {0, 1}, said
    run_on(output, recipe, shards)
    published = {name: digest for name, digest in on_disk.items() if name.startswith((*PUBLISHED, *ABOUT, MANIFEST))}
    assert published.items() <= stored(output).items()
    assert len(verify_run(output)) == 6
