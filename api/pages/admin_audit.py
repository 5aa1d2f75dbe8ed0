"""``/admin/audit``: who changed what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.access.routes import AuditPage, list_audit
from api.http.models import NoNul
from api.pages.forms import tried
from api.pages.render import page, query
from api.pages.visitors import Visitor, Visits

router = APIRouter(prefix="/admin/audit", include_in_schema=False)
ACTIONS = (
    "dataset.alias", "dataset.describe", "dataset.publish", "dataset.unalias", "key.make", "key.revoke",
    "pipeline.make", "pipeline.revise", "run.cancel", "run.change", "run.pause", "run.resume", "run.retry",
    "run.submit", "schedule.backfill", "schedule.change", "schedule.make", "schedule.pause", "schedule.remove",
    "schedule.resume", "schedule.trigger", "source.declare", "webhook.change", "webhook.make", "webhook.redeliver",
    "webhook.remove", "webhook.test",
)  # fmt: skip  # offered; others are found as well
Word = Annotated[NoNul, Query(max_length=120)]


@router.get("", name="page_audit")
def page_audit(
    visitor: Annotated[Visitor, Depends(Visits("audit:read"))], actor: Word = "", action: Word = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:  # fmt: skip
    found, problem = tried(
        lambda: list_audit(visitor.context, visitor.principal, 50, cursor or None, actor or None, action or None)
    )
    found = found or AuditPage(items=[], next=None)
    return page(
        visitor, "admin_audit.html", problem.status if problem else 200, tab="audit", found=found, problem=problem,
        actor=actor, action=action, actions=ACTIONS,
        following=f"/admin/audit{query(actor=actor, action=action, cursor=found.next)}" if found.next else None,
    )  # fmt: skip
