"""Files of fixed-size records in parts: what the steps of deduplication hand on to one another.

A file is the parts one after the other, each an array of one NumPy type in little-endian bytes.  The manifest of
the step names, for each part, how many records it has and the digest of its bytes, so that whoever reads a part
knows that it is whole.
"""

from __future__ import annotations

import hashlib
import mmap
import posixpath
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from curation.errors import RunError
from pipelines.storage import Storage

SUFFIX = ".records"


class StepWriter:
    """Writes what one task of a step gives; nothing of it counts before ``commit``.

    Args:
        folder: of the task, below the root of the storage.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self._files: dict[str, Any] = {}

    def write(self, name: str, dtype: np.dtype, parts: Iterable[np.ndarray]) -> None:
        """Write one file of records.

        Args:
            name: without folder and ending.
            parts: arrays of ``dtype``, each one part; taken one at a time.
        """
        described = []
        with self._storage.writer(_path(self._folder, name)) as stream:
            for part in parts:
                data = np.ascontiguousarray(part, dtype).tobytes()
                stream.write(data)
                described.append([len(part), _digest(data)])
        self._files[name] = {"dtype": _plain(dtype), "parts": described}

    def commit(self, **facts: Any) -> None:
        """Make it count, with some facts for the steps that follow."""
        files = [_path(self._folder, name) for name in self._files]
        self._storage.commit(self._folder, {"records": self._files, "facts": facts}, files)


class Step:
    """What one task of a step gave.

    Raises:
        RunError: when it was not committed.
    """

    def __init__(self, storage: Storage, folder: str) -> None:
        manifest = storage.manifest(folder)
        if manifest is None:
            raise RunError(f"{folder} is not there any more; run again")
        self.storage, self.folder = storage, folder
        self.facts: dict[str, Any] = manifest["facts"]
        self._files: dict[str, Any] = manifest["records"]

    def dtype(self, name: str) -> np.dtype:
        """Type of a file's records."""
        return _dtype(self._files[name]["dtype"])

    def sizes(self, name: str) -> list[int]:
        """Number of records of each part."""
        return [rows for rows, _ in self._files[name]["parts"]]

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._files

    def read(self, name: str, part: int) -> np.ndarray:
        """One part, read only.

        Raises:
            RunError: when its bytes are not those that were written.  The task's manifest is removed, so that
                the next run makes it again.
        """
        found = self.intact(name, part)
        if found is None:
            raise corrupt(self.storage, self.folder, name, f"part {part}")
        return found

    def intact(self, name: str, part: int) -> np.ndarray | None:
        """One part, read only; None when its bytes are not those that were written."""
        dtype, sizes = self.dtype(name), self.sizes(name)
        offset = sum(sizes[:part]) * dtype.itemsize
        source = self._open(name)
        try:
            source.seek(offset)
            data = source.read_buffer(sizes[part] * dtype.itemsize)
        finally:
            source.close()
        if len(data) != sizes[part] * dtype.itemsize or _digest(data) != self._files[name]["parts"][part][1]:
            return None
        return np.frombuffer(data, dtype)

    def concatenate(self, name: str, parts: Iterable[int]) -> np.ndarray:
        """Several parts, one after the other."""
        return np.concatenate([np.empty(0, self.dtype(name)), *(self.read(name, part) for part in parts)])

    def mapped(self, name: str) -> np.ndarray:
        """All records, mapped into memory without a check of digests: for reading a few of many.

        ``forget`` gives the memory back that reading has filled.
        """
        return _mapped(self.storage, _path(self.folder, name), self.dtype(name), sum(self.sizes(name)))

    def _open(self, name: str) -> Any:
        path = _path(self.folder, name)
        if self.storage.local:
            return pa.memory_map(self.storage.path(path))
        return self.storage.open(path)


def forget(mapped: np.ndarray) -> None:
    """Drop the pages of a mapped file from this process; they come again when they are read."""
    inner = getattr(mapped, "_mmap", None)
    if inner is not None:
        inner.madvise(mmap.MADV_DONTNEED)


def corrupt(storage: Storage, folder: str, name: str, what: str) -> RunError:
    """Take a damaged result out of the account, and say so."""
    storage.delete(posixpath.join(folder, "manifest.json"))
    path = storage.path(_path(folder, name))
    return RunError(f"{path}: {what} is not what was written (its digest differs); run again and it is made anew")


def _mapped(storage: Storage, path: str, type_: np.dtype, count: int) -> np.ndarray:
    if count == 0:
        return np.empty(0, type_)
    if storage.local:
        return np.memmap(storage.path(path), type_, "r", shape=(count,))
    with tempfile.TemporaryDirectory() as folder:  # the mapping keeps the file's bytes alive
        local = Path(folder) / "records"
        with storage.filesystem.open_input_stream(storage.path(path)) as source, local.open("wb") as target:
            while chunk := source.read(1 << 22):
                target.write(chunk)
        return np.memmap(local, type_, "r", shape=(count,))


def split(values: np.ndarray, target: np.ndarray, parts: int) -> list[np.ndarray]:
    """Sort records into parts; within a part they keep their order.

    Args:
        target: ``int[n]``, the part of each.
    """
    order = np.argsort(target, kind="stable")
    ends = np.searchsorted(target[order], np.arange(parts + 1))
    ordered = values[order]
    return [ordered[ends[part] : ends[part + 1]] for part in range(parts)]


def records(dtype: np.dtype, **columns: np.ndarray | int) -> np.ndarray:
    """Put columns together to records."""
    count = max((len(column) for column in columns.values() if isinstance(column, np.ndarray)), default=0)
    result = np.empty(count, dtype)
    for name, column in columns.items():
        result[name] = column
    return result


def _path(folder: str, name: str) -> str:
    return posixpath.join(folder, name + SUFFIX)


def _digest(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _plain(dtype: np.dtype) -> Any:
    """A type as plain, hashable data."""
    if dtype.names is None:
        return dtype.str
    return tuple((field[0], field[1], *(tuple(shape) for shape in field[2:])) for field in cast(Any, dtype.descr))


def _dtype(plain: Any) -> np.dtype:
    if isinstance(plain, str):
        return np.dtype(plain)
    return np.dtype([(name, type_, *(tuple(s) for s in shape)) for name, type_, *shape in cast(Sequence[Any], plain)])
