"""Versions that a training here is given: folders, or with ``--url`` versions of a service, which are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.progress import bars
from cli.remote import connected
from cli.trainer_job import dataset_at, model_at, with_role
from pipelines.canonical import digest_bytes
from pipelines.storage import MANIFEST

if TYPE_CHECKING:
    from api.client import Client
    from api.client.versioned import Versioned


@dataclass(frozen=True)
class Versions:
    """Where versions come from.

    Attributes:
        client: of a service; None: all of them are folders.
        folder: below which what the service has is kept, and found again by a training that goes on.
        quiet: no progress.
    """

    client: Client | None
    folder: Path
    quiet: bool

    def dataset(self, given: str) -> dict[str, Any]:
        """A dataset version as a job has it; of those of a service what is trained on is fetched.

        Raises:
            InputError: there is none.
        """
        role, place = with_role(given)
        if self.client is None or Path(place).exists():
            return dataset_at(given)
        found, origin = self._fetched(self.client.datasets, place, _is_read)
        digest = digest_bytes((found / MANIFEST).read_bytes())
        return {**origin, "location": str(found), "role": role or "corpus", "manifest_digest": digest}

    def model(self, given: str, role: str) -> dict[str, Any]:
        """A model version as a job has it.

        Args:
            role: where ``given`` says none.

        Raises:
            InputError: there is none.
        """
        own, place = with_role(given)
        if self.client is None or Path(place).exists():
            return model_at(given, role)
        found, origin = self._fetched(self.client.models, place)
        return {**model_at(f"{own or role}={found}", role), **origin}

    def _fetched(
        self, things: Versioned, given: str, wanted: Callable[[str], bool] = lambda path: True
    ) -> tuple[Path, dict[str, Any]]:
        """The folder of ``NAME`` or ``NAME@VERSION``, whose files are those of the service, and what it is called."""
        name, _, version = given.partition("@")
        number = things.version(name, version or "latest")["number"]
        folder = self.folder.absolute() / f"{things.kind}s" / f"{name}-{number}"
        with bars(self.quiet) as bar:
            things.download(name, number, folder, bar.to(f"fetching {name}@{number}"), wanted)
        return folder, {"name": name, "version": number}


def _is_read(path: str) -> bool:
    """Whether a trainer reads this file of a dataset version."""
    return path == MANIFEST or path.startswith("corpus/")


@contextmanager
def versions(url: str | None, key: str | None, output: Path, quiet: bool) -> Iterator[Versions]:
    """Versions for a training that writes to ``output``."""
    if url is None:
        yield Versions(None, output, quiet)
        return
    with connected(url, key) as client:
        yield Versions(client, output / "given", quiet)
