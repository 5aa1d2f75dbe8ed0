"""``client.trainings``: start one, follow its curves; everything else of it is a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.client.given import given
from api.client.http import Http, segment


class Trainings:
    """Trainings on published datasets."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def start(
        self, name: str, datasets: Iterable[str | Mapping[str, Any]], config: Mapping[str, Any], *,
        models: Iterable[str | Mapping[str, Any]] = (), idempotency_key: str | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        """Start a training; returns its run.

        Args:
            datasets: ``NAME``, ``NAME@VERSION`` or ``ROLE=NAME@ALIAS`` each, or as the API has them.
            config: for the trainer, as it is.
            models: the same of models; without a role, the one that the training starts from.
            more: ``model`` (which gets a version of it), ``priority``, ``tags``, ``note``.
        """
        body = {
            "name": name, "datasets": given(datasets), "models": given(models), "config": dict(config),
            **{key: value for key, value in more.items() if value is not None},
        }  # fmt: skip
        return self._http.post("/trainings", body, idempotency_key or str(uuid.uuid4()))

    def list(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Trainings, newest first."""
        return self._http.pages("/trainings", **filters)

    def get(self, run_id: str) -> Any:
        """One training, as a run."""
        return self._http.get(f"/runs/{segment(run_id)}")

    def metrics(self, run_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Points of its curves, in order."""
        return self._http.numbered(f"/trainings/{segment(run_id)}/metrics", after=after, limit=1000)

    def curves(self, run_id: str, points: int = 500) -> Any:
        """Curves, thinned so that each extreme is kept: ``name``, ``points`` of step and value, ``count``, ``odd``."""
        return self._http.get(f"/trainings/{segment(run_id)}/curves", points=points)["items"]

    def checkpoints(self, run_id: str) -> Any:
        """States that it can be taken up from."""
        return self._http.get(f"/trainings/{segment(run_id)}/checkpoints")["items"]
