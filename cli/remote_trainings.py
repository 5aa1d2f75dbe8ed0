"""``gristmill trainings``: trainings on published datasets."""

from __future__ import annotations

from collections import deque
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from cli.config_file import read_config
from cli.remote import Most, Remote, Tags, command, shown
from cli.remote_runs import show_runs
from cli.trainer_app import Set
from curation.errors import InputError

app = typer.Typer(help="Trainings of a service; everything else of them is under `runs`.", no_args_is_help=True)


@command(app, "start")
def start(
    remote: Remote,
    name: Annotated[str, typer.Argument(help="What it is called.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="JSON or YAML file for the trainer.")],
    datasets: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--dataset", "-d", help="NAME, NAME@VERSION or NAME@ALIAS; ROLE=NAME… gives it a role."),
    ] = None,
    starts: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--start", help="Model to go on from, like a dataset; ROLE=NAME… for another role."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Model that gets a version when it succeeds; by default it is named after the training."),
    ] = None,
    changes: Set = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Higher starts first.")] = 0,
    tags: Tags = None,
) -> None:
    """Start a training."""
    if not datasets:
        raise InputError("give at least one --dataset")
    run = remote.client.trainings.start(
        name, datasets, read_config(config, changes or []), models=starts or [], model=model, priority=priority,
        tags=tags,
    )  # fmt: skip
    remote.show(run, lambda run: remote.say(run["id"]))


@command(app, "list")
def list_trainings(
    remote: Remote,
    state: Annotated[Optional[str], typer.Option(help="Only of this state.")] = None,  # noqa: UP045
    most: Most = 50,
) -> None:
    """List trainings, newest first."""
    found = list(islice(remote.client.trainings.list(state=state, limit=min(most, 200)), most))
    remote.show(found, lambda runs: show_runs(remote, runs))


@command(app, "show")
def show(
    remote: Remote,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the training.")],
    points: Annotated[int, typer.Option(min=0, help="How many of the last points of its curves.")] = 10,
) -> None:
    """Show a training: state, last points, checkpoints."""
    trainings = remote.client.trainings
    whole = {
        "run": trainings.get(run), "points": list(deque(trainings.metrics(run), maxlen=points)),
        "checkpoints": trainings.checkpoints(run),
    }  # fmt: skip
    remote.show(whole, lambda whole: _show(remote, whole))


def _show(remote: Remote, whole: dict[str, Any]) -> None:
    run = whole["run"]
    inputs = [f"{one.get('source')} {one.get('path')}" for one in run["inputs"]]
    remote.facts(
        [
            ("training", run["id"]), ("name", run["name"]), ("state", run["state"]), ("reason", run["reason"]),
            ("inputs", inputs), ("created", f"{run['created_at']} by {run['created_by']}"),
            ("finished", run["finished_at"]), ("result", run["result"]),
        ]
    )  # fmt: skip
    for title in ("points", "checkpoints"):
        if whole[title]:
            remote.say("")
            rows = [(one["at"], one["attempt"], _values(one["values"])) for one in whole[title]]
            remote.table(rows, title, "attempt#", "values")


def _values(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} {shown(value)}" for name, value in values.items())
