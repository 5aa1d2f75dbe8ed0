"""Files that pages need, from this package alone, under addresses that change with their bytes.

``/static/DIGEST/NAME``: the digest is of all files together, so that modules may import each other by relative names,
and whatever was read once is never asked for again.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.http.context import Needs
from api.problems import Problem

router = APIRouter(prefix="/static", include_in_schema=False)
TYPES = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
    ".LICENSE": "text/plain; charset=utf-8", ".NOTICE": "text/plain; charset=utf-8", ".json": "application/json",
}  # fmt: skip
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file as it is sent.

    Attributes:
        data: its bytes.
        zipped: the same, by gzip.
        kind: media type.
    """

    data: bytes
    zipped: bytes
    kind: str


@functools.cache
def assets() -> dict[str, Asset]:
    """All files by name."""
    found = {}
    root = files("api.pages") / "static"
    for folder, names in ((root, ""), (root / "vendor", "vendor/")):
        for item in folder.iterdir():
            kind = next((kind for end, kind in TYPES.items() if item.name.endswith(end)), None)
            if item.is_file() and kind is not None:
                data = item.read_bytes()
                found[names + item.name] = Asset(data, gzip.compress(data, 6, mtime=0), kind)
    return dict(sorted(found.items()))


@functools.cache
def digest() -> str:
    """Of names and bytes of all files, 16 hexadecimal digits."""
    sums = {name: hashlib.sha256(asset.data).hexdigest() for name, asset in assets().items()}
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()[:16]


def address(name: str) -> str:
    """Where a file is read from.

    Raises:
        KeyError: there is no such file.
    """
    assert name in assets(), f"there is no file {name} to link to"
    return f"/static/{digest()}/{name}"


@router.get("/{version}/{name:path}", name="page_asset")
def page_asset(version: str, name: str, request: Request, _: Annotated[object, Depends(Needs(None))]) -> Response:
    """One file; an old version of it is not kept."""
    asset = assets().get(name)
    if asset is None or version != digest():
        raise Problem("not-found", "there is no such file")
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.zipped, media_type=asset.kind, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.data, media_type=asset.kind, headers=headers)
