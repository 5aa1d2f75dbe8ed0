"""``/webhooks``: who is told what, and how that went."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import Connection, RowMapping, delete, insert, select, tuple_, update

from api.access.audit import record
from api.access.principals import Principal
from api.http import pages
from api.http.context import Context, Ctx, Needs
from api.http.models import Body, example
from api.http.times import text_of
from api.problems import Fault, Problem, responses
from api.store.ids import new_id
from api.store.tables import deliveries, webhooks
from api.webhooks.addresses import PORTS, check_url, is_public, literal_address
from api.webhooks.signing import new_secret
from curation.errors import InputError

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
Reader = Annotated[Principal, Depends(Needs("webhooks:read"))]
Writer = Annotated[Principal, Depends(Needs("webhooks:write"))]
Id = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z*]+(\.[a-z*_-]+)?$", max_length=40)]
MOST = 100  # webhooks
DeliveryState = Literal["pending", "delivered", "parked"]


class NewWebhook(Body):
    """Where to tell what."""

    model_config = example(url="https://hooks.example.org/gristmill", kinds=["run.*", "dataset.published"])

    url: str = Field(min_length=1, max_length=2000, examples=["https://hooks.example.org/gristmill"])
    kinds: list[Kind] = Field(
        default=["run.succeeded", "run.failed", "dataset.published"], min_length=1, max_length=20,
        description="Kinds of events; `*` stands for any characters.",
    )  # fmt: skip


class WebhookChange(Body):
    """What may be changed of a webhook."""

    model_config = example(paused=True)

    kinds: list[Kind] | None = Field(default=None, min_length=1, max_length=20)
    paused: bool | None = Field(default=None, description="A paused webhook gathers nothing and is sent nothing.")


class Webhook(BaseModel):
    """A webhook; its secret is shown once, when it is made."""

    id: str
    url: str
    kinds: list[str]
    paused: bool
    created_at: str
    created_by: str


class CreatedWebhook(Webhook):
    """A webhook with its secret."""

    secret: str = Field(description="Signs every delivery (Standard Webhooks); shown this once.")


class WebhookList(BaseModel):
    """All webhooks, oldest first."""

    items: list[Webhook]


class Delivery(BaseModel):
    """One message to one webhook."""

    id: str
    state: DeliveryState
    attempts: int
    due_at: str
    last_status: int | None
    last_error: str | None
    body: dict[str, Any]
    created_at: str


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    items: list[Delivery]
    next: str | None


def _fields(row: RowMapping | dict[str, Any]) -> dict[str, Any]:
    same = {name: row[name] for name in ("id", "url", "kinds", "created_by")}
    return {**same, "paused": bool(row["paused"]), "created_at": text_of(row["created_at"])}


def _find(connection: Connection, hook_id: str) -> RowMapping:
    row = connection.execute(select(webhooks).where(webhooks.c.id == hook_id)).mappings().one_or_none()
    if row is None:
        raise Problem("not-found", "there is no webhook with this id")
    return row


def _check(context: Context, url: str) -> None:
    private = context.settings.webhooks_allow_private
    try:
        endpoint = check_url(url, allow_http=private, ports=None if private else PORTS)
        address = literal_address(endpoint.host)
        if address is not None and not private and not is_public(address):
            raise InputError("this address is not public; webhooks go to public addresses only")
    except InputError as error:
        raise Problem("invalid", error.message, [Fault(pointer="/url", code="url", message=error.message)]) from None


@router.get("", summary="List webhooks")
def list_webhooks(context: Ctx, _: Reader) -> WebhookList:
    with context.database.read() as connection:
        rows = connection.execute(select(webhooks).order_by(webhooks.c.id)).mappings()
        return WebhookList(items=[Webhook(**_fields(row)) for row in rows])


@router.post("", status_code=201, summary="Register a webhook", responses=responses("conflict"))
def make_webhook(new: NewWebhook, context: Ctx, principal: Writer) -> CreatedWebhook:
    _check(context, new.url)
    with context.database.write() as connection:
        if len(connection.execute(select(webhooks.c.id)).all()) >= MOST:
            raise Problem("conflict", f"there are {MOST} webhooks already; remove one")
        now = context.database.now(connection)
        values = {"id": new_id(now), "url": new.url, "kinds": list(new.kinds), "secret": new_secret(), "paused": 0,
                  "created_at": now, "created_by": principal.name}  # fmt: skip
        connection.execute(insert(webhooks).values(values))
        record(connection, principal.name, "webhook.make", str(values["id"]), now)
    return CreatedWebhook(**_fields(values), secret=str(values["secret"]))


@router.get("/{hook_id}", summary="One webhook", responses=responses("not-found"))
def get_webhook(hook_id: Id, context: Ctx, _: Reader) -> Webhook:
    with context.database.read() as connection:
        return Webhook(**_fields(_find(connection, hook_id)))


@router.patch("/{hook_id}", summary="Change a webhook", responses=responses("not-found"))
def change_webhook(hook_id: Id, change: WebhookChange, context: Ctx, principal: Writer) -> Webhook:
    values: dict[str, Any] = {}
    if change.kinds is not None:
        values["kinds"] = list(change.kinds)
    if change.paused is not None:
        values["paused"] = int(change.paused)
    with context.database.write() as connection:
        _find(connection, hook_id)
        if values:
            connection.execute(update(webhooks).where(webhooks.c.id == hook_id).values(**values))
            now = context.database.now(connection)
            record(connection, principal.name, "webhook.change", hook_id, now, {"fields": sorted(values)})
        return Webhook(**_fields(_find(connection, hook_id)))


@router.delete("/{hook_id}", status_code=204, summary="Remove a webhook", responses=responses("not-found"))
def remove_webhook(hook_id: Id, context: Ctx, principal: Writer) -> None:
    with context.database.write() as connection:
        _find(connection, hook_id)
        connection.execute(delete(deliveries).where(deliveries.c.webhook_id == hook_id))
        connection.execute(delete(webhooks).where(webhooks.c.id == hook_id))
        record(connection, principal.name, "webhook.remove", hook_id, context.database.now(connection))


@router.post(
    "/{hook_id}/test", status_code=202, summary="Send a message that tells nothing", responses=responses("not-found"),
)  # fmt: skip
def test_webhook(hook_id: Id, context: Ctx, principal: Writer) -> Delivery:
    """Its kind is `webhook.test`, whatever kinds the webhook asked for; a paused one is sent it when it is resumed."""
    with context.database.write() as connection:
        _find(connection, hook_id)
        now = context.database.now(connection)
        body = {"kind": "webhook.test", "at": now, "data": {"by": principal.name}}
        values = {"id": new_id(now), "webhook_id": hook_id, "body": body, "state": "pending", "due_at": now,
                  "created_at": now}  # fmt: skip
        connection.execute(insert(deliveries).values(values))
        record(connection, principal.name, "webhook.test", hook_id, now)
        row = connection.execute(select(deliveries).where(deliveries.c.id == values["id"])).mappings().one()
    return _delivery(row)


@router.get("/{hook_id}/deliveries", summary="Deliveries of a webhook", responses=responses("not-found"))
def list_deliveries(
    hook_id: Id, context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None,
    state: DeliveryState | None = None,
) -> DeliveryPage:  # fmt: skip
    filters = {"hook": hook_id, "state": state}
    after = pages.decode(cursor, filters, (int, str))
    query = select(deliveries).where(deliveries.c.webhook_id == hook_id)
    if state is not None:
        query = query.where(deliveries.c.state == state)
    created, row_id = deliveries.c.created_at, deliveries.c.id
    if after is not None:
        query = query.where(tuple_(created, row_id) < tuple_(*after))
    with context.database.read() as connection:
        _find(connection, hook_id)
        query = query.order_by(created.desc(), row_id.desc()).limit(limit + 1)
        rows = list(connection.execute(query).mappings())
    following = None
    if len(rows) > limit:
        following = pages.encode([rows[limit - 1]["created_at"], rows[limit - 1]["id"]], filters)
    return DeliveryPage(items=[_delivery(row) for row in rows[:limit]], next=following)


def _delivery(row: RowMapping) -> Delivery:
    same = {name: row[name] for name in ("id", "state", "attempts", "last_status", "last_error", "body")}
    return Delivery(**same, due_at=text_of(row["due_at"]), created_at=text_of(row["created_at"]))


@router.post(
    "/{hook_id}/deliveries/{delivery_id}/redeliver", status_code=202, summary="Send a message again",
    responses=responses("not-found"),
)  # fmt: skip
def redeliver_message(hook_id: Id, delivery_id: Id, context: Ctx, principal: Writer) -> Delivery:
    """It keeps its id, so that a receiver that had it knows."""
    here = (deliveries.c.id == delivery_id) & (deliveries.c.webhook_id == hook_id)
    with context.database.write() as connection:
        _find(connection, hook_id)
        now = context.database.now(connection)
        connection.execute(update(deliveries).where(here).values(state="pending", attempts=0, due_at=now))
        row = connection.execute(select(deliveries).where(here)).mappings().one_or_none()
        if row is None:
            raise Problem("not-found", "there is no delivery with this id")
        record(connection, principal.name, "webhook.redeliver", delivery_id, now)
    return _delivery(row)
