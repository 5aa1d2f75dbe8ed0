"""The client: one object, a group of methods for each kind of thing."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from api.client.access import Keys, Sources
from api.client.datasets import Datasets
from api.client.evaluations import Evaluations
from api.client.http import READ_SECONDS, Http
from api.client.models import Models
from api.client.pipelines import Pipelines
from api.client.runs import Runs
from api.client.schedules import Schedules
from api.client.trainings import Trainings


class Client:
    """The service at an address.  Not for several threads at once; make one in each.

    Args:
        url: default: ``GRISTMILL_URL``, then ``http://127.0.0.1:8321``.
        key: default: ``GRISTMILL_KEY``, then none.
        timeout: seconds that an answer may take.

    Every method raises ``ServiceError`` for what the service refuses, and ``UnreachableError`` where nobody answers.
    """

    def __init__(self, url: str | None = None, key: str | None = None, timeout: float = READ_SECONDS) -> None:
        self._http = Http(url, key, timeout)
        self.runs = Runs(self._http)
        self.schedules = Schedules(self._http)
        self.datasets = Datasets(self._http)
        self.sources = Sources(self._http)
        self.keys = Keys(self._http)
        self.pipelines = Pipelines(self._http)
        self.trainings = Trainings(self._http)
        self.models = Models(self._http)
        self.evaluations = Evaluations(self._http)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._http.url

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def whoami(self) -> dict[str, Any]:
        """Name and scopes of the key."""
        found: dict[str, Any] = self._http.get("/self")
        return found

    def advise(self, **answers: Any) -> dict[str, Any]:
        """Which family, size and trainings to begin with; ``task`` has to be answered, ``GET /advice`` has the rest."""
        found: dict[str, Any] = self._http.post("/advice", {"answers": answers})
        return found
