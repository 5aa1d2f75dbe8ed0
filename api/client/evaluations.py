"""``client.evaluations``: ask models something; everything else of it is a run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from api.client.given import given
from api.client.http import Http, segment


class Evaluations:
    """Answers, losses, costs and comparisons of models."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def start(
        self, name: str, task: str, models: Iterable[str | Mapping[str, Any]] = (),
        datasets: Iterable[str | Mapping[str, Any]] = (), config: Mapping[str, Any] | None = None, *,
        idempotency_key: str | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        """Start an evaluation; returns its run.

        Args:
            task: ``generate``, ``perplexity``, ``win_rate``, ``compare`` or ``cost``.
            models, datasets: ``NAME``, ``NAME@VERSION`` or ``ROLE=NAME@ALIAS`` each, or as the API has them.
            config: of the task, for the trainer, as it is.
            more: ``priority``, ``tags``, ``note``.
        """
        body = {
            "name": name, "task": task, "models": given(models), "datasets": given(datasets),
            "config": dict(config or {}), **{key: value for key, value in more.items() if value is not None},
        }  # fmt: skip
        return self._http.post("/evaluations", body, idempotency_key or str(uuid.uuid4()))

    def list(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Evaluations, newest first."""
        return self._http.pages("/evaluations", **filters)

    def get(self, run_id: str) -> Any:
        """One evaluation, as a run; what came out is its ``result``."""
        return self._http.get(f"/runs/{segment(run_id)}")

    def rows(self, run_id: str, file: str, limit: int = 1000) -> Iterator[Any]:
        """What it wrote, line by line.

        Args:
            file: such as ``responses.jsonl``.
            limit: lines that are fetched at once.
        """
        path = f"/evaluations/{segment(run_id)}/files/{segment(file, slashes=True)}"
        after, more = 0, True
        while more:
            with self._http.open("GET", path, {"after": after, "limit": limit}) as response:
                lines, more = response.content.splitlines(), "Link" in response.headers
            yield from map(json.loads, lines)
            after += len(lines)
