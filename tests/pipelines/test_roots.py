"""Nothing outside of the allowed roots is looked at, however an input leads there."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import pipelines.inputs
from curation.errors import InputError
from pipelines.inputs import find_shards
from pipelines.roots import inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_text('{"text": "a"}\n')
    (folder / "deep" / "b.jsonl").write_text('{"text": "b"}\n')
    (tmp_path / "rootless.jsonl").write_text('{"text": "outside"}\n')
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c.jsonl").write_text('{"text": "outside"}\n')
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that was resolved to be looked at."""
    seen: list[str] = []
    resolve: Callable[[str], object] = pipelines.inputs.resolve

    def telling(uri: str) -> object:
        seen.append(uri)
        return resolve(uri)

    monkeypatch.setattr(pipelines.inputs, "resolve", telling)
    return seen


def names(root: Path, *inputs: str) -> list[str]:
    return sorted(shard.name for shard in find_shards(inputs, check=inside([str(root)])))


@pytest.mark.parametrize("entry", ["", "/", "/*.jsonl", "/**/*.jsonl", "/a.jsonl", "/deep/../a.jsonl"])
def test_what_lies_inside_is_found(root: Path, entry: str) -> None:
    assert names(root, f"{root}{entry}")


@pytest.mark.parametrize(
    "entry", ["/../outside/c.jsonl", "/../outside/*.jsonl", "/../*/c.jsonl", "/../rootless.jsonl", "less.jsonl", "/.."]
)
def test_what_lies_outside_is_refused_and_not_looked_at(root: Path, opened: list[str], entry: str) -> None:
    with pytest.raises(InputError, match="outside its source"):
        names(root, f"{root}{entry}")
    assert not opened


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_that_leads_out_is_refused(root: Path, kind: str) -> None:
    target = root.parent / "outside"
    (root / "link").symlink_to(target if kind == "folder" else target / "c.jsonl")
    if kind == "file":
        os.rename(root / "link", root / "link.jsonl")
    with pytest.raises(InputError, match="outside its source"):
        names(root, str(root / ("link" if kind == "folder" else "link.jsonl")))
    (root / "again.jsonl").symlink_to(target / "c.jsonl")
    with pytest.raises(InputError, match="outside its source"):
        names(root, f"{root}/*.jsonl")


@pytest.mark.parametrize("line", ["../outside/c.jsonl", "/etc/hostname.jsonl", "s3://elsewhere/c.jsonl", "../*.jsonl"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_list_names_nothing_outside(root: Path, opened: list[str], line: str, packed: bool) -> None:
    data = f"a.jsonl\n{line}\n".encode()
    path = root / ("list.paths.gz" if packed else "list.paths")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(InputError, match="outside its source"):
        names(root, str(path))
    assert not [uri for uri in opened if "outside" in uri or "etc" in uri or "elsewhere" in uri]
    path.write_bytes(gzip.compress(b"a.jsonl\ndeep\n") if packed else b"a.jsonl\ndeep\n")
    assert len(names(root, str(path))) == 2


def test_a_list_outside_is_not_opened(root: Path, opened: list[str]) -> None:
    (root.parent / "list.paths").write_text("root/a.jsonl\n")
    (root / "list.paths").symlink_to(root.parent / "list.paths")
    for entry in (root.parent / "list.paths", root / "list.paths"):
        with pytest.raises(InputError, match="outside its source"):
            names(root, str(entry))
    assert not opened


@pytest.mark.parametrize(
    ("uri", "fits"),
    [
        ("s3://b/crawl/x.jsonl?region=eu", True),
        ("s3://b/crawl?region=eu", True),
        ("s3://b/crawl/*?region=eu", True),
        ("s3://b/crawl/x.jsonl", False),
        ("s3://b/crawl/x.jsonl?region=eu&endpoint_override=evil", False),
        ("s3://b/crawler/x.jsonl?region=eu", False),
        ("s3://b/crawl/../x.jsonl?region=eu", False),
        ("s3://b/crawl/%2e%2e/x.jsonl?region=eu", False),
        ("s3://other/crawl/x.jsonl?region=eu", False),
        ("file:///etc/hostname", False),
        ("/etc/hostname", False),
    ],
)
def test_a_bucket_is_a_root_too(uri: str, fits: bool) -> None:
    check = inside(["s3://b/crawl?region=eu"])
    if fits:
        check(uri)
    else:
        with pytest.raises(InputError, match="outside its source"):
            check(uri)
