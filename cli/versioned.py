"""What commands of datasets and of models have in common: both have versions that never change, aliases that move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from cli.remote import Remote
from curation.errors import InputError

if TYPE_CHECKING:
    from api.client.versioned import Versioned

Version = Annotated[str, typer.Argument(help="Number, alias or latest.")]
OneOrAll = Annotated[Optional[str], typer.Argument(help="Number, alias or latest; default: all of them.")]  # noqa: UP045
Output = Annotated[Optional[Path], typer.Option("--output", "-o", help="Folder.  Default: NAME-NUMBER.")]  # noqa: UP045
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
Alias = Annotated[str, typer.Argument(help="Such as stable or best.")]
Target = Annotated[Optional[int], typer.Argument(min=1, help="Number of a version.")]  # noqa: UP045
Remove = Annotated[bool, typer.Option("--remove", help="Remove it instead.")]


def shown_aliases(named: dict[str, Any]) -> str:
    """Of a dataset or a model, in one line."""
    return ", ".join(f"{name}={number}" for name, number in named["aliases"].items())


def download_version(
    remote: Remote, things: Versioned, name: str, version: str, output: Path | None, quiet: bool
) -> None:
    """Fetch every file of a version."""
    from cli.progress import bars

    number = things.version(name, version)["number"]
    folder = output or Path(f"{name}-{number}")
    with bars(quiet) as bar:
        found = things.download(name, number, folder, bar.to("downloading"))
    fetched, skipped = len(found["fetched"]), len(found["skipped"])
    remote.show(found, lambda _: remote.say(f"{folder}: {fetched} files fetched, {skipped} there already, all checked"))


def move_alias(remote: Remote, things: Versioned, name: str, alias: str, version: int | None, remove: bool) -> None:
    """Let an alias stand for a version, or for none."""
    if remove == (version is not None):
        raise InputError("give the number of a version, or --remove")
    if version is None:
        things.remove_alias(name, alias)
        remote.show({"removed": alias}, lambda _: remote.say(f"{alias}  removed"))
    else:
        made = things.set_alias(name, alias, version)
        remote.show(made, lambda made: remote.say(f"{made['name']}  {shown_aliases(made)}"))
