"""``gristmill models``: what trainings made."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from cli.remote import Most, Remote, command
from cli.versioned import (
    Alias,
    OneOrAll,
    Output,
    Quiet,
    Remove,
    Target,
    Version,
    download_version,
    move_alias,
    shown_aliases,
)

app = typer.Typer(help="Models of a service: versions that never change, aliases that move.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the model.")]


@command(app, "list")
def list_models(remote: Remote) -> None:
    """List models by name."""
    found = list(remote.client.models.list())
    rows = [(m["name"], m["latest"], shown_aliases(m), m["description"]) for m in found]
    remote.show(found, lambda _: remote.table(rows, "model", "latest#", "aliases", "description", empty="no models"))


@command(app, "show")
def show(
    remote: Remote,
    name: Name,
    version: OneOrAll = None,
    most: Most = 20,
) -> None:
    """Show a model with its versions, or one version with where it comes from and what came of it."""
    models = remote.client.models
    if version is None:
        found = {"model": models.get(name), "versions": list(islice(models.versions(name), most))}
        remote.show(found, lambda found: _show_model(remote, found))
    else:
        detail = models.version(name, version)
        found = {"version": detail, "lineage": models.lineage(name, detail["number"])}
        remote.show(found, lambda found: _show_version(remote, **found))


def _show_model(remote: Remote, found: dict[str, Any]) -> None:
    model = found["model"]
    remote.facts([("model", model["name"]), ("about", model["description"]), ("aliases", shown_aliases(model))])
    rows = [(v["number"], v["kind"], v["family"], v["stage"], v["run"], v["created_at"]) for v in found["versions"]]
    remote.table(rows, "version#", "kind", "family", "stage", "run", "created", empty="no versions")


def _show_version(remote: Remote, version: dict[str, Any], lineage: dict[str, Any]) -> None:
    datasets = [f"{one['dataset']}@{one['version']}" for one in lineage["datasets"]]
    remote.facts(
        [
            ("model", version["model"]), ("version", version["number"]), ("kind", version["kind"]),
            ("family", version["family"]), ("stage", version["stage"]), ("run", version["run"]),
            ("digest", version["digest"]), ("datasets", datasets),
            ("from", _related(lineage["parents"])), ("became", _related(lineage["children"])),
            ("evaluations", lineage["evaluations"]),
            ("created", f"{version['created_at']} by {version['created_by']}"),
        ]
    )  # fmt: skip
    if version["figures"]:
        remote.say("")
        remote.table(sorted(version["figures"].items()), "figure", "#")


def _related(models: list[dict[str, Any]]) -> list[str]:
    return [f"{one['model']}@{one['version']} ({one['role']})" for one in models]


@command(app, "alias")
def alias(remote: Remote, name: Name, alias: Alias, version: Target = None, remove: Remove = False) -> None:
    """Let an alias stand for a version."""
    move_alias(remote, remote.client.models, name, alias, version, remove)


@command(app, "download")
def download(
    remote: Remote, name: Name, version: Version = "latest", output: Output = None, quiet: Quiet = False
) -> None:
    """Fetch every file of a version and check its digest; the folder is a model for every command here."""
    download_version(remote, remote.client.models, name, version, output, quiet)
