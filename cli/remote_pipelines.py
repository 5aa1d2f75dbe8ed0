"""``gristmill pipelines``: named recipes."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from cli.remote import Pipeline, Recipe, Remote, Thresholds, command, recipe_of, thresholds_of

app = typer.Typer(help="Pipelines of a service: named recipes and their revisions.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the pipeline.")]


@command(app, "list")
def list_pipelines(remote: Remote) -> None:
    """List pipelines by name."""
    found = list(remote.client.pipelines.list())
    rows = [(one["name"], one["latest"], one["description"]) for one in found]
    remote.show(found, lambda _: remote.table(rows, "pipeline", "latest#", "description", empty="no pipelines"))


@command(app, "make")
def make(
    remote: Remote,
    name: Name,
    recipe: Recipe = None,
    pipeline: Pipeline = None,
    thresholds: Thresholds = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    revise: Annotated[bool, typer.Option("--revise", help="Add a revision to one that is there.")] = False,
) -> None:
    """Make a pipeline, or with --revise a new revision of it."""
    chosen = {**recipe_of(recipe, pipeline), "thresholds": thresholds_of(thresholds)}
    if revise:
        found = remote.client.pipelines.revise(name, **chosen)
        remote.show(found, lambda found: remote.say(f"{name}  revision {found['number']}"))
    else:
        made = remote.client.pipelines.make(name, description, **chosen)
        remote.show(made, lambda made: remote.say(f"{made['name']}  revision {made['latest']}"))


@command(app, "show")
def show(
    remote: Remote,
    name: Name,
    revision: Annotated[Optional[int], typer.Argument(min=1, help="Number.  Default: the latest.")] = None,  # noqa: UP045
) -> None:
    """Show a pipeline with the recipe of a revision."""
    pipeline = remote.client.pipelines.get(name)
    found = remote.client.pipelines.revision(name, revision or pipeline["latest"])
    remote.show({"pipeline": pipeline, "revision": found}, lambda _: _show(remote, pipeline, found))


def _show(remote: Remote, pipeline: dict[str, Any], revision: dict[str, Any]) -> None:
    remote.facts(
        [
            ("pipeline", pipeline["name"]), ("about", pipeline["description"]), ("revision", revision["number"]),
            ("of", pipeline["latest"]), ("digest", revision["digest"]),
            ("created", f"{revision['created_at']} by {revision['created_by']}"),
        ]
    )  # fmt: skip
    remote.say("")
    remote.plain(revision["recipe"])
