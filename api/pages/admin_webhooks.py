"""``/admin/webhooks``: who is told what, and how that went."""

from __future__ import annotations

import json
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.pages.forms import body_of, lines_of, tried
from api.pages.render import page, query
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Problem
from api.webhooks.routes import (
    DeliveryState,
    Id,
    NewWebhook,
    Webhook,
    WebhookChange,
    change_webhook,
    get_webhook,
    list_deliveries,
    list_webhooks,
    make_webhook,
    redeliver_message,
    remove_webhook,
    test_webhook,
)

router = APIRouter(prefix="/admin/webhooks", include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("webhooks:read"))]
Writes = Annotated[Visitor, Depends(Visits("webhooks:read", "webhooks:write"))]
USUAL = {"url": "", "kinds": "run.succeeded\nrun.failed\ndataset.published"}


@router.get("", name="page_webhooks")
def page_webhooks(visitor: Reads) -> Response:
    return _webhooks(visitor)


def _webhooks(visitor: Visitor, given: dict[str, Any] | None = None, problem: Problem | None = None) -> Response:
    return page(
        visitor, "admin_webhooks.html", problem.status if problem else 200, tab="webhooks", problem=problem,
        hooks=list_webhooks(visitor.context, visitor.principal).items, given=given or USUAL,
    )  # fmt: skip


@router.post("", name="page_make_webhook")
def page_make_webhook(visitor: Writes, form: Form) -> Response:
    """The answer is the only page that ever shows the secret."""
    body = {"url": form.get("url", "").strip(), "kinds": lines_of(form.get("kinds", ""))}
    made, problem = tried(lambda: make_webhook(body_of(NewWebhook, body), visitor.context, visitor.principal))
    if made is None:
        return _webhooks(visitor, {"url": body["url"], "kinds": form.get("kinds", "")}, problem)
    return page(visitor, "admin_webhook_made.html", 201, tab="webhooks", made=made)


@router.get("/{hook_id}", name="page_webhook")
def page_webhook(
    hook_id: Id, visitor: Reads, state: Annotated[str, Query(max_length=20)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:  # fmt: skip
    return _webhook(visitor, get_webhook(hook_id, visitor.context, visitor.principal), state, cursor)


def _webhook(
    visitor: Visitor, hook: Webhook, state: str = "", cursor: str | None = None, given: str | None = None,
    problem: Problem | None = None,
) -> Response:  # fmt: skip
    states = get_args(DeliveryState)
    wanted: Any = state if state in states else None
    found, wrong = tried(
        lambda: list_deliveries(hook.id, visitor.context, visitor.principal, 25, cursor or None, wanted)
    )
    here, problem = f"/admin/webhooks/{hook.id}", problem or wrong
    return page(
        visitor, "admin_webhook.html", problem.status if problem else 200, tab="webhooks", hook=hook, state=wanted,
        states=states, deliveries=found.items if found else [], problem=problem,
        given="\n".join(hook.kinds) if given is None else given,
        bodies={one.id: json.dumps(one.body, ensure_ascii=False, indent=1) for one in found.items} if found else {},
        following=f"{here}{query(state=wanted, cursor=found.next)}" if found and found.next else None,
    )  # fmt: skip


@router.post("/{hook_id}/change", name="page_change_webhook")
def page_change_webhook(hook_id: Id, visitor: Writes, form: Form) -> Response:
    body: dict[str, Any] = {}
    if "kinds" in form:
        body["kinds"] = lines_of(form["kinds"])
    if "paused" in form:
        body["paused"] = form["paused"] == "yes"
    hook = get_webhook(hook_id, visitor.context, visitor.principal)
    made, problem = tried(
        lambda: change_webhook(hook_id, body_of(WebhookChange, body), visitor.context, visitor.principal)
    )
    if made is None:
        return _webhook(visitor, hook, given=form.get("kinds"), problem=problem)
    return RedirectResponse(f"/admin/webhooks/{hook_id}", 303)


@router.post("/{hook_id}/test", name="page_test_webhook")
def page_test_webhook(hook_id: Id, visitor: Writes, _: Form) -> Response:
    test_webhook(hook_id, visitor.context, visitor.principal)
    return RedirectResponse(f"/admin/webhooks/{hook_id}", 303)


@router.post("/{hook_id}/deliveries/{delivery_id}/redeliver", name="page_redeliver")
def page_redeliver(hook_id: Id, delivery_id: Id, visitor: Writes, _: Form) -> Response:
    redeliver_message(hook_id, delivery_id, visitor.context, visitor.principal)
    return RedirectResponse(f"/admin/webhooks/{hook_id}", 303)


@router.get("/{hook_id}/remove", name="page_ask_remove_webhook")
def page_ask_remove_webhook(hook_id: Id, visitor: Writes) -> Response:
    hook = get_webhook(hook_id, visitor.context, visitor.principal)
    return page(
        visitor, "admin_ask.html", tab="webhooks", heading="Remove this webhook?", subject=hook.url, word="Remove it",
        effect="Nothing is sent to it any more, and its deliveries are forgotten, those that wait included.",
        action=f"/admin/webhooks/{hook.id}/remove", back=f"/admin/webhooks/{hook.id}", possible=None,
    )  # fmt: skip


@router.post("/{hook_id}/remove", name="page_remove_webhook")
def page_remove_webhook(hook_id: Id, visitor: Writes, _: Form) -> Response:
    remove_webhook(hook_id, visitor.context, visitor.principal)
    return RedirectResponse("/admin/webhooks", 303)
