"""Files of a version on this machine: complete and with the digest of the manifest, or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import requests

from api.client.http import Http, segment
from curation.errors import GristmillError

CHUNK = 1 << 16
ATTEMPTS = 5  # at one file, whose connection fails in the middle
ALGORITHM = "blake2b:"


class DownloadError(GristmillError):
    """A file that must not be taken."""


def download(
    http: Http, base: str, entries: list[dict[str, Any]], folder: Path, on_progress: Callable[[int, int], None]
) -> tuple[list[str], list[str]]:
    """Fetch files below a folder.

    Args:
        base: path of the version.
        entries: ``path``, ``bytes`` and ``digest`` of each file.

    Returns:
        The paths that were fetched, and those that were complete already.
    """
    places = {entry["path"]: inside(folder, entry["path"]) for entry in entries}  # all of them, before the first
    fetched, skipped = [], []
    done, total = 0, sum(int(entry["bytes"]) for entry in entries)
    for entry in entries:
        path = entry["path"]
        if is_complete(places[path], entry):
            skipped.append(path)
        else:
            _fetch(http, f"{base}/files/{segment(path, slashes=True)}", entry, places[path])
            fetched.append(path)
        done += int(entry["bytes"])
        on_progress(done, total)
    return fetched, skipped


def inside(folder: Path, path: str) -> Path:
    """Where a file belongs.

    Raises:
        DownloadError: its name leads out of the folder, or is none on some machine.
    """
    parts = path.split("/")
    strange = any(part in ("", ".", "..") or part.endswith((" ", ".")) for part in parts)
    if strange or any(character in '\\:*?"<>|' or not character.isprintable() for character in path):
        raise DownloadError(f"the service names a file {path!r}; such a name is not taken")
    place = folder.joinpath(*parts)
    if not place.parent.resolve().is_relative_to(folder.resolve()):
        raise DownloadError(f"{path!r} leads out of {folder} through a link that lies there")
    return place


def is_complete(place: Path, entry: dict[str, Any]) -> bool:
    """Whether a file is there with the right size and digest."""
    if place.is_symlink() or not place.is_file() or place.stat().st_size != int(entry["bytes"]):
        return False
    hasher = _hasher(entry)
    with open(place, "rb") as stream:
        while part := stream.read(CHUNK):
            hasher.update(part)
    return ALGORITHM + hasher.hexdigest() == str(entry["digest"])


def _hasher(entry: dict[str, Any]) -> blake2b:
    """Of as many bytes as the digest of a file has: 32 those of datasets, 16 those of models."""
    return blake2b(digest_size=min(max(len(str(entry["digest"]).removeprefix(ALGORITHM)) // 2, 16), 32))


def _fetch(http: Http, url: str, entry: dict[str, Any], place: Path) -> None:
    """Fetch one file under a name of its own, check it, and only then give it its name."""
    if not str(entry["digest"]).startswith(ALGORITHM):
        raise DownloadError(f"{entry['path']}: the kind of its digest is not known here: {entry['digest']!r}")
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:100]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            found = _receive(http, url, entry, stream)
        if found != entry["digest"]:
            raise DownloadError(
                f"{entry['path']}: what arrived is not what the manifest names ({found} instead of {entry['digest']})"
            )
        os.chmod(name, 0o644)
        os.replace(name, place)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _receive(http: Http, url: str, entry: dict[str, Any], stream: BinaryIO) -> str:
    """Write what arrives, go on where a connection failed; returns the digest, whatever the length."""
    hasher, size, wanted = _hasher(entry), 0, int(entry["bytes"])
    for attempt in range(ATTEMPTS):
        headers = {"Accept-Encoding": "identity"}
        if size:
            headers |= {"Range": f"bytes={size}-", "If-Range": f'"{entry["digest"].removeprefix(ALGORITHM)}"'}
        try:
            with http.open("GET", url, headers=headers) as response:
                if size and response.status_code != 206:
                    hasher, size = _hasher(entry), 0
                    stream.seek(0)
                    stream.truncate()
                for part in response.iter_content(CHUNK):
                    stream.write(part)
                    hasher.update(part)
                    size += len(part)
                    if size > wanted:
                        break
            break
        except requests.RequestException as error:
            if attempt == ATTEMPTS - 1:
                raise http.unreachable(error) from None
            time.sleep(0.2 * 2**attempt)
    return ALGORITHM + hasher.hexdigest()
