"""The outbox: what webhooks shall be told is written in the transaction in which it happened."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, insert, select

from api.store.ids import new_id
from api.store.tables import deliveries, webhooks


def enqueue(connection: Connection, kind: str, body: Mapping[str, Any], now: int) -> None:
    """Write down one delivery for each webhook that wants to hear of a kind of event."""
    for hook in connection.execute(select(webhooks).where(webhooks.c.paused == 0)).mappings():
        if any(fnmatchcase(kind, pattern) for pattern in hook["kinds"]):
            connection.execute(
                insert(deliveries).values(
                    id=new_id(now), webhook_id=hook["id"], body=dict(body), state="pending", due_at=now, created_at=now
                )
            )
