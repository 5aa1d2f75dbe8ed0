"""``client.runs``: submit, follow, command, look."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from api.client.errors import NotFinishedError, ServiceError, UnreachableError, passes
from api.client.events import PATIENCE_SECONDS, follow
from api.client.http import Http, segment
from api.client.jobs import job

TERMINAL = ("succeeded", "failed", "cancelled")
Thresholds = Mapping[str, Any]  # by stage.rule: a number, None for off, or a mapping by language


class Runs:
    """Runs of every kind: corpora, previews, estimates, trainings."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def submit(self, *, idempotency_key: str | None = None, **request: Any) -> Any:
        """Submit a run; sent again after a failure of the connection, it still is one run.

        Args:
            idempotency_key: the same key with the same request gives the same run; default a new one.
            request: as ``job`` takes it: ``recipe``, ``recipe_yaml`` or ``pipeline``, ``inputs``, ``thresholds``, …
        """
        return self._http.post("/runs", job(**request), idempotency_key or str(uuid.uuid4()))

    def validate(self, **request: Any) -> Any:
        """Check a request as ``submit`` would, and do nothing; returns its whole recipe."""
        return self._http.post("/runs:validate", job(**request))

    def estimate(self, *, idempotency_key: str | None = None, **request: Any) -> Any:
        """Forecast a run from samples of its shards; a run itself, whose ``result`` has the forecast."""
        return self._http.post("/runs:estimate", job(**request), idempotency_key or str(uuid.uuid4()))

    def get(self, run_id: str) -> Any:
        """One run."""
        return self._http.get(_of(run_id))

    def list(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Runs, newest first, page by page.

        Args:
            filters: ``state``, ``kind``, ``pipeline``, ``schedule``, ``parent``, ``tag``, ``created_after``, …
        """
        return self._http.pages("/runs", **filters)

    def change(self, run_id: str, **changes: Any) -> Any:
        """Change ``name``, ``tags``, ``note`` or ``priority``."""
        return self._http.ask("PATCH", _of(run_id), body=changes)

    def wait(self, run_id: str, timeout: float | None = None) -> Any:
        """The run when it has ended, however it ended.  A service that is away for a while is waited for.

        Raises:
            NotFinishedError: it did not end in this many seconds.
        """
        began, pause, heard = time.monotonic(), 0.1, None
        while True:
            try:
                run = self.get(run_id)
                heard = time.monotonic()
                if run["state"] in TERMINAL:
                    return run
            except (UnreachableError, ServiceError) as error:
                if heard is None or not passes(error) or time.monotonic() - heard > PATIENCE_SECONDS:
                    raise
            if timeout is not None and time.monotonic() - began + pause > timeout:
                raise NotFinishedError(f"run {run_id} has not ended within {timeout:g} seconds; it goes on")
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)

    def events(self, run_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Events as they happen, in order and each once, until the run has ended.

        Args:
            after: number of the last event that is known.
        """
        return follow(self._http, f"{_of(run_id)}/events", after)

    def cancel(self, run_id: str) -> Any:
        """Stop it; what is committed stays."""
        return self._http.post(f"{_of(run_id)}/cancel")

    def pause(self, run_id: str) -> Any:
        """Stop it at the next shard."""
        return self._http.post(f"{_of(run_id)}/pause")

    def resume(self, run_id: str) -> Any:
        """Go on with a paused run."""
        return self._http.post(f"{_of(run_id)}/resume")

    def retry(self, run_id: str) -> Any:
        """Go on with a failed or cancelled run."""
        return self._http.post(f"{_of(run_id)}/retry")

    def fork(self, run_id: str, thresholds: Thresholds, *, idempotency_key: str | None = None, **more: Any) -> Any:
        """Run it again with other thresholds; what they do not change is taken over.

        Args:
            more: ``name``, ``publish``, ``tags``.
        """
        body = {"thresholds": dict(thresholds), **{k: v for k, v in more.items() if v is not None}}
        return self._http.post(f"{_of(run_id)}/fork", body, idempotency_key or str(uuid.uuid4()))

    def funnel(self, run_id: str) -> Any:
        """Documents and tokens: read, lost for each reason, kept."""
        return self._http.get(f"{_of(run_id)}/funnel")

    def rules(self, run_id: str) -> Any:
        """Every rule with its thresholds and what it did."""
        return self._http.get(f"{_of(run_id)}/rules")["items"]

    def documents(self, run_id: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Documents by what became of them, page by page.

        Args:
            filters: ``verdict``, ``stage``, ``rule``, ``language``, ``domain``, ``host``, ``measure`` with ``low`` and
                ``high``, ``near`` (a rule; one page), ``text``; ``limit`` for the size of a page.
        """
        return self._http.pages(f"{_of(run_id)}/documents", **filters)

    def document(self, run_id: str, document_id: str) -> Any:
        """Everything known of one document."""
        return self._http.get(f"{_of(run_id)}/documents/{segment(document_id)}")

    def what_if(self, run_id: str, thresholds: Thresholds, samples: int = 5) -> Any:
        """What would have been kept with other thresholds."""
        return self._http.post(f"{_of(run_id)}/what-if", {"thresholds": dict(thresholds), "samples": samples})

    def compare(self, run_id: str, other_id: str, samples: int = 5) -> Any:
        """Two runs side by side."""
        return self._http.get(f"{_of(run_id)}/compare/{segment(other_id)}", samples=samples)

    def logs(
        self, run_id: str, after: int = 0, attempt: int | None = None, level: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Lines of the log, in order."""
        return self._http.numbered(f"{_of(run_id)}/logs", after=after, attempt=attempt, level=level, limit=1000)


def _of(run_id: str) -> str:
    return f"/runs/{segment(run_id)}"
