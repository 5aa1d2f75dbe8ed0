"""Keyset cursors: a place in an order that inserts do not move."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query

from api.problems import Fault, Problem

Limit = Annotated[int, Query(ge=1, le=200, description="How many.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before.")]


def encode(place: list[Any], filters: Mapping[str, Any]) -> str:
    """A cursor for the row behind ``place``; it is bound to the filters that it was made under."""
    packed = json.dumps([_mark(filters), *place], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def decode(cursor: str | None, filters: Mapping[str, Any], kinds: tuple[type, ...]) -> list[Any] | None:
    """The place of a cursor; None for the first page.

    Raises:
        Problem: for one that was not made here, or under other filters.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found: list[Any] = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        mark, place = found[0], found[1:]
    except (ValueError, TypeError, LookupError, binascii.Error, RecursionError):
        raise _refused("this is no cursor; use the 'next' of a page as it is") from None
    fits = len(place) == len(kinds) and all(type(v) is kind for v, kind in zip(place, kinds, strict=True))
    if not fits or any(isinstance(v, int) and abs(v) >= 1 << 62 for v in place):
        raise _refused("this is no cursor; use the 'next' of a page as it is")
    if any(isinstance(v, str) and not (v.isprintable() and v.isascii()) for v in place):
        raise _refused("this is no cursor; use the 'next' of a page as it is")
    if mark != _mark(filters):
        raise _refused("this cursor belongs to other filters; begin without one")
    return place


def _mark(filters: Mapping[str, Any]) -> str:
    packed = json.dumps(filters, sort_keys=True, default=str)
    return hashlib.blake2b(packed.encode(), digest_size=6).hexdigest()


def _refused(message: str) -> Problem:
    return Problem("invalid", message, [Fault(pointer="query/cursor", code="cursor", message=message)])
