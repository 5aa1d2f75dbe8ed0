"""``client.sources`` and ``client.keys``."""

from __future__ import annotations

from typing import Any

from api.client.http import Http, segment


class Sources:
    """Roots that jobs may read from."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> list[dict[str, Any]]:
        """All sources, by name."""
        items: list[dict[str, Any]] = self._http.get("/sources")["items"]
        return items

    def get(self, name: str) -> Any:
        """One source."""
        return self._http.get(f"/sources/{segment(name)}")

    def declare(self, name: str, root: str, description: str = "") -> Any:
        """Declare a folder or bucket; it never changes afterwards."""
        return self._http.post("/sources", {"name": name, "root": root, "description": description})

    def browse(self, name: str, path: str = "") -> Any:
        """What lies in a folder of a source: ``items``, and ``total``, since not all may be listed."""
        return self._http.get(f"/sources/{segment(name)}/objects", path=path)


class Keys:
    """API keys."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> list[dict[str, Any]]:
        """All keys, oldest first, revoked ones too; never their text."""
        items: list[dict[str, Any]] = self._http.get("/keys")["items"]
        return items

    def make(self, name: str, role: str = "viewer", scopes: Any = None) -> Any:
        """Make a key; ``key`` of the answer is its text, which is shown this once."""
        return self._http.post("/keys", {"name": name, "role": role, "scopes": scopes})

    def revoke(self, key_id: str) -> Any:
        """Revoke a key for good."""
        return self._http.ask("DELETE", f"/keys/{segment(key_id)}")
