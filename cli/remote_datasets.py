"""``gristmill datasets``: what runs published."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import typer

from cli.remote import Most, Remote, Samples, command, counted, shown
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

app = typer.Typer(help="Datasets of a service: versions that never change, aliases that move.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the dataset.")]


@command(app, "list")
def list_datasets(remote: Remote) -> None:
    """List datasets by name."""
    found = list(remote.client.datasets.list())
    rows = [(d["name"], d["latest"], shown_aliases(d), d["description"]) for d in found]
    columns = ("dataset", "latest#", "aliases", "description")
    remote.show(found, lambda _: remote.table(rows, *columns, empty="no datasets"))


@command(app, "show")
def show(
    remote: Remote,
    name: Name,
    version: OneOrAll = None,
    card: Annotated[bool, typer.Option("--card", help="Only the dataset card.")] = False,
    most: Most = 20,
) -> None:
    """Show a dataset with its versions, or one version with its columns and files."""
    datasets = remote.client.datasets
    if card:
        text = datasets.card(name, version or "latest")
        remote.show({"card": text}, lambda _: _show_card(remote, text))
    elif version is None:
        found = {"dataset": datasets.get(name), "versions": list(islice(datasets.versions(name), most))}
        remote.show(found, lambda found: _show_dataset(remote, found))
    else:
        detail = datasets.version(name, version)
        files = datasets.files(name, detail["number"])
        remote.show({"version": detail, "files": files}, lambda _: _show_version(remote, detail, files))


def _show_card(remote: Remote, text: str) -> None:
    from cli.show import visible

    remote.console.print(visible(text), soft_wrap=True)


def _show_dataset(remote: Remote, found: dict[str, Any]) -> None:
    dataset = found["dataset"]
    remote.facts([("dataset", dataset["name"]), ("about", dataset["description"]), ("aliases", shown_aliases(dataset))])
    rows = [(v["number"], counted(v["facts"]), v["run"], v["created_at"]) for v in found["versions"]]
    remote.table(rows, "version#", "kept#", "run", "created", empty="no versions")


def _show_version(remote: Remote, version: dict[str, Any], files: list[dict[str, Any]]) -> None:
    remote.facts(
        [
            ("dataset", version["dataset"]), ("version", version["number"]), ("run", version["run"]),
            ("kept", counted(version["facts"])), ("manifest", version["manifest_digest"]),
            ("created", f"{version['created_at']} by {version['created_by']}"),
        ]
    )  # fmt: skip
    remote.say("")
    remote.table([(c["name"], c["type"], c["description"]) for c in version["columns"]], "column", "type", "what it is")
    remote.say("")
    remote.table([(f["path"], f["bytes"], f["rows"], f["digest"]) for f in files], "file", "bytes#", "rows#", "digest")


@command(app, "download")
def download(
    remote: Remote, name: Name, version: Version = "latest", output: Output = None, quiet: Quiet = False
) -> None:
    """Fetch every file of a version and check its digest; go on with a download that was interrupted."""
    download_version(remote, remote.client.datasets, name, version, output, quiet)


@command(app, "alias")
def alias(remote: Remote, name: Name, alias: Alias, version: Target = None, remove: Remove = False) -> None:
    """Let an alias stand for a version."""
    move_alias(remote, remote.client.datasets, name, alias, version, remove)


@command(app, "diff")
def diff(
    remote: Remote,
    name: Name,
    first: Version,
    second: Version,
    samples: Samples = 5,
) -> None:
    """Show what differs between two versions."""
    found = remote.client.datasets.diff(name, first, second, samples)
    remote.show(found, lambda found: _show_diff(remote, found))


def _show_diff(remote: Remote, found: dict[str, Any]) -> None:
    documents = found["documents"]
    rows = [[f"documents {name.replace('_', ' ')}", number] for name, number in documents.items()]
    rows += [[f"tokens {name.replace('_', ' ')}", number] for name, number in found["tokens"].items()]
    remote.table(rows, f"version {found['first']} and {found['second']}", "number#")
    for kind in ("languages", "domains"):
        groups = [(name, shown(counts)) for name, counts in found[kind].items()]
        if groups:
            remote.say("")
            remote.table(groups, kind, "documents")
    remote.facts(
        [
            ("columns added", found["columns_added"]), ("columns removed", found["columns_removed"]),
            ("only first", found["samples_only_first"]), ("only second", found["samples_only_second"]),
        ]
    )  # fmt: skip


@command(app, "publish")
def publish(remote: Remote, name: Name, run: Annotated[str, typer.Argument(help="Id of a finished run.")]) -> None:
    """Make a finished run the next version of a dataset."""
    made = remote.client.datasets.publish(name, run)
    remote.show(made, lambda made: remote.say(f"{made['dataset']}  version {made['number']}"))
