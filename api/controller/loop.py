"""The controller's rounds.  Each step is a compare-and-set, so two controllers are only faster than one."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from api.controller.launcher import Launcher
from api.controller.ray_guard import RayGuard
from api.runs import queries, store
from api.runs.states import Actor
from api.settings import Settings
from api.store.database import Database
from api.store.tables import attempts

log = logging.getLogger("gristmill.controller")
MARGIN = 1.0  # seconds that the API must have been there beyond a lease, before silence counts against a driver
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Controller:
    """Claims, launches, takes back; and whatever else has to happen in time.

    Args:
        chores: other steps of a round, such as schedules and deliveries; each is called with nothing.
    """

    def __init__(
        self, settings: Settings, database: Database, launcher: Launcher, chores: list[Callable[[], Any]] | None = None
    ) -> None:
        self.settings, self.database, self.launcher = settings, database, launcher
        self.chores = chores or []
        self.name = f"controller:{os.uname().nodename}:{os.getpid()}"[:100]
        self.stopping = threading.Event()
        self._heard_since: float | None = None
        self.ray_guard = RayGuard(settings)
        self._objection: str | None = None

    def work(self) -> None:
        """Rounds until told to stop; a database that is away is waited for."""
        while not self.stopping.is_set():
            busy = False
            try:
                busy = self.round()
            except SQLAlchemyError as error:
                log.warning("the database failed a round: %s", type(error).__name__)
            except Exception:
                log.exception("a round failed")
            self.stopping.wait(0.01 if busy else self.settings.poll_seconds)

    def round(self) -> bool:
        """One round; whether there may be more to do at once."""
        for chore in self.chores:
            try:
                chore()
            except SQLAlchemyError:
                raise
            except Exception:  # what is wrong with one chore must not keep the others from their work
                log.exception("a chore failed")
        self.take_back()
        return self.start_next()

    def start_next(self) -> bool:
        """Claim a run and launch its driver.

        Dying between the two costs the run one lease: nobody beats, and it is taken back.
        """
        if not self._api_answers() or not self._ray_is_safe():
            return False
        token = secrets.token_urlsafe(32)
        digest = hashlib.sha256(token.encode()).hexdigest()
        lease = int(self.settings.lease_seconds * 1000)
        with self.database.write() as connection:
            now = self.database.now(connection)
            settings = self.settings
            run = store.claim(connection, self.name, digest, now, lease, settings.max_running, settings.claim_kinds)
        if run is None:
            return False
        ticket = {"url": self.settings.url, "run_id": run["id"], "epoch": run["epoch"], "token": token}
        try:
            handle = self.launcher.launch(ticket)
        except OSError as error:
            self._lose(run["id"], run["epoch"], f"the driver could not be started: {error}")
            return True
        here = (attempts.c.run_id == run["id"]) & (attempts.c.epoch == run["epoch"])
        with self.database.write() as connection:
            connection.execute(update(attempts).where(here).values(handle=handle))
        log.info("run %s: attempt %d launched", run["id"], run["epoch"])
        return True

    def _ray_is_safe(self) -> bool:
        """Whether drivers may be launched on the cluster; says so when that changes."""
        objection = self.ray_guard.objection()
        if objection != self._objection:
            log.log(logging.INFO if objection is None else logging.ERROR, "%s", objection or "the Ray cluster is safe")
        self._objection = objection
        return objection is None

    def take_back(self) -> None:
        """End attempts whose driver has gone, or was silent for longer than its lease."""
        with self.database.read() as connection:
            now = self.database.now(connection)
            rows = store.open_attempts(connection)
        # Only where somebody is late does it matter whether he could have been heard.
        heard = any(store.is_late(attempt, now) for attempt in rows) and self._silence_counts()
        for attempt in rows:
            handle = attempt["handle"]
            if handle and self.launcher.is_gone(handle):
                self._lose(attempt["run_id"], attempt["epoch"], "the driver died", handle)
            elif heard and store.is_late(attempt, now):
                if handle:
                    self.launcher.end(handle)
                self._lose(attempt["run_id"], attempt["epoch"], "the driver fell silent", handle)

    def _lose(self, run_id: str, epoch: int, reason: str, handle: dict[str, Any] | None = None) -> None:
        words = self.launcher.last_words(handle) if handle else ""
        with self.database.write() as connection:
            now = self.database.now(connection)
            limits = store.Limits.of(self.settings)
            run = store.lose(connection, run_id, epoch, self.name, Actor.CONTROLLER, reason, now, limits)
            if run is not None and words:
                queries.write_log(connection, run_id, epoch, [{"level": "error", "text": words}], now)
        if run is not None:
            log.warning("run %s: %s at attempt %d; it is %s now", run_id, reason, epoch, run["state"])

    def _silence_counts(self) -> bool:
        """Whether the API has been there for longer than a lease, so that a living driver would have been heard."""
        if not self._api_answers() or self._heard_since is None:
            return False
        return time.monotonic() - self._heard_since > self.settings.lease_seconds + MARGIN

    def _api_answers(self) -> bool:
        """Whether drivers can be heard at all: silence counts only while somebody listens."""
        try:
            with _OPENER.open(f"{self.settings.url}/healthz", timeout=5.0) as answer:
                there = bool(answer.status == 200)
        except (OSError, ValueError):
            there = False
        if not there:
            self._heard_since = None
        elif self._heard_since is None:
            self._heard_since = time.monotonic()
        return there

    def end_drivers(self) -> None:
        """Ask the drivers that this machine's controller launched to give their runs back."""
        with self.database.read() as connection:
            query = select(attempts.c.handle).where(
                attempts.c.finished_at.is_(None), attempts.c.controller == self.name
            )
            handles = [handle for (handle,) in connection.execute(query) if handle]
        self.launcher.stop(handles, self.settings.stop_seconds)
