"""``client.pipelines``: named recipes and their revisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.client.http import Http, segment
from api.client.jobs import choice


class Pipelines:
    """Named recipes; a change is a new revision."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Iterator[dict[str, Any]]:
        """Pipelines by name."""
        return self._http.pages("/pipelines")

    def get(self, name: str) -> Any:
        """One pipeline."""
        return self._http.get(_of(name))

    def make(self, name: str, description: str = "", **recipe: Any) -> Any:
        """Make a pipeline with its first revision.

        Args:
            recipe: ``recipe``, ``recipe_yaml`` or ``pipeline``; and ``thresholds`` to change in it.
        """
        return self._http.post("/pipelines", {"name": name, "description": description, **choice(**recipe)})

    def revise(self, name: str, **recipe: Any) -> Any:
        """Add a revision; a recipe that equals the latest one adds none."""
        return self._http.post(f"{_of(name)}/revisions", choice(**recipe))

    def revisions(self, name: str) -> Any:
        """All revisions, oldest first."""
        return self._http.get(f"{_of(name)}/revisions")["items"]

    def revision(self, name: str, number: int) -> Any:
        """One revision, with its recipe."""
        return self._http.get(f"{_of(name)}/revisions/{segment(number)}")


def _of(name: str) -> str:
    return f"/pipelines/{segment(name)}"
