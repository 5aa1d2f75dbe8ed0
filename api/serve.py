"""Running the parts: all of them in one process, or each by itself."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from api.app import create_app
from api.controller.launcher import LocalLauncher
from api.controller.loop import Controller
from api.scheduling.firing import Firing
from api.settings import Settings
from api.store.database import Database
from api.store.migrate import upgrade
from api.webhooks.relay import Relay

log = logging.getLogger("gristmill")
STOP_SECONDS = 10  # for requests that are being answered


def serve(settings: Settings) -> None:
    """API and one controller in this process; the database is brought up to date first.

    Told to stop, it asks its drivers to give their runs back, hears them, and then ends.
    """
    set_up_logging()
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    upgrade(database)
    controller = make_controller(settings, database)
    thread = threading.Thread(target=controller.work, name="controller", daemon=True)

    def leave() -> None:
        controller.stopping.set()
        thread.join(settings.poll_seconds + 5)
        controller.end_drivers()

    server = _Server(_config(settings, database), leave)
    thread.start()
    log.info("listening at %s", settings.url)
    server.run()


def serve_api(settings: Settings) -> None:
    """The API alone; does not touch the schema."""
    set_up_logging()
    _Server(_config(settings, Database(settings.database))).run()


def serve_controller(settings: Settings) -> None:
    """A controller alone; ends with SIGTERM, its drivers go on unless the settings say otherwise."""
    set_up_logging()
    controller = make_controller(settings, Database(settings.database))

    def stop(*_: Any) -> None:
        controller.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    controller.work()
    if settings.end_drivers:
        controller.end_drivers()


def make_controller(settings: Settings, database: Database) -> Controller:
    """A controller with the local launcher, that also fires schedules and tells webhooks."""
    controller = Controller(settings, database, LocalLauncher(settings.home / "drivers"))
    controller.chores += [Firing(settings, database, controller.name), Relay(settings, database)]
    return controller


class _Server(uvicorn.Server):
    """Stops in order: first what ``leave`` does, while requests are still answered; then streams; then the rest.

    A second signal does not wait.
    """

    def __init__(self, config: uvicorn.Config, leave: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._leave = leave
        self._leaving = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals ask for the end; they are not raised once more afterwards, so that the exit code is 0."""
        before = {sig: signal.signal(sig, self._asked) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _asked(self, *_: Any) -> None:
        if self._leaving:
            self.force_exit = self.should_exit = True
            return
        self._leaving = True
        threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        try:
            self._leave()
        finally:
            app: Any = self.config.app
            app.state.stopping = True
            self.should_exit = True


def _config(settings: Settings, database: Database) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings, database), host=settings.host, port=settings.port, log_config=None, access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS, server_header=False, h11_max_incomplete_event_size=32 << 10,
        timeout_keep_alive=30, http="h11",
    )  # fmt: skip


def set_up_logging() -> None:
    """One line of JSON an event on standard error, secrets masked."""
    from api.logs import JsonLines

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ.get("GRISTMILL_LOG_LEVEL", "INFO").upper(), handlers=[handler], force=True)
    for name in ("uvicorn.error", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
