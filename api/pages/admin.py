"""``/admin``: sources, and how the service is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.http.models import NoNul
from api.operation import get_service_version, readyz
from api.pages.forms import body_of, tried
from api.pages.render import page
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Problem
from api.sources.routes import Folder, NewSource, SourceName, browse_source, declare_source, get_source, list_sources

router = APIRouter(prefix="/admin", include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("sources:read"))]
Declares = Annotated[Visitor, Depends(Visits("sources:read", "sources:write"))]


@router.get("", name="page_admin")
def page_admin(visitor: Reads) -> Response:
    return _sources(visitor)


def _sources(visitor: Visitor, given: dict[str, Any] | None = None, problem: Problem | None = None) -> Response:
    ready = "ready"
    try:
        readyz(visitor.context, None)
    except Problem as refused:
        ready = refused.detail or refused.code
    return page(
        visitor, "admin.html", problem.status if problem else 200, tab="sources", ready=ready,
        sources=list_sources(visitor.context, visitor.principal).items, version=get_service_version(None).version,
        backend=visitor.context.settings.backend, keys_required=visitor.context.settings.keys_required,
        given=given or {}, problem=problem,
    )  # fmt: skip


@router.post("/sources", name="page_declare_source")
def page_declare_source(visitor: Declares, form: Form) -> Response:
    body = {name: form.get(name, "").strip() for name in ("name", "root", "description")}
    made, problem = tried(lambda: declare_source(body_of(NewSource, body), visitor.context, visitor.principal))
    if made is None:
        return _sources(visitor, body, problem)
    return RedirectResponse(f"/admin/sources/{made.name}", 303)


@router.get("/sources/{name}", name="page_source")
def page_source(
    name: SourceName, visitor: Reads, path: Annotated[NoNul, Query(max_length=2000)] = ""
) -> Response:  # fmt: skip
    """What lies below a source."""
    source = get_source(name, visitor.context, visitor.principal)
    folder, problem = tried(lambda: browse_source(name, visitor.context, visitor.principal, path))
    parts = [part for part in path.split("/") if part]
    return page(
        visitor, "admin_source.html", problem.status if problem else 200, tab="sources", source=source, at=path,
        folder=folder or Folder(items=[], total=0), problem=problem,
        way=[(part, "/".join(parts[: place + 1])) for place, part in enumerate(parts)],
    )  # fmt: skip
