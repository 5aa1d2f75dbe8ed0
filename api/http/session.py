"""The key of a browser: an API key in a cookie (``api.pages.visitors`` sets it)."""

from __future__ import annotations

from fastapi import Request

COOKIE = "gristmill_key"


def key_of(request: Request) -> str | None:
    """The key of the cookie; None without one."""
    return request.cookies.get(COOKIE) or None
