"""``/``: what runs, what comes next, what failed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.pages.render import page
from api.pages.visitors import Visitor, Visits
from api.runs.routes import list_runs

router = APIRouter(include_in_schema=False)


@router.get("/", name="page_home")
def page_home(visitor: Annotated[Visitor, Depends(Visits("runs:read"))]) -> Response:
    running = list_runs(visitor.context, visitor.principal, 20, state="running").items
    failed = list_runs(visitor.context, visitor.principal, 5, state="failed").items
    return page(visitor, "home.html", running=running, failed=failed)
