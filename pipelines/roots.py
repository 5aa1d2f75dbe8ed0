"""Inputs must lie below the roots that were allowed, symbolic links followed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from curation.errors import InputError
from pipelines.inputs import Shard


def check_inside(shards: Sequence[Shard], roots: Sequence[str]) -> None:
    """Refuse shards outside all roots.

    Args:
        roots: absolute local folders and URIs.

    Raises:
        InputError: naming the first that is outside.
    """
    folders = [os.path.realpath(root).rstrip("/") + "/" for root in roots if "://" not in root]
    addresses = [root.partition("?")[0].rstrip("/") + "/" for root in roots if "://" in root]
    for shard in shards:
        if "://" in shard.uri:
            inside = any(shard.uri.startswith(address) for address in addresses)
        else:
            inside = any(os.path.realpath(shard.uri).startswith(folder) for folder in folders)
        if not inside:
            raise InputError("lies outside its source (through a symbolic link?)", shard.name)
