"""``/admin/keys``: who may do what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import RedirectResponse

from api.access.roles import SCOPES, Role
from api.access.routes import ApiKey, KeyId, NewKey, list_keys, make_key, revoke_api_key
from api.pages.forms import body_of, tried
from api.pages.render import page
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Problem

router = APIRouter(prefix="/admin/keys", include_in_schema=False)
Reads = Annotated[Visitor, Depends(Visits("keys:read"))]
Writes = Annotated[Visitor, Depends(Visits("keys:read", "keys:write"))]
MEANT = {
    "viewer": "looks at everything and changes nothing",
    "operator": "also submits, commands and schedules runs, publishes and trains",
    "admin": "also declares sources, makes keys and webhooks, and reads the audit",
}


@router.get("", name="page_keys")
def page_keys(visitor: Reads) -> Response:
    return _keys(visitor)


def _keys(visitor: Visitor, given: dict[str, Any] | None = None, problem: Problem | None = None) -> Response:
    return page(
        visitor, "admin_keys.html", problem.status if problem else 200, tab="keys", problem=problem,
        keys=list_keys(visitor.context, visitor.principal).items,
        columns=[("scope", ""), *((role.value, "") for role in Role)],
        meant_of=[(role.value, f"{role.value}: {MEANT[role.value]}") for role in Role],
        scopes=[(scope, least, [role >= least for role in Role]) for scope, least in SCOPES.items()],
        given=given or {"name": "", "role": "viewer", "scopes": []},
    )  # fmt: skip


@router.post("", name="page_make_key")
def page_make_key(visitor: Writes, form: Form) -> Response:
    """The answer is the only page that ever shows the key."""
    chosen = [scope for scope in SCOPES if form.get(f"scope:{scope}")]
    body = {"name": form.get("name", "").strip(), "role": form.get("role", ""), "scopes": chosen or None}
    made, problem = tried(lambda: make_key(body_of(NewKey, body), visitor.context, visitor.principal))
    if made is None:
        return _keys(visitor, {**body, "scopes": chosen}, problem)
    return page(visitor, "admin_key_made.html", 201, tab="keys", made=made)


def _one(visitor: Visitor, key_id: str) -> ApiKey:
    found = [one for one in list_keys(visitor.context, visitor.principal).items if one.id == key_id]
    if not found:
        raise Problem("not-found", "there is no key with this id")
    return found[0]


@router.get("/{key_id}/revoke", name="page_ask_revoke")
def page_ask_revoke(key_id: KeyId, visitor: Writes) -> Response:
    key = _one(visitor, key_id)
    return page(
        visitor, "admin_ask.html", tab="keys", heading="Revoke this key?", subject=key.name, word="Revoke it",
        effect="Whoever uses it is refused from the next request on. That cannot be taken back; another key can be "
        "made.", action=f"/admin/keys/{key.id}/revoke", back="/admin/keys",
        possible=None if key.revoked_at is None else "It is revoked already.",
    )  # fmt: skip


@router.post("/{key_id}/revoke", name="page_revoke_key")
def page_revoke_key(key_id: KeyId, visitor: Writes, _: Form) -> Response:
    revoke_api_key(key_id, visitor.context, visitor.principal)
    return RedirectResponse("/admin/keys", 303)
