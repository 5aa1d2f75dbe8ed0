"""Inputs must lie below the roots that were allowed, symbolic links followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from curation.errors import InputError


def inside(roots: Sequence[str]) -> Callable[[str], None]:
    """A check that refuses what lies outside of all roots; nothing is opened for it.

    Args:
        roots: absolute local folders and URIs.

    Returns:
        A function of a path or URI that raises InputError.
    """
    folders = [os.path.realpath(root).rstrip("/") + "/" for root in roots if "://" not in root]
    addresses = [(_body(root).rstrip("/") + "/", _options(root)) for root in roots if "://" in root]

    def check(uri: str) -> None:
        if "://" not in uri:
            fits = any((os.path.realpath(uri) + "/").startswith(folder) for folder in folders)
        else:
            body = _body(uri).rstrip("/") + "/"
            fits = ".." not in unquote(body).split("/") and any(
                body.startswith(address) and _options(uri) == options for address, options in addresses
            )
        if not fits:
            raise InputError("lies outside its source (through a symbolic link?)", uri.rpartition("/")[2] or None)

    return check


def _body(uri: str) -> str:
    return uri.partition("?")[0]


def _options(uri: str) -> str:
    """What a URI says of its store; another endpoint is another store."""
    return uri.partition("?")[2]
