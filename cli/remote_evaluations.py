"""``gristmill evaluations``: what models of a service are asked."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Optional

import typer

from cli.config_file import read_config
from cli.remote import Most, Remote, Tags, command, plain_json
from cli.remote_runs import show_runs
from cli.trainer_app import Set

app = typer.Typer(help="Evaluations of a service; everything else of them is under `runs`.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="RUN", help="Id of the evaluation.")]
Version = "NAME, NAME@VERSION or NAME@ALIAS; ROLE=NAME… gives it a role."


@command(app, "start")
def start(
    remote: Remote,
    task: Annotated[str, typer.Argument(help="generate, perplexity, win_rate, compare or cost.")],
    models: Annotated[Optional[list[str]], typer.Option("--model", "-m", help=Version)] = None,  # noqa: UP045
    datasets: Annotated[Optional[list[str]], typer.Option("--dataset", "-d", help=Version)] = None,  # noqa: UP045
    name: Annotated[Optional[str], typer.Option(help="What it is called.  Default: the task.")] = None,  # noqa: UP045
    config: Annotated[Optional[Path], typer.Option("--config", "-c", help="JSON or YAML: fields of the task.")] = None,  # noqa: UP045
    changes: Set = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Higher starts first.")] = 0,
    tags: Tags = None,
) -> None:
    """Start an evaluation."""
    run = remote.client.evaluations.start(
        name or task, task, models or [], datasets or [], read_config(config, changes or []), priority=priority,
        tags=tags,
    )  # fmt: skip
    remote.show(run, lambda run: remote.say(run["id"]))


@command(app, "list")
def list_evaluations(
    remote: Remote,
    state: Annotated[Optional[str], typer.Option(help="Only of this state.")] = None,  # noqa: UP045
    most: Most = 50,
) -> None:
    """List evaluations, newest first."""
    found = list(islice(remote.client.evaluations.list(state=state, limit=min(most, 200)), most))
    remote.show(found, lambda runs: show_runs(remote, runs))


@command(app, "show")
def show(remote: Remote, run: Id) -> None:
    """Show an evaluation: what was asked of which models, and what came out."""
    from cli.show import visible

    found = remote.client.evaluations.get(run)
    result = found["result"] or {}
    figures = [(name, value) for name, value in result.items() if name != "table"]
    inputs = [f"{one.get('source')} {one.get('path')}" for one in found["inputs"]]
    facts = [("evaluation", found["id"]), ("name", found["name"]), ("state", found["state"]),
             ("reason", found["reason"]), ("inputs", inputs), ("finished", found["finished_at"])]  # fmt: skip

    def for_people(_: object) -> None:
        remote.facts([*facts, *([] if "table" in result else figures)])
        if "table" in result:
            remote.say("")
            remote.console.print(visible(str(result["table"])), soft_wrap=True)

    remote.show(found, for_people)


@command(app, "rows")
def rows(
    remote: Remote,
    run: Id,
    file: Annotated[str, typer.Argument(help="responses.jsonl, answers.jsonl, documents.jsonl, a/documents.jsonl, …")],
    most: Most = 20,
) -> None:
    """Print what an evaluation wrote, a line of JSON each."""
    for row in islice(remote.client.evaluations.rows(run, file, limit=min(most, 1000)), most):
        print(plain_json(row, None))
