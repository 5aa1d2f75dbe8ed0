"""``client.datasets``: what runs published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.client.versioned import Ref, Versioned


class Datasets(Versioned):
    """What runs published."""

    kind = "dataset"

    def publish(self, name: str, run_id: str) -> Any:
        """Make a finished run the next version; one that is a version already stays that one."""
        return self._http.post(f"{self._of(name)}/versions", {"run": run_id})

    def diff(self, name: str, first: Ref, second: Ref, samples: int = 5) -> Any:
        """What differs between two versions."""
        return self._http.get(f"{self._of(name)}/diff", first=first, second=second, samples=samples)

    def card(self, name: str, version: Ref = "latest") -> str:
        """The dataset card, Markdown."""
        return self._http.text(f"{self._at(name, version)}/card")

    def statistics(self, name: str, version: Ref = "latest") -> Any:
        """Statistics as the run wrote them."""
        return self._http.get(f"{self._at(name, version)}/statistics")

    def rows(self, name: str, version: Ref = "latest", full: bool = False) -> Iterator[dict[str, Any]]:
        """Rows of the corpus, page by page; long texts are cut unless ``full``."""
        return self._http.pages(f"{self._at(name, version)}/rows", full=full, limit=100)
