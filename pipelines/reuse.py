"""A run may begin with what another run computed: results are found by their keys, wherever they came from."""

from __future__ import annotations

import os
import posixpath
import shutil

from pipelines.storage import TEMPORARY, Storage

REUSED = ("shards", "deduplication")


def reuse(parent: str, child: str) -> int:
    """Bring the committed results of one run into the folder of another; return the number of files.

    Files are immutable once they have their names, so on one local disk they are linked, not copied.  Manifests come
    last, as they always do.  What is there already stays.
    """
    source, target = Storage(parent), Storage(child)
    names = [name for folder in REUSED for name in source.list(folder) if TEMPORARY not in posixpath.basename(name)]
    there = {name for folder in REUSED for name in target.list(folder)}
    names = [name for name in names if name not in there]
    for name in sorted(names, key=lambda name: (posixpath.basename(name) == "manifest.json", name)):
        if source.local and target.local and _link(source.path(name), target.path(name)):
            continue
        with source.open(name) as stream, target.writer(name) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    return len(names)


def _link(source: str, target: str) -> bool:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return True
    except OSError:  # another disk, or one that has no links
        return False
    return True
