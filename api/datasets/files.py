"""Files of a version, of a dataset or a model, as an answer: whole or a range of bytes, streamed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from api.problems import Problem, responses
from pipelines.canonical import digest_bytes
from pipelines.look import FinishedRun
from pipelines.storage import MANIFEST, Storage

CHUNK = 1 << 20  # bytes
TYPES = {".parquet": "application/vnd.apache.parquet", ".json": "application/json", ".md": "text/markdown"}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CONTENT = {"application/json": {}, **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in (
    "application/vnd.apache.parquet", "text/markdown", "application/octet-stream")}}  # fmt: skip
FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": _CONTENT},
    206: {"description": "A range of it", "content": _CONTENT},
    304: {"description": "Not modified"},
    **responses("not-found", "conflict", "range-not-satisfiable"),
}
Files = Mapping[str, Mapping[str, Any]]  # ``bytes`` and ``digest`` by name, of a version


def file_response(storage: Storage, files: Files, path: str, request: Request) -> Response:
    """A file that a version has; any other is not there.

    One range of bytes is served (RFC 9110, section 14); several at once, or one that makes no sense, is answered with
    the whole, as the standard allows.
    """
    entry = files.get(path)
    if entry is None:
        raise Problem("not-found", "this version has no such file; `files` lists them all")
    size, tag = int(entry["bytes"]), f'"{entry["digest"].rpartition(":")[2]}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=31536000, immutable",
               "Content-Disposition": f'attachment; filename="{path.rpartition("/")[2]}"'}  # fmt: skip
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    first, last, status = 0, size - 1, 200
    asked = _range(request.headers.get("range"), size)
    if asked is not None and request.headers.get("if-range", tag) == tag:
        first, last = asked
        if first >= size:
            raise Problem("range-not-satisfiable", headers={"Content-Range": f"bytes */{size}"})
        status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    media_type = TYPES.get(path[path.rfind(".") :], "application/octet-stream")
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    stream: Any = storage.open(path)
    return StreamingResponse(_bytes(stream, first, last + 1), status, headers, media_type=media_type)


def entries(run: FinishedRun) -> dict[str, dict[str, Any]]:
    """Every file with its size and digest, the manifest among them."""
    assert run.manifest is not None
    manifest = run.storage.read(MANIFEST)
    return {**run.manifest["files"], MANIFEST: {"bytes": len(manifest), "digest": digest_bytes(manifest)}}


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that are asked for."""
    found = _RANGE.fullmatch(header or "")
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many
        return max(0, size - int(found[2])), size - 1
    first, last = int(found[1]), int(found[2] or size - 1)
    return None if last < first and found[2] else (first, min(last, size - 1))


def _bytes(stream: BinaryIO, first: int, end: int) -> Iterator[bytes]:
    with stream:
        stream.seek(first)
        while first < end:
            part = stream.read(min(CHUNK, end - first))
            if not part:
                raise OSError("the file is shorter than its manifest says")
            first += len(part)
            yield part
