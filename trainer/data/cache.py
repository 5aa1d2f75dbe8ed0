"""Tokens kept on disk: flat arrays, mapped into memory, made once.

    FOLDER/<key>/index.json     written last: names, types, counts and digests of the arrays
    FOLDER/<key>/<name>.bin     one flat array, little-endian

The key is a hash of what the tokens were made of.  An entry is made in a folder of another name, synced and renamed,
so it is there whole or not at all.  One process makes it while others wait for the lock; where the filesystem has no
locks they race, the first rename wins, and the others read their own, which holds the same bytes.  An entry whose
digests differ is put away and made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

INDEX = "index.json"
CHUNK = 1 << 22
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """Arrays by name, and what else was written down of them."""

    arrays: Arrays
    facts: Mapping[str, Any] = field(default_factory=dict)


def cache_key(*parts: Any) -> str:
    """32 hex digits of any plain data."""
    plain = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()


def cached(folder: Path, key: str, make: Callable[[Writer], None], check: bool = True) -> Entry:
    """The entry of a key; made where it is not there, or not as it was written.

    Args:
        folder: of the cache.
        key: from ``cache_key``.
        make: writes the arrays.  Must write the same for the same key.
        check: compare digests, which reads the entry once; sizes are always compared.
    """
    entry = read_entry(folder / key, check)
    if entry is not None:
        return entry
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{key}.lock") as alone:
        entry = read_entry(folder / key, check)
        if entry is not None:
            return entry
        if alone:
            for left_behind in folder.glob(f"{key}.tmp-*"):
                shutil.rmtree(left_behind, ignore_errors=True)
        return _made(folder, key, make, check)


def _made(folder: Path, key: str, make: Callable[[Writer], None], check: bool) -> Entry:
    temporary = folder / f"{key}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
    temporary.mkdir()
    try:
        writer = Writer(temporary)
        make(writer)
        writer.close()
        entry = read_entry(temporary, check=False)
        assert entry is not None, "what was just written can be read"
        _publish(temporary, folder / key, check)
        return entry  # mapped before the rename: stays valid whoever wins
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_entry(path: Path, check: bool = True) -> Entry | None:
    """An entry, or None where it is not there or damaged."""
    try:
        index = json.loads((path / INDEX).read_bytes())
        arrays = {}
        for name, described in index["arrays"].items():
            file, dtype, count = path / f"{name}.bin", np.dtype(described["dtype"]), described["count"]
            if file.stat().st_size != dtype.itemsize * count or (check and _digest(file) != described["digest"]):
                return None
            arrays[name] = np.memmap(file, dtype, "r", shape=(count,)) if count else np.zeros(0, dtype)
        return Entry(arrays, index["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Writer:
    """Appends to arrays of one entry."""

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, Any] = {}
        self._folder = folder
        self._files: dict[str, _File] = {}

    def append(self, name: str, values: np.ndarray) -> None:
        """Add values to the end of an array; the first ones fix its type."""
        if name not in self._files:
            self._files[name] = _File((self._folder / f"{name}.bin").open("wb"), values.dtype.newbyteorder("<"))
        self._files[name].append(values)

    def append_ragged(self, name: str, rows: Iterable[np.ndarray]) -> None:
        """Add rows of any lengths: all behind each other in ``name``, and in ``name.ends`` where each ends."""
        rows = list(rows)
        if not rows:
            return
        before = self._files[name].count if name in self._files else 0
        self.append(name, np.concatenate(rows))
        self.append(f"{name}.ends", before + np.cumsum([len(row) for row in rows], dtype=np.int64))

    def close(self) -> None:
        """Sync everything; the index comes last."""
        index = {"facts": self.facts, "arrays": {name: file.close() for name, file in sorted(self._files.items())}}
        with (self._folder / INDEX).open("wb") as stream:
            stream.write(json.dumps(index, sort_keys=True, indent=1, ensure_ascii=False).encode())
            stream.flush()
            os.fsync(stream.fileno())
        _sync(self._folder)


class _File:
    def __init__(self, stream: BinaryIO, dtype: np.dtype) -> None:
        self.count = 0
        self._stream, self._dtype, self._hash = stream, dtype, hashlib.blake2b(digest_size=32)

    def append(self, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, self._dtype).tobytes()
        self._stream.write(data)
        self._hash.update(data)
        self.count += len(values)

    def close(self) -> dict[str, Any]:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        return {"dtype": self._dtype.str, "count": self.count, "digest": self._hash.hexdigest()}


def _publish(temporary: Path, final: Path, check: bool) -> None:
    """Give an entry its name.  Where a good one is there already, that one stays."""
    try:
        os.rename(temporary, final)  # a folder is renamed over no other but an empty one
    except OSError:
        if read_entry(final, check) is not None:
            return
        away = final.with_name(f"{final.name}.tmp-bad-{secrets.token_hex(4)}")
        with suppress(FileNotFoundError):
            os.rename(final, away)
        shutil.rmtree(away, ignore_errors=True)
        os.rename(temporary, final)
    _sync(final.parent)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Hold a lock, which ends with the process; False where the filesystem has none."""
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
