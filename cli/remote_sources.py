"""``gristmill sources``: what jobs may read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.remote import Remote, command

app = typer.Typer(help="Sources of a service: roots that jobs may read from.", no_args_is_help=True)


@command(app, "list")
def list_sources(remote: Remote) -> None:
    """List sources by name."""
    found = remote.client.sources.list()
    rows = [(source["name"], source["root"], source["description"]) for source in found]
    remote.show(found, lambda _: remote.table(rows, "source", "root", "description", empty="no sources"))


@command(app, "declare")
def declare(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="Name of the source; it never changes.")],
    root: Annotated[str, typer.Argument(help="Folder on the service's machine, or URI of a bucket.")],
    description: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Declare a source."""
    made = remote.client.sources.declare(name, root, description)
    remote.show(made, lambda made: remote.say(f"{made['name']}  {made['root']}"))


@command(app, "browse")
def browse(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="Name of the source; SOURCE:PATH, too.")],
    path: Annotated[str, typer.Argument(help="Folder below its root.")] = "",
) -> None:
    """Show what lies in a folder of a source."""
    source, sign, below = name.partition(":")
    found = remote.client.sources.browse(source, path or below if sign else path)
    remote.show(found, lambda found: _show(remote, found))


def _show(remote: Remote, found: dict[str, Any]) -> None:
    rows = [(f"{one['path']}/" if one["folder"] else one["path"], one["bytes"]) for one in found["items"]]
    remote.table(rows, "path", "bytes#", empty="nothing lies here")
    if found["total"] > len(found["items"]):
        remote.say(f"{found['total']:,} entries; {len(found['items']):,} are shown.")
