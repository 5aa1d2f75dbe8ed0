"""How a driver speaks to the service: HTTP with the token of its attempt, and patience.

The driver never sees the database.  A word that the service refuses because the attempt does not count any more ends
the driver; a service that cannot be reached is waited for.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

TIMEOUT = 10.0  # seconds for one answer
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refused(Exception):
    """The attempt does not count any more."""


class Unreachable(Exception):
    """The service did not answer in time."""


@dataclass(frozen=True)
class Ticket:
    """What a driver is started with.

    Attributes:
        url: of the service.
        run_id, epoch: which attempt.
        token: proves it.
    """

    url: str
    run_id: str
    epoch: int
    token: str


class Line:
    """The line to the service."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._base = f"{ticket.url}/internal/v1/attempts/{ticket.run_id}/{ticket.epoch}"

    def say(self, word: str, body: dict[str, Any], patience: float = 0.0) -> dict[str, Any]:
        """Send a word and return the answer.

        Args:
            patience: seconds to try again in, while the service cannot be reached.

        Raises:
            Refused: for an attempt that does not count any more.
            Unreachable: when patience is at its end.
        """
        deadline, pause = time.monotonic() + patience, 0.2
        while True:
            try:
                return self._send(word, body)
            except Unreachable:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _send(self, word: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._base}/{word}",
            data=json.dumps(body).encode(),
            method="POST",
            headers={"Authorization": f"Bearer {self.ticket.token}", "Content-Type": "application/json"},
        )
        try:
            with _NO_PROXY.open(request, timeout=TIMEOUT) as answer:
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404, 409):
                raise Refused(_detail(error)) from None
            if error.code == 422:
                raise ValueError(f"{word} was not understood: {_detail(error)}") from None
            raise Unreachable(f"status {error.code}") from None
        except (OSError, ValueError) as error:
            raise Unreachable(str(error)) from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.loads(error.read())
        return str(problem.get("detail") or problem.get("title"))
    except (OSError, ValueError, AttributeError):
        return f"status {error.code}"
