"""Signing in and out, and the colours of the pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.access.principals import identify
from api.http.context import Ctx, Needs
from api.pages.render import THEME, THEMES, bare
from api.pages.visitors import Form, forget, remember, safe_way

router = APIRouter(include_in_schema=False)
Open = Annotated[object, Depends(Needs(None))]


@router.get("/login", name="page_login")
def page_login(request: Request, _: Open, way: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> Response:
    return bare(request, "login.html", way=safe_way(way), fault=None)


@router.post("/login", name="page_sign_in")
def page_sign_in(request: Request, form: Form, context: Ctx, _: Open) -> Response:
    key, way = form.get("key", "").strip(), safe_way(form.get("next"))
    if not key or identify(context.settings, context.database, f"Bearer {key}") is None:
        fault = "This is no key of this service, or it was revoked."
        return bare(request, "login.html", 401, way=way, fault=fault)
    answer = RedirectResponse(way, status_code=303)
    remember(answer, key, context)
    return answer


@router.post("/logout", name="page_sign_out")
def page_sign_out(_: Open) -> Response:
    answer = RedirectResponse("/", status_code=303)
    forget(answer)
    return answer


@router.post("/theme", name="page_theme")
def page_theme(form: Form, _: Open) -> Response:
    answer = RedirectResponse(safe_way(form.get("back")), status_code=303)
    if form.get("theme") in THEMES:
        answer.set_cookie(THEME, form["theme"], max_age=365 * 86_400, httponly=True, samesite="strict", path="/")
    return answer
