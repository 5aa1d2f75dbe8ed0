"""The audit: who changed what, appended in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert

from api.store.ids import new_id
from api.store.tables import audit


def record(
    connection: Connection, actor: str, action: str, subject: str, now: int, detail: Mapping[str, Any] | None = None
) -> None:
    """Append one line; never a secret in it."""
    values = {"id": new_id(now), "at": now, "actor": actor, "action": action, "subject": subject}
    connection.execute(insert(audit).values(**values, detail=dict(detail or {})))
