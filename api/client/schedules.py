"""``client.schedules``: nights, and what was decided about each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.client.http import Http, segment


class Schedules:
    """Jobs that start by themselves."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Iterator[dict[str, Any]]:
        """Schedules by name."""
        return self._http.pages("/schedules")

    def get(self, name: str) -> Any:
        """One schedule."""
        return self._http.get(_of(name))

    def make(
        self, name: str, policy: Mapping[str, Any], request: Mapping[str, Any], only_new: bool = True,
        paused: bool = False,
    ) -> Any:  # fmt: skip
        """Make a schedule.

        Args:
            policy: ``cron``, ``time_zone``, ``overlap``, …
            request: the job; ``api.client.jobs.job`` makes one of short forms.
            only_new: whether each run reads only shards that no earlier one has read.
        """
        body = {"name": name, "policy": dict(policy), "request": dict(request), "only_new": only_new, "paused": paused}
        return self._http.post("/schedules", body)

    def change(self, name: str, **changes: Any) -> Any:
        """Replace ``policy``, ``request`` or ``only_new``, each as a whole."""
        return self._http.ask("PATCH", _of(name), body=changes)

    def remove(self, name: str) -> None:
        """Remove it; its runs stay."""
        self._http.ask("DELETE", _of(name))

    def preview(self, policy: Mapping[str, Any], count: int = 10) -> Any:
        """Next fires of a policy that is not saved."""
        return self._http.post("/schedules:preview", {"policy": dict(policy), "count": count})["items"]

    def next(self, name: str, count: int = 10) -> Any:
        """Fires to come."""
        return self._http.get(f"{_of(name)}/next", count=count)["items"]

    def fires(self, name: str) -> Iterator[dict[str, Any]]:
        """Decisions about past nominal times, latest first."""
        return self._http.pages(f"{_of(name)}/fires")

    def pause(self, name: str) -> Any:
        """Skip what is due until it is resumed."""
        return self._http.post(f"{_of(name)}/pause")

    def resume(self, name: str) -> Any:
        """Start what is due from now on."""
        return self._http.post(f"{_of(name)}/resume")

    def trigger(self, name: str) -> Any:
        """Start a run of it now; returns the run."""
        return self._http.post(f"{_of(name)}/trigger")

    def backfill(self, name: str, first_date: str, last_date: str, dry_run: bool = True) -> Any:
        """Runs for past dates, ``YYYY-MM-DD``; unless ``dry_run`` is off it only says which."""
        body = {"first_date": first_date, "last_date": last_date, "dry_run": dry_run}
        return self._http.post(f"{_of(name)}/backfill", body)


def _of(name: str) -> str:
    return f"/schedules/{segment(name)}"
