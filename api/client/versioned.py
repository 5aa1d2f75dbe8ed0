"""What goes by a name and has numbered versions: they never change, aliases move, files can be taken home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from api.client.download import download
from api.client.http import Http, segment

Ref = str | int  # number of a version, an alias, or "latest"


class Versioned:
    """Things of a kind."""

    kind: str
    """What one is called."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Iterator[dict[str, Any]]:
        """All, by name."""
        return self._http.pages(f"/{self.kind}s")

    def get(self, name: str) -> Any:
        """One, with its aliases."""
        return self._http.get(self._of(name))

    def describe(self, name: str, description: str) -> Any:
        """Change its description."""
        return self._http.ask("PATCH", self._of(name), body={"description": description})

    def versions(self, name: str) -> Iterator[dict[str, Any]]:
        """Versions, latest first."""
        return self._http.pages(f"{self._of(name)}/versions")

    def version(self, name: str, version: Ref = "latest") -> Any:
        """One version, with all that is known of it."""
        return self._http.get(self._at(name, version))

    def lineage(self, name: str, version: Ref = "latest") -> Any:
        """What it was made from, and what was made from it."""
        return self._http.get(f"{self._at(name, version)}/lineage")

    def set_alias(self, name: str, alias: str, version: int) -> Any:
        """Let an alias stand for a version."""
        return self._http.ask("PUT", f"{self._of(name)}/aliases/{segment(alias)}", body={"version": version})

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self._http.ask("DELETE", f"{self._of(name)}/aliases/{segment(alias)}")

    def files(self, name: str, version: Ref = "latest") -> Any:
        """Every file of a version, with size and digest."""
        return self._http.get(f"{self._at(name, version)}/files")["items"]

    def download(
        self, name: str, version: Ref, folder: str | Path, on_progress: Callable[[int, int], None] | None = None,
        wanted: Callable[[str], bool] = lambda path: True,
    ) -> dict[str, Any]:  # fmt: skip
        """Fetch every file of a version below a folder; go on with a download that was interrupted.

        Args:
            on_progress: is told bytes done and bytes of all.
            wanted: says of the path of a file whether it is fetched.

        Returns:
            The name under ``dataset`` or ``model``, ``version``, ``folder``, and the paths ``fetched`` and ``skipped``,
            which were there already.

        Raises:
            DownloadError: what arrived is not what the manifest names, or a name leads out of the folder.
        """
        number = self.version(name, version)["number"]  # an alias may move meanwhile
        there, files = self._at(name, number), [one for one in self.files(name, number) if wanted(one["path"])]
        fetched, skipped = download(self._http, there, files, Path(folder), on_progress or (lambda *_: None))
        return {self.kind: name, "version": number, "folder": str(folder), "fetched": fetched, "skipped": skipped}

    def _of(self, name: str) -> str:
        return f"/{self.kind}s/{segment(name)}"

    def _at(self, name: str, version: Ref) -> str:
        return f"{self._of(name)}/versions/{segment(version)}"
