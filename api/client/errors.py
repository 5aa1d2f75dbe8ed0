"""What can go wrong between a client and the service, each as one line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curation.errors import GristmillError

TOO_MANY = 429


class ServiceError(GristmillError):
    """The service refused a request, or failed at it.

    Attributes:
        status: HTTP status.
        code: stable name of the problem, such as ``not-found``; empty where something else than the service answered.
        detail: what it said, without the single faults.
        errors: the faults, each with ``pointer``, ``code`` and ``message``.
    """

    def __init__(
        self, status: int, code: str, detail: str, errors: list[dict[str, Any]], request_id: str | None = None
    ) -> None:
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        super().__init__(_sentence(status, detail, errors, request_id))

    @property
    def is_mine(self) -> bool:
        """Whether the same request would be refused again: it, or its key, is what has to change."""
        return 400 <= self.status < 500 and self.status != TOO_MANY


class UnreachableError(GristmillError):
    """Nobody answers at the address of the service, or not in time."""


class NotFinishedError(GristmillError):
    """A run did not end in the time that it was given; it goes on."""


def passes(error: ServiceError | UnreachableError) -> bool:
    """Whether waiting may help."""
    return not (isinstance(error, ServiceError) and error.is_mine)


def _sentence(status: int, detail: str, errors: list[dict[str, Any]], request_id: str | None) -> str:
    faults = [f"{error.get('pointer') or 'the body'}: {error.get('message', '')}" for error in errors]
    if len(faults) == 1:  # the detail says the same, or that it is one
        return faults[0]
    said = f"{detail}: {'; '.join(faults)}" if faults else detail
    return f"{said} (request {request_id})" if status >= 500 and request_id else said


def error_of(status: int, url: str, body: Any) -> ServiceError:
    """The error that an answer stands for.

    Args:
        url: of the service, for answers that are not the service's own.
        body: parsed JSON; None where it was something else.
    """
    if not isinstance(body, Mapping) or not str(body.get("type", "")).startswith("urn:gristmill:problem:"):
        return ServiceError(status, "", f"{url} answered {status}, and not as the service does", [])
    errors = [dict(error) for error in body.get("errors") or [] if isinstance(error, Mapping)]
    title, detail = str(body.get("title", "")), body.get("detail")
    said = title if not detail else str(detail) if errors or status == 422 else f"{title}: {detail}"
    request_id = str(body.get("instance") or "").removeprefix("urn:uuid:") or None
    return ServiceError(status, str(body["type"]).rpartition(":")[2], said, errors, request_id)
