"""The controller's chore: deliveries whose time has come leave the outbox.

A delivery is claimed for longer than an attempt can take, sent outside of any transaction, and its end written down.
Dying in between means that it is sent once more: receivers know a repetition by its id.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import RowMapping, delete, select, update

from api.settings import Settings
from api.store.database import Database
from api.store.tables import deliveries, webhooks
from api.webhooks.deliver import MAX_ATTEMPTS, TIMEOUT, Delivered, backoff, deliver

BATCH = 16
CLAIM = int(TIMEOUT * 1000) * 4  # milliseconds
FORGET_EVERY = 3600.0  # seconds
KEPT = 30 * 24 * 3600 * 1000  # milliseconds that what was delivered stays visible
log = logging.getLogger("gristmill.webhooks")


class Relay:
    """Sends what is due, some at once, in threads of its own: a slow endpoint holds nobody up.

    Args:
        send: like ``deliver``.
    """

    def __init__(self, settings: Settings, database: Database, send: Callable[..., Delivered] = deliver) -> None:
        self.settings, self.database, self._send = settings, database, send
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="webhook")
        self._room = threading.Semaphore(BATCH)
        self._forget_at = 0.0

    def __call__(self) -> bool:
        """Claim what is due and hand it to the threads; whether there was anything."""
        self._forget_now_and_then()
        claimed = self._claim()
        for row in claimed:
            self._pool.submit(self._attempt, row)
        return bool(claimed)

    def wait(self) -> None:
        """Until everything that was claimed has its end."""
        for _ in range(BATCH):
            self._room.acquire()
        for _ in range(BATCH):
            self._room.release()

    def _claim(self) -> list[RowMapping]:
        with self.database.read() as connection:
            now = self.database.now(connection)
            due = (deliveries.c.state == "pending") & (deliveries.c.due_at <= now) & (deliveries.c.claimed_until <= now)
            if connection.execute(select(deliveries.c.id).where(due).limit(1)).first() is None:
                return []
        found: list[RowMapping] = []
        with self.database.write() as connection:
            wanted = (
                select(deliveries, webhooks.c.url, webhooks.c.secret)
                .join(webhooks, webhooks.c.id == deliveries.c.webhook_id)
                .where(due, webhooks.c.paused == 0)
                .order_by(deliveries.c.due_at, deliveries.c.id)
                .limit(BATCH)
                .with_for_update(of=deliveries, skip_locked=True)
            )
            for row in connection.execute(wanted).mappings().all():
                if not self._room.acquire(blocking=False):
                    break
                here = deliveries.c.id == row["id"]
                connection.execute(update(deliveries).where(here).values(claimed_until=now + CLAIM))
                found.append(row)
        return found

    def _attempt(self, row: RowMapping) -> None:
        try:
            with self.database.read() as connection:
                now = self.database.now(connection)
            outcome = self._send(
                row["url"], row["secret"], row["id"], now // 1000, body_of(row["body"]),
                allow_private=self.settings.webhooks_allow_private,
            )  # fmt: skip
            self._end(row, outcome)
        except Exception:  # the claim runs out, and it is tried again
            log.exception("delivery %s failed in here", row["id"])
        finally:
            self._room.release()

    def _end(self, row: RowMapping, outcome: Delivered) -> None:
        attempts = row["attempts"] + 1
        values: dict[str, Any] = {
            "attempts": attempts, "claimed_until": 0, "last_status": outcome.status, "last_error": outcome.error,
        }  # fmt: skip
        with self.database.write() as connection:
            now = self.database.now(connection)
            if outcome.error is None:
                values["state"] = "delivered"
            elif attempts >= MAX_ATTEMPTS:
                values["state"] = "parked"
            else:
                values["due_at"] = now + int(backoff(attempts, row["id"]) * 1000)
            here = (deliveries.c.id == row["id"]) & (deliveries.c.state == "pending")
            connection.execute(update(deliveries).where(here).values(**values))
        if outcome.error is not None:
            log.info("delivery %s: attempt %d: %s", row["id"], attempts, outcome.error)

    def _forget_now_and_then(self) -> None:
        if time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + FORGET_EVERY
        self.forget()

    def forget(self) -> None:
        """Remove deliveries that arrived long ago."""
        with self.database.write() as connection:
            old = deliveries.c.created_at < self.database.now(connection) - KEPT
            connection.execute(delete(deliveries).where(old, deliveries.c.state == "delivered"))


def body_of(body: Mapping[str, Any]) -> bytes:
    """What is sent and signed."""
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
