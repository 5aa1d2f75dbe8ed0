"""The folder of a run is its own: nobody else's files are touched, and one driver at a time works in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow.fs as pafs

from curation.errors import InputError
from pipelines.inputs import Shard
from pipelines.locks import locked
from pipelines.storage import MANIFEST, Storage

MARK = ".gristmill"  # says that a folder is a run's; locked by the driver that works in it
_TEXT = b"The folder of a run of gristmill: files here are replaced and deleted by it.\n"

PUBLISHED = ("corpus", "ledger", "dropped")
ABOUT = ("run.json", "statistics.json", "README.md")
FOLDERS = (*PUBLISHED, "shards", "deduplication", "publication")


def check_output(storage: Storage, shards: Sequence[Shard], inputs: Sequence[str] = ()) -> None:
    """Refuse a folder that a run must not write to.

    Args:
        inputs: as the user named them.

    Raises:
        InputError: a file; a folder with files that are not a run's; or one that lies among the inputs, which would
            become inputs of the next run.
    """
    info = storage.filesystem.get_file_info(storage.root)
    if info.type == pafs.FileType.File:
        raise InputError("is a file; the output is a folder", storage.uri)
    if not storage.exists(MARK) and info.type == pafs.FileType.Directory:
        strangers = _strangers(storage)
        if strangers:
            raise InputError(
                f"holds files that are no run's ({strangers[0]}); choose a new or empty folder", storage.uri
            )
    root = storage.root.rstrip("/") + "/"
    for shard in shards:
        if storage.local and "://" not in shard.uri and os.path.abspath(shard.uri).startswith(root):
            raise InputError(f"lies inside the output {storage.uri}; choose another output", shard.uri)
    for entry in inputs:
        folder = os.path.abspath(entry).rstrip("/") + "/"
        if storage.local and os.path.isdir(entry) and root.startswith(folder):
            raise InputError(f"lies inside the input {entry}, and would be read by the next run", storage.uri)


def _strangers(storage: Storage) -> list[str]:
    """What lies in a folder without a mark; nothing where it is a run's all the same, as its shards say."""
    entries = storage.filesystem.get_file_info(pafs.FileSelector(storage.root))
    shards = storage.filesystem.get_file_info(pafs.FileSelector(storage.path("shards"), allow_not_found=True))
    names = {entry.base_name for entry in entries}
    if MARK in names:  # put there since it was looked for, by a driver that begins at the same time
        return []
    if shards and all(re.fullmatch("[0-9a-f]{32}", shard.base_name) for shard in shards):
        names -= {*FOLDERS, *ABOUT, MANIFEST, "index"}
    return sorted(names)


@contextmanager
def held(storage: Storage) -> Iterator[None]:
    """Mark the folder as a run's and keep other drivers out while the block runs (on local disks).

    The lock is the kernel's, so it ends with the process, however that ends.

    Raises:
        RunError: when another driver is at work.
    """
    if not storage.local:
        storage.write(MARK, _TEXT)
        yield
        return
    with locked(
        storage.path(MARK), f"{storage.uri}: another run is at work in this folder; wait for it, or end it", _TEXT
    ):
        yield
