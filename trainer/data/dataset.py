"""A published dataset version, opened to be read.

A version is a folder, local or on any filesystem that Arrow or fsspec opens, with a ``manifest.json`` that names
``corpus/*.parquet`` with bytes, rows and digest.  The schema's metadata says of which kind it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from trainer.errors import DataError
from trainer.ranges import suggestion

KINDS = {"corpus/1": "corpus", "preferences/1": "preferences", "instructions/1": "instructions"}
NEEDED = {"corpus": ("id", "text"), "preferences": ("prompt", "chosen", "rejected"), "instructions": ("messages",)}
CHUNK = 1 << 20


@dataclass(frozen=True)
class Part:
    """One Parquet file of a version."""

    name: str
    bytes: int
    rows: int
    digest: str


@dataclass(frozen=True)
class Dataset:
    """A version whose manifest and files are as published."""

    location: str
    kind: str
    manifest_digest: str
    parts: tuple[Part, ...]
    schema: pa.Schema
    filesystem: pafs.FileSystem
    root: str

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def batches(self, columns: Sequence[str], rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """The rows in published order, some columns of them, at most ``rows`` at a time."""
        self._known(columns)
        for part in self.parts:
            with _opened(self, part) as file:
                if file.metadata.num_rows != part.rows:
                    raise DataError(f"{self.location}: {part.name} has {file.metadata.num_rows} rows, not {part.rows}")
                try:
                    yield from file.iter_batches(batch_size=rows, columns=list(columns))
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"{self.location}: {part.name} cannot be read: {error}") from error

    def texts(self) -> Iterator[str]:
        """Every text in the version: of documents, or of the turns of messages."""
        for batch in self.batches(NEEDED[self.kind] if self.kind != "corpus" else ("text",)):
            for column in batch.columns:
                for value in column.to_pylist():
                    if isinstance(value, str):
                        yield value
                    else:
                        yield from (turn["content"] for turn in value or ())

    def check_digests(self) -> None:
        """Read every part and compare its digest with the manifest's."""
        for part in self.parts:
            digest = hashlib.blake2b(digest_size=32)
            with self.filesystem.open_input_stream(posixpath.join(self.root, part.name), compression=None) as stream:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
            if part.digest != f"blake2b:{digest.hexdigest()}":
                raise DataError(f"{self.location}: {part.name} is not as it was published (its digest differs)")

    def _known(self, columns: Iterable[str]) -> None:
        for name in columns:
            if name not in self.schema.names:
                hint = suggestion(name, self.schema.names)
                raise DataError(f"{self.location}: there is no column {name!r}{hint} among {self.schema.names}")


def open_dataset(
    location: str, kind: str | None = None, manifest_digest: str | None = None, check_digests: bool = False
) -> Dataset:
    """Open a version.

    Args:
        location: a folder, or a URI.
        kind: ``corpus``, ``preferences`` or ``instructions``, where only that will do.
        manifest_digest: of the ``manifest.json`` that was published, where it is known.
        check_digests: read all parts to compare their digests; sizes and rows are always compared.
    """
    filesystem, root = _resolve(location)
    data = _manifest_bytes(filesystem, root, location)
    digest = "blake2b:" + hashlib.blake2b(data, digest_size=32).hexdigest()
    if manifest_digest is not None and digest != manifest_digest:
        raise DataError(f"{location}: manifest.json is not the one that was published")
    parts = _parts(data, location)
    infos = filesystem.get_file_info([posixpath.join(root, part.name) for part in parts])
    for part, info in zip(parts, infos, strict=True):
        if info.type != pafs.FileType.File:
            raise DataError(f"{location}: {part.name} is missing")
        if info.size != part.bytes:
            raise DataError(f"{location}: {part.name} has {info.size} bytes, the manifest says {part.bytes}")
    dataset = Dataset(location, "", digest, parts, pa.schema([]), filesystem, root)
    with _opened(dataset, parts[0]) as file:
        schema = file.schema_arrow
    found = _kind(schema, location, kind)
    dataset = Dataset(location, found, digest, parts, schema, filesystem, root)
    dataset._known(NEEDED[found])
    if check_digests:
        dataset.check_digests()
    return dataset


def _kind(schema: pa.Schema, location: str, wanted: str | None) -> str:
    said = (schema.metadata or {}).get(b"gristmill.schema", b"").decode("utf-8", "replace")
    if said not in KINDS:
        raise DataError(f"{location}: its schema is {said or 'not named'!r}; one of {', '.join(KINDS)} can be read")
    if wanted is not None and KINDS[said] != wanted:
        raise DataError(f"{location}: these are {KINDS[said]}, and what is needed are {wanted}")
    return KINDS[said]


def _parts(data: bytes, location: str) -> tuple[Part, ...]:
    try:
        files: dict[str, dict[str, Any]] = json.loads(data)["files"]
        parts = tuple(
            Part(name, int(files[name]["bytes"]), int(files[name]["rows"]), str(files[name]["digest"]))
            for name in sorted(files)
            if name.startswith("corpus/") and name.endswith(".parquet")
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{location}: manifest.json is not that of a published dataset version") from None
    parts = tuple(part for part in parts if part.rows)
    if not parts:
        raise DataError(f"{location}: the dataset is empty")
    return parts


def _manifest_bytes(filesystem: pafs.FileSystem, root: str, location: str) -> bytes:
    try:
        with filesystem.open_input_stream(posixpath.join(root, "manifest.json"), compression=None) as stream:
            return bytes(stream.read())
    except OSError:
        raise DataError(f"{location}: there is no manifest.json, so no finished dataset version") from None


def _opened(dataset: Dataset, part: Part) -> pq.ParquetFile:
    """A part to read from; column chunks are buffered, never the whole file."""
    try:
        file = dataset.filesystem.open_input_file(posixpath.join(dataset.root, part.name))
        return pq.ParquetFile(file, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{dataset.location}: {part.name} cannot be read: {error}") from error


def _resolve(location: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a location, and the path inside it: Arrow's own first, then any that fsspec knows."""
    if "://" not in location:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(location))
    try:
        return cast("tuple[pafs.FileSystem, str]", pafs.FileSystem.from_uri(location))
    except (pa.ArrowException, ValueError, NotImplementedError, OSError) as arrow_error:
        try:
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise DataError(f"{location}: cannot be opened: {error} ({arrow_error})") from None
        return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path
