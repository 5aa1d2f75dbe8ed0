"""Inputs: what a folder, a glob, a URI and a list of paths stand for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.fs as pafs
import pytest

from curation.errors import InputError
from pipelines import inputs
from pipelines.inputs import find_shards
from pipelines.storage import resolve


def put(folder: Path, *names: str) -> Path:
    """Files, each with its own name as content."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def found(*entries: str | Path, base: str | None = None) -> set[str]:
    """What the shards hold that the entries stand for, read through their URIs."""
    shards = find_shards([str(entry) for entry in entries], base)
    contents = [shard.open().read().decode() for shard in shards]
    assert len(set(contents)) == len(contents)
    return set(contents)


# --- folders


def test_a_folder_gives_its_shards_and_passes_over_the_rest(tmp_path: Path) -> None:
    put(tmp_path, "a.warc.gz", "deep/er/b.jsonl", "README", "_SUCCESS", "a.warc.gz.crc", "list.paths")
    put(tmp_path, ".hidden.jsonl", ".git/c.jsonl", "_temporary/0/d.jsonl", "deep/_e.parquet")
    assert found(tmp_path) == {"a.warc.gz", "deep/er/b.jsonl"}


def test_a_folder_below_a_hidden_one_counts(tmp_path: Path) -> None:
    assert found(put(tmp_path / "_out" / ".x", "a.jsonl")) == {"a.jsonl"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "the folder holds no file$"),
        (("b/README", "c.txt"), r"no file of a known format, 'b/README' is none; understood are .*\.warc\.gz"),
        (("README", "_part/x.jsonl"), "name '_part/x.jsonl' by itself"),
    ],
)
def test_a_folder_without_a_shard_is_refused(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_shards([str(put(tmp_path, *names))])
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize("pattern", ["README", "READ*", "*"])
def test_what_is_named_must_have_a_format(pattern: str, tmp_path: Path) -> None:
    put(tmp_path, "README", "a.jsonl")
    with pytest.raises(InputError, match="cannot tell the format") as caught:
        find_shards([str(tmp_path / pattern)])
    assert caught.value.where == str(tmp_path / "README")


def test_what_is_named_by_itself_may_be_hidden(tmp_path: Path) -> None:
    put(tmp_path, "_a.jsonl", ".b.jsonl")
    assert found(tmp_path / "_a.jsonl", tmp_path / ".b.jsonl") == {"_a.jsonl", ".b.jsonl"}


# --- URIs


@pytest.fixture
def memory() -> Iterator[pafs.FileSystem]:
    store = fsspec.filesystem("memory")
    for name in ("d/a.jsonl", "d/deep/b 1%.jsonl", "d/README", "e/c.jsonl"):
        store.pipe(f"/shelf/{name}", name.encode())
    store.pipe("/shelf/l.paths", b"d/a.jsonl\ne\n")
    yield store
    store.rm("/shelf", recursive=True)


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("memory://shelf/d", {"d/a.jsonl", "d/deep/b 1%.jsonl"}),
        ("memory://shelf/d/", {"d/a.jsonl", "d/deep/b 1%.jsonl"}),
        ("memory:///shelf/d", {"d/a.jsonl", "d/deep/b 1%.jsonl"}),
        ("memory://shelf/*/?.jsonl", {"d/a.jsonl", "e/c.jsonl"}),
        ("memory://shelf/**/*.jsonl", {"d/a.jsonl", "d/deep/b 1%.jsonl", "e/c.jsonl"}),
        ("memory://shelf/d/a.jsonl", {"d/a.jsonl"}),
        ("memory://shelf/l.paths", {"d/a.jsonl", "e/c.jsonl"}),
    ],
)
def test_fsspec(entry: str, names: set[str], memory: pafs.FileSystem) -> None:
    assert found(entry) == names


def test_arrow_uris_are_percent_encoded(tmp_path: Path) -> None:
    folder = put(tmp_path / "a b", "x 1%20.jsonl", "y#2?.jsonl", "dt=2024+1/z.jsonl")
    everything = {"x 1%20.jsonl", "y#2?.jsonl", "dt=2024+1/z.jsonl"}
    uri = folder.as_uri()
    assert "%20" in uri
    assert found(uri) == found(uri + "/") == found(uri + "/**/*.jsonl") == everything
    # No URIs to Arrow: fsspec opens these.
    assert found(f"file://{folder}") == found(f"file://{tmp_path}/./a b/../a b") == everything
    assert found(f"file://{tmp_path}/[a]*/**/*.jsonl") == everything


class Web(fsspec.AbstractFileSystem):
    """A store whose paths are whole addresses, as those of ``https://`` are."""

    protocol = "web"
    pages = ("web://host/d/a.jsonl", "web://host/d/b.jsonl")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.rstrip("/")

    def info(self, path: str, **_: object) -> dict[str, object]:
        if path in self.pages:
            return {"name": path, "size": len(path), "type": "file", "ETag": f'"{path}"'}
        if any(page.startswith(path + "/") for page in self.pages):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: object) -> list[object]:
        entries = [self.info(page) for page in self.pages if page.startswith(path + "/")]
        return entries if detail else [entry["name"] for entry in entries]  # type: ignore[return-value]


@pytest.mark.parametrize("entry", ["web://host/d", "web://host/d/", "web://host/d/*.jsonl"])
def test_stores_whose_paths_are_whole_addresses(entry: str) -> None:
    fsspec.register_implementation("web", Web, clobber=True)
    assert {shard.uri for shard in find_shards([entry])} == set(Web.pages)


OPTIONS = "?region=eu-north-1&scheme=http&endpoint_override=localhost%3A9000"


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (f"s3://bucket/d{OPTIONS}", {"d/a.jsonl", "d/b c.jsonl"}),
        (f"s3://bucket/d/{OPTIONS}", {"d/a.jsonl", "d/b c.jsonl"}),
        (f"s3://key:sec%2Fret@bucket/d/*.jsonl{OPTIONS}", {"d/a.jsonl", "d/b c.jsonl"}),
        (f"s3://bucket/l.paths{OPTIONS}", {"d/a.jsonl", "e/f.jsonl"}),
    ],
)
def test_options_and_credentials_hold_for_all_that_is_found(
    entry: str, names: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "bucket/d/a.jsonl", "bucket/d/b c.jsonl", "bucket/e/f.jsonl")
    (tmp_path / "bucket" / "l.paths").write_text("d/a.jsonl\ne\n")
    asked: list[pafs.FileSystem] = []

    def on_disk(uri: str) -> tuple[pafs.FileSystem, str]:
        store, path = resolve(uri)  # Arrow takes the URI apart; only what it would fetch comes from the disk
        asked.append(store)
        return pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), path

    monkeypatch.setattr(inputs, "resolve", on_disk)
    shards = find_shards([entry])
    assert {shard.open().read().decode() for shard in shards} == {f"bucket/{name}" for name in names}
    expected, _ = pafs.S3FileSystem.from_uri(entry)
    assert expected.region == "eu-north-1"
    assert all(store.equals(expected) for store in asked)
    assert sorted(shard.name for shard in shards) == sorted(Path(n).name.replace(" ", "%20") for n in names)


def test_base_of_a_list_may_have_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "bucket/d/a.jsonl", "elsewhere/b.jsonl")
    (tmp_path / "l.paths").write_text("d/a.jsonl\n")
    sub = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    monkeypatch.setattr(inputs, "resolve", lambda uri: (sub, resolve(uri)[1]) if "://" in uri else resolve(uri))
    (shard,) = find_shards([str(tmp_path / "l.paths")], base=f"s3://bucket{OPTIONS}")
    assert shard.uri == f"s3://bucket/d/a.jsonl{OPTIONS}"


def test_names_leave_options_out_unless_only_they_differ(memory: pafs.FileSystem) -> None:
    names = inputs._short_names(
        ["s3://b/x/a.jsonl?endpoint=http://h/i", "s3://b/y/a.jsonl", "s3://b/c.jsonl?v=1", "s3://b/c.jsonl?v=2"]
    )
    assert names == ["x/a.jsonl", "y/a.jsonl", "s3://b/c.jsonl?v=1", "s3://b/c.jsonl?v=2"]
