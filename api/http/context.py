"""What routes are given: settings, database, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from api.access.principals import Principal, identify
from api.http.session import key_of
from api.problems import Problem
from api.settings import Settings
from api.store.database import Database


@dataclass(frozen=True)
class Context:
    """What one application has.

    Attributes:
        settings: of the service.
        database: of the service.
    """

    settings: Settings
    database: Database


def get_context(request: Request) -> Context:
    """The application's context."""
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(get_context)]


class Needs:
    """A dependency: the key must have a scope.  Every route has one; a test walks them all.

    Args:
        scope: such as ``runs:read``; None for routes that need no key at all.
    """

    def __init__(self, scope: str | None) -> None:
        self.scope = scope

    def __call__(self, request: Request, context: Ctx) -> Principal:
        if self.scope is None:
            return Principal("anonymous", frozenset())
        principal = identify(context.settings, context.database, shown_by(request))
        if principal is None:
            raise Problem("key-required", "send 'Authorization: Bearer KEY'", headers={"WWW-Authenticate": "Bearer"})
        if self.scope not in principal.scopes:
            raise Problem("forbidden", f"it lacks the scope {self.scope}")
        return principal


def shown_by(request: Request) -> str | None:
    """What a request shows: its ``Authorization``, or the key in the cookie of a browser."""
    key = key_of(request)
    return request.headers.get("authorization") or (f"Bearer {key}" if key else None)


def etag(row: Any) -> str:
    """Entity tag of a row: its version, which changes with what a person or a state decides, and when it changed last,
    which also tells of progress."""
    return f'"{row["version"]}-{row["updated_at"]}"'


def check_match(request: Request, row: Any) -> None:
    """``If-Match`` must name the version that is there, where it is given; progress in between does not matter."""
    wanted = request.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return
    versions = {tag.strip().strip('"').partition("-")[0] for tag in wanted.split(",")}
    if str(row["version"]) not in versions:
        raise Problem("changed-meanwhile", "read it again and repeat the change")
