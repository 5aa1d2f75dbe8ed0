"""Where a run keeps its files: any root that Arrow or fsspec opens, with atomic commit.

A file appears under its final name whole or not at all: on a local disk by temporary name, fsync and
rename, on an object store because a put is atomic there.  A result is done when its ``manifest.json`` exists;
the manifest is written last and names every file with its size and digest.  Two attempts at one result may
race: both write the same bytes under the same names, so it does not matter who wins.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import posixpath
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow.fs as pafs

from curation.errors import InputError, RunError
from pipelines.canonical import digest_bytes, digest_stream, pretty_json

TEMPORARY = ".tmp-"
_LEFTOVER = re.compile(re.escape(TEMPORARY) + r"[0-9]+-[0-9a-f]{8}$")
# Errors that trying again does not mend; others, of reading as of writing, are worth another attempt.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES)
MANIFEST = "manifest.json"


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a URI or path, and the path inside it.

    Arrow's own filesystems come first (local, ``s3://``, ``gs://``, ``hdfs://``), then any that fsspec knows.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    try:
        return cast(tuple[pafs.FileSystem, str], pafs.FileSystem.from_uri(uri))
    except (ValueError, NotImplementedError, OSError) as arrow_error:
        import fsspec

        try:
            filesystem, path = fsspec.core.url_to_fs(uri)
        except (ValueError, ImportError) as error:
            raise InputError(f"cannot open this location: {error} ({arrow_error})", uri) from None
        return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def without_user(uri: str) -> str:
    """An address without the name and password in it (RFC 3986, section 3.2.1)."""
    scheme, mark, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}" if mark else uri


class Storage:
    """The folder of one run.

    Args:
        uri: a local path or a URI.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.filesystem, self.root = resolve(uri)
        self.local = isinstance(self.filesystem, pafs.LocalFileSystem)
        # Bytes and digest of what was written here and is not committed yet, so that nothing is read back for it.
        self._written: dict[str, tuple[int, str]] = {}

    def path(self, name: str) -> str:
        """Full path, inside the filesystem, of a name below the root (``corpus/part-00000.parquet``)."""
        return posixpath.join(self.root, name)

    def exists(self, name: str) -> bool:
        """Whether a file is there, committed or not."""
        return bool(self.filesystem.get_file_info(self.path(name)).type == pafs.FileType.File)

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""
        info = self.filesystem.get_file_info(self.path(name))
        return int(info.size) if info.type == pafs.FileType.File else None

    def read(self, name: str) -> bytes:
        """The whole of a small file."""
        with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            return bytes(stream.read())

    def open(self, name: str) -> BinaryIO:
        """A seekable stream to read from (an Arrow ``NativeFile``)."""
        return cast(BinaryIO, self.filesystem.open_input_file(self.path(name)))

    def digest(self, name: str) -> str:
        """Digest of a file's bytes as they are now."""
        with self.filesystem.open_input_stream(self.path(name), compression=None) as stream:
            return digest_stream(cast(BinaryIO, stream))

    @contextmanager
    def writer(self, name: str) -> Iterator[BinaryIO]:
        """A stream whose bytes become ``name`` when the block ends well, and vanish when it does not."""
        self._written.pop(name, None)
        final = self.path(name)
        target = f"{final}{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}" if self.local else final
        try:
            self.filesystem.create_dir(posixpath.dirname(final), recursive=True)
            with self.filesystem.open_output_stream(target, compression=None) as stream:
                hashed = _HashedStream(stream)
                yield cast(BinaryIO, hashed)
            if self.local:
                _sync(target)
                os.replace(target, final)
                _sync(posixpath.dirname(final))
            self._written[name] = (hashed.count, hashed.digest())
        except BaseException as error:
            # An object store has published what was written so far: data without a manifest, and now not even that.
            with suppress(OSError):
                self.filesystem.delete_file(target)
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise RunError(f"cannot write {final}: {os.strerror(error.errno)}; nothing was committed") from error
            raise

    def write(self, name: str, data: bytes) -> None:
        """Write a small file atomically."""
        with self.writer(name) as stream:
            stream.write(data)

    def commit(self, folder: str, content: dict[str, Any], files: list[str]) -> dict[str, Any]:
        """Write the manifest that makes the files of a folder count.

        Args:
            folder: below the root; the manifest lies in it.
            content: what else the manifest says; plain and deterministic.
            files: names below the root, already written.

        Returns:
            The manifest.
        """
        manifest = {**content, "files": {name: self._entry(name) for name in sorted(files)}}
        name = posixpath.join(folder, MANIFEST)
        self.write(name, pretty_json(manifest))
        self._written.pop(name)
        return manifest

    def _entry(self, name: str) -> dict[str, Any]:
        """What a manifest says of a file.  It is read only where this object did not write it as it is now."""
        size, (count, digest) = self.size(name), self._written.pop(name, (-1, ""))
        return {"bytes": size, "digest": digest if count == size else self.digest(name)}

    def manifest(self, folder: str) -> dict[str, Any] | None:
        """The manifest of a committed result, or None when it is not done.

        A manifest whose files are missing or of another size does not count: the result is made again.
        """
        name = posixpath.join(folder, MANIFEST)
        if not self.exists(name):
            return None
        try:
            manifest = json.loads(self.read(name))
            complete = all(self.size(file) == entry["bytes"] for file, entry in manifest["files"].items())
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return manifest if complete else None

    def delete(self, name: str) -> None:
        """Delete a file if it is there."""
        self._written.pop(name, None)
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(name))

    def delete_folders(self, folder: str) -> None:
        """Delete the folders inside a folder; its own files stay."""
        selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
        for info in self.filesystem.get_file_info(selector):
            if info.type == pafs.FileType.Directory:
                with suppress(FileNotFoundError):
                    self.filesystem.delete_dir(info.path)

    def list(self, folder: str) -> list[str]:
        """Names, below the root and sorted, of all files under a folder."""
        selector = pafs.FileSelector(self.path(folder).rstrip("/"), recursive=True, allow_not_found=True)
        prefix = self.root.rstrip("/") + "/"
        infos = self.filesystem.get_file_info(selector)
        return sorted(info.path[len(prefix) :] for info in infos if info.type == pafs.FileType.File)

    def sweep(self, folders: Iterable[str]) -> int:
        """Delete what killed attempts left behind (files that never got their final name); return how many.

        Args:
            folders: below the root, to look into; files beside them are looked at too.
        """
        if not self.local or not os.path.isdir(self.root):
            return 0
        names = [name for folder in folders for name in self.list(folder)]
        names += [entry.name for entry in os.scandir(self.root) if entry.is_file()]
        leftovers = [name for name in names if _LEFTOVER.search(posixpath.basename(name))]
        for name in leftovers:
            self.delete(name)
        return len(leftovers)


class _HashedStream:
    """Hands on what is written, and keeps the count and the digest of it; a ``BinaryIO`` as far as Arrow asks."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.blake2b(digest_size=32)  # as digest_stream does
        self.count = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._stream.write(data)
        self._digest.update(data)
        self.count += size
        return size

    def tell(self) -> int:
        return self.count

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    def digest(self) -> str:
        return "blake2b:" + self._digest.hexdigest()


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_file(path: str | Path) -> str:
    """Digest of a local file."""
    with open(path, "rb") as stream:
        return digest_stream(stream)


__all__ = ["MANIFEST", "Storage", "digest_bytes", "digest_file", "resolve"]
