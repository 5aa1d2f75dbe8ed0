"""``/keys`` and ``/audit``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import RowMapping, select, tuple_

from api.access.audit import record
from api.access.principals import Principal, create_key, revoke_key
from api.access.roles import Role, narrowed, stored_scopes
from api.http import pages
from api.http.context import Ctx, Needs
from api.http.models import Body, Name, example
from api.http.times import text_of
from api.problems import Fault, Problem, responses
from api.store.tables import api_keys, audit
from curation.errors import InputError

router = APIRouter(tags=["access"])
Reader = Annotated[Principal, Depends(Needs("keys:read"))]
Writer = Annotated[Principal, Depends(Needs("keys:write"))]
Auditor = Annotated[Principal, Depends(Needs("audit:read"))]
Anybody = Annotated[Principal, Depends(Needs("self:read"))]
KeyId = Annotated[str, Path(pattern=r"^[a-z2-7]{16}$")]


class NewKey(Body):
    """A key."""

    model_config = example(name="ci", role="operator", scopes=["runs:read", "runs:write"])

    name: Annotated[Name, StringConstraints(max_length=96)]  # `key:NAME` is who did what, in 100 characters
    role: Role = Role.VIEWER
    scopes: list[str] | None = Field(
        default=None, max_length=50, description="Less than the role may do; null for all of it.", examples=[None]
    )


class ApiKey(BaseModel):
    """A key, without its secret."""

    id: str
    name: str
    role: str
    scopes: list[str]
    created_at: str
    created_by: str
    revoked_at: str | None


class CreatedKey(ApiKey):
    """A key with its text."""

    key: str = Field(description="Send it as `Authorization: Bearer KEY`; shown this once, stored nowhere.")


class KeyList(BaseModel):
    """All keys, oldest first, revoked ones too."""

    items: list[ApiKey]


class AuditLine(BaseModel):
    """Who changed what."""

    id: str
    at: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """Lines, newest first."""

    items: list[AuditLine]
    next: str | None


class Self(BaseModel):
    """Who is asking."""

    name: str
    scopes: list[str]


def _fields(row: RowMapping) -> dict[str, Any]:
    allowed = stored_scopes(Role(row["role"]), row["scopes"])
    same = {name: row[name] for name in ("id", "name", "role", "created_by")}
    revoked = None if row["revoked_at"] is None else text_of(row["revoked_at"])
    return {**same, "scopes": sorted(allowed), "created_at": text_of(row["created_at"]), "revoked_at": revoked}


@router.get("/self", summary="Who is asking, and what they may do")
def get_self(principal: Anybody) -> Self:
    return Self(name=principal.name, scopes=sorted(principal.scopes))


@router.get("/keys", summary="List keys")
def list_keys(context: Ctx, _: Reader) -> KeyList:
    with context.database.read() as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)).mappings()
        return KeyList(items=[ApiKey(**_fields(row)) for row in rows])


@router.post("/keys", status_code=201, summary="Make a key")
def make_key(new: NewKey, context: Ctx, principal: Writer) -> CreatedKey:
    try:
        narrowed(new.role, new.scopes)
    except InputError as error:
        fault = Fault(pointer="/scopes", code="scope", message=error.message)
        raise Problem("invalid", error.message, [fault]) from None
    with context.database.write() as connection:
        now = context.database.now(connection)
        row, text = create_key(connection, new.name, new.role, new.scopes, principal.name, now)
        detail = {"name": new.name, "role": new.role.value, "scopes": new.scopes}
        record(connection, principal.name, "key.make", row["id"], now, detail)
    return CreatedKey(**_fields(row), key=text)


@router.delete("/keys/{key_id}", summary="Revoke a key for good", responses=responses("not-found"))
def revoke_api_key(key_id: KeyId, context: Ctx, principal: Writer) -> ApiKey:
    with context.database.write() as connection:
        now = context.database.now(connection)
        row = revoke_key(connection, key_id, now)
        if row is None:
            raise Problem("not-found", "there is no key with this id")
        record(connection, principal.name, "key.revoke", key_id, now)
    return ApiKey(**_fields(row))


@router.get("/audit", summary="Who changed what")
def list_audit(
    context: Ctx, _: Auditor, limit: pages.Limit = 50, cursor: pages.Cursor = None,
    actor: Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00]*$")] = None,
    action: Annotated[str | None, Query(max_length=60, pattern=r"^[a-z.]+$")] = None,
) -> AuditPage:  # fmt: skip
    filters = {"actor": actor, "action": action}
    after = pages.decode(cursor, filters, (int, str))
    query = select(audit)
    if actor is not None:
        query = query.where(audit.c.actor == actor)
    if action is not None:
        query = query.where(audit.c.action == action)
    if after is not None:
        query = query.where(tuple_(audit.c.at, audit.c.id) < tuple_(*after))
    with context.database.read() as connection:
        rows = list(
            connection.execute(query.order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit + 1)).mappings()
        )
    following = pages.encode([rows[limit - 1]["at"], rows[limit - 1]["id"]], filters) if len(rows) > limit else None
    return AuditPage(items=[AuditLine(**{**row, "at": text_of(row["at"])}) for row in rows[:limit]], next=following)
