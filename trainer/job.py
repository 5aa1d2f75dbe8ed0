"""A job: what the service, or a person, asks of the trainer (docs/trainings.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import ConfigError


@dataclass(frozen=True)
class Job:
    """A job whose configuration its task has yet to check.

    Attributes:
        task: what to do; see ``trainer.tasks``.
        datasets: as given: name, version, role, location, manifest_digest.
        models: as given: role, name, version, location, digest.
        config: of the task.
        output: folder.
    """

    task: str
    datasets: tuple[Mapping[str, Any], ...]
    models: tuple[Mapping[str, Any], ...]
    config: Mapping[str, Any]
    output: Path

    def model(self, role: str) -> Mapping[str, Any] | None:
        """The model that was given for ``role``.

        Raises:
            ConfigError: there are several.
        """
        found = [(place, model) for place, model in enumerate(self.models) if model["role"] == role]
        if len(found) > 1:
            raise ConfigError(f"/models/{found[1][0]}/role", f"there is a model for {role!r} already")
        return found[0][1] if found else None

    def needed_model(self, role: str) -> Mapping[str, Any]:
        """``model(role)``, which this task cannot do without.

        Raises:
            ConfigError: it was not given, or several were.
        """
        found = self.model(role)
        if found is None:
            raise ConfigError("/models", f"{self.task} needs a model with the role {role!r}")
        return found

    def check_roles(self, known: tuple[str, ...]) -> None:
        """Refuse models that nobody would look at.

        Raises:
            ConfigError: for the first of another role.
        """
        for place, model in enumerate(self.models):
            if model["role"] not in known:
                what = f"models with the roles {', '.join(known)}" if known else "no models"
                raise ConfigError(f"/models/{place}/role", f"{model['role']!r}: {self.task} takes {what} here")

    def needed_datasets(self) -> tuple[Mapping[str, Any], ...]:
        """The datasets, of which there must be one at least.

        Raises:
            ConfigError: there is none.
        """
        if not self.datasets:
            raise ConfigError("/datasets", f"{self.task} needs at least one dataset version")
        return self.datasets


def origin(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What is remembered of a dataset or model that was given; no place, which may move."""
    return {name: entry.get(name) for name in ("role", "name", "version", "manifest_digest", "digest") if name in entry}


def read_job(plain: Mapping[str, Any]) -> Job:
    """A job from parsed JSON.

    Raises:
        ConfigError: naming the field.
    """
    known = ("task", "datasets", "models", "config", "output")
    for name in plain:
        if name not in known:
            raise ConfigError(f"/{name}", f"there is no such field; a job has {', '.join(known)}")
    if not isinstance(plain.get("output"), str):
        raise ConfigError("/output", "the folder to write to is missing")
    config = plain.get("config", {})
    if not isinstance(config, Mapping):
        raise ConfigError("/config", "this is no object")
    models = tuple({"role": "model", **model} for model in _entries(plain, "models"))
    return Job(str(plain.get("task", "train")), _entries(plain, "datasets"), models, config, Path(plain["output"]))


def _entries(plain: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...]:
    entries = plain.get(name, [])
    if not isinstance(entries, list):
        raise ConfigError(f"/{name}", "this is no list")
    for at, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("location"), str):
            raise ConfigError(f"/{name}/{at}/location", "the location is missing")
    return tuple(entries)


def read_job_file(path: Path) -> Job:
    """A job from a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        plain = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("", f"{path} is no job that can be read: {error}") from None
    if not isinstance(plain, Mapping):
        raise ConfigError("", f"{path}: a job is an object with task, datasets, models, config, output")
    return read_job(plain)
