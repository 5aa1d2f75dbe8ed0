"""Who looks at a page: the key in a cookie that no script can read.

A visitor signs in with an API key.  It stands in a cookie until the browser is closed or the visitor signs out;
``HttpOnly``, ``SameSite=Strict``, and ``Secure`` where the service is reached by HTTPS.  What changes something is also
refused from other origins (``api.http.guard``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from api.access.principals import Principal, identify
from api.http.context import Context, Ctx, shown_by
from api.http.session import COOKIE, key_of
from api.problems import Problem


class SignIn(Exception):
    """Somebody must say who they are first."""


@dataclass(frozen=True)
class Visitor:
    """Somebody who looks at a page.

    Attributes:
        request: what was asked.
        context: of the application.
        principal: who asks.
        signed_in: by a cookie; without keys everybody is let in.
    """

    request: Request
    context: Context
    principal: Principal
    signed_in: bool

    def may(self, scope: str) -> bool:
        """Whether something that needs a scope would be allowed."""
        return scope in self.principal.scopes

    @property
    def live(self) -> bool:
        """Whether only a part of the page is asked for, by htmx."""
        return self.request.headers.get("hx-request") == "true"


class Visits:
    """A dependency: pages are shown to those whose key has all of these scopes."""

    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes

    def __call__(self, request: Request, context: Ctx) -> Visitor:
        key = key_of(request)
        principal = identify(context.settings, context.database, shown_by(request))
        if principal is None and key and not context.settings.keys_required:
            principal = identify(context.settings, context.database, None)  # a cookie that is worth nothing any more
        if principal is None:
            raise SignIn
        for scope in self.scopes:
            if scope not in principal.scopes:
                raise Problem("forbidden", f"it lacks the scope {scope}")
        return Visitor(request, context, principal, bool(key))


Looker = Annotated[Visitor, Depends(Visits("self:read"))]


def remember(response: Response, key: str, context: Context) -> None:
    """Set the cookie."""
    secure = urlsplit(context.settings.url).scheme == "https"
    response.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=secure, path="/")


def forget(response: Response) -> None:
    """Delete the cookie."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def to_sign_in(request: Request) -> Response:
    """The way to the page that asks for a key, and back."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = here if request.method == "GET" else "/"
    return RedirectResponse(f"/login?next={quote(back, safe='')}", status_code=303)


def safe_way(path: str | None) -> str:
    """A way back that stays here: a path of this service, never another host."""
    if not path or not path.startswith("/") or path.startswith(("//", "/\\")) or any(c in path for c in "\\\r\n\t"):
        return "/"
    return path


async def form_of(request: Request) -> dict[str, str]:
    """Fields of a form; each stands there once.

    Raises:
        Problem: it is no form, or a field stands there twice.
    """
    body = (await request.body()).decode("utf-8", "replace")
    pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=1000)
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise Problem("malformed-request", "a field of a form stands there once")
        fields[name] = value.replace("\r\n", "\n")
    return fields


Form = Annotated[dict[str, Any], Depends(form_of)]
