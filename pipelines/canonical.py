"""Canonical JSON and digests: the same data always gives the same bytes and the same key."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Any, BinaryIO

CHUNK = 1 << 20


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys, no spaces, no NaN; UTF-8."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain
    ).encode()


def pretty_json(data: Any) -> bytes:
    """JSON for people to read, equally deterministic; ends with a newline."""
    text = json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def key_of(*parts: Any) -> str:
    """128-bit key, 32 hex digits, of any plain data (BLAKE2b of its canonical JSON)."""
    return hashlib.blake2b(canonical_json(parts), digest_size=16).hexdigest()


def digest_bytes(data: bytes) -> str:
    """``blake2b:<64 hex digits>`` of some bytes."""
    return "blake2b:" + hashlib.blake2b(data, digest_size=32).hexdigest()


def digest_stream(stream: BinaryIO) -> str:
    """``blake2b:<64 hex digits>`` of a stream read to its end."""
    digest = hashlib.blake2b(digest_size=32)
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return "blake2b:" + digest.hexdigest()
