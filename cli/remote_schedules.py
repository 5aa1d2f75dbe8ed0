"""``gristmill schedules``: jobs that start by themselves."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Optional

import typer

from cli.remote import (
    Earlier,
    Inputs,
    Most,
    Pipeline,
    Publish,
    Recipe,
    Remote,
    Tags,
    Thresholds,
    command,
    job_options,
    plain_json,
)

app = typer.Typer(help="Schedules of a service: nights, and what was decided about each.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the schedule.")]


@command(app, "list")
def list_schedules(remote: Remote) -> None:
    """List schedules by name."""
    remote.show(list(remote.client.schedules.list()), lambda found: _show_list(remote, found))


def _show_list(remote: Remote, found: list[dict[str, Any]]) -> None:
    rows = [(s["name"], s["policy"]["cron"], s["policy"]["time_zone"], _next(s)) for s in found]
    remote.table(rows, "schedule", "cron", "time zone", "next", empty="no schedules")


def _next(schedule: dict[str, Any]) -> str:
    return "paused" if schedule["paused"] else schedule["next"] or "has ended"


@command(app, "make")
def make(
    remote: Remote,
    name: Name,
    recipe: Recipe = None,
    cron: Annotated[
        str, typer.Option(help="Minute, hour, day of month, month, day of week: '30 2 * * *'.")
    ] = "0 2 * * *",
    time_zone: Annotated[str, typer.Option(help="Whose wall clock that is, such as Europe/Berlin.")] = "UTC",
    inputs: Inputs = None,
    pipeline: Pipeline = None,
    thresholds: Thresholds = None,
    publish: Publish = None,
    earlier: Earlier = None,
    tags: Tags = None,
    overlap: Annotated[
        str, typer.Option(help="While one is unfinished: skip, queue_one, queue_all, cancel_other, allow.")
    ] = "skip",
    jitter: Annotated[int, typer.Option(min=0, max=3600, help="Seconds, at most, that it starts later.")] = 0,
    all_shards: Annotated[
        bool, typer.Option("--all-shards", help="Read shards that earlier nights have read.")
    ] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Do not start it yet.")] = False,
) -> None:
    """Make a schedule; in the paths of its inputs {date}, {year}, {month}, {day} and {hour} stand for its time."""
    from api.client.jobs import job

    request = job(**job_options(recipe, pipeline, inputs, thresholds, publish=publish, earlier=earlier, tags=tags))
    policy = {"cron": cron, "time_zone": time_zone, "overlap": overlap, "jitter_seconds": jitter}
    made = remote.client.schedules.make(name, policy, request, not all_shards, paused)
    remote.show(made, lambda made: remote.say(f"{made['name']}  next: {_next(made)}"))


@command(app, "show")
def show(remote: Remote, name: Name) -> None:
    """Show a schedule."""
    remote.show(remote.client.schedules.get(name), lambda found: _show(remote, found))


def _show(remote: Remote, found: dict[str, Any]) -> None:
    request = found["request"]
    inputs = [f"{one['source']}:{one['path']}" for one in request["inputs"]]
    recipe = request.get("recipe")
    said = recipe if isinstance(recipe, str) else (recipe or {}).get("name") or request.get("pipeline")
    policy = {name: value for name, value in found["policy"].items() if value is not None}
    remote.facts(
        [
            ("schedule", found["name"]), ("next", _next(found)), ("policy", plain_json(policy, None)),
            ("recipe", said), ("inputs", inputs), ("publish", request.get("publish")),
            ("only new", found["only_new"]), ("decided until", found["decided_until"]),
            ("created", f"{found['created_at']} by {found['created_by']}"),
        ]
    )  # fmt: skip


@command(app, "next")
def next_fires(remote: Remote, name: Name, count: Annotated[int, typer.Option(min=1, max=100)] = 10) -> None:
    """Show fires to come."""
    found = remote.client.schedules.next(name, count)
    rows = [(fire["local"], fire["due"]) for fire in found]
    remote.show(found, lambda _: remote.table(rows, "on its clock", "due", empty="It has ended."))


@command(app, "fires")
def fires(remote: Remote, name: Name, most: Most = 20) -> None:
    """Show what was decided about past times, latest first."""
    found = list(islice(remote.client.schedules.fires(name), most))
    rows = [(fire["nominal"], fire["outcome"], fire["reason"], fire["run"]) for fire in found]
    remote.show(found, lambda _: remote.table(rows, "time", "outcome", "reason", "run", empty="nothing yet"))


@command(app, "pause")
def pause(remote: Remote, name: Name) -> None:
    """Skip what is due until it is resumed."""
    remote.show(remote.client.schedules.pause(name), lambda found: remote.say(f"{found['name']}  {_next(found)}"))


@command(app, "resume")
def resume(remote: Remote, name: Name) -> None:
    """Start what is due from now on."""
    remote.show(
        remote.client.schedules.resume(name), lambda found: remote.say(f"{found['name']}  next: {_next(found)}")
    )


@command(app, "trigger")
def trigger(remote: Remote, name: Name) -> None:
    """Start a run of it now."""
    remote.show(remote.client.schedules.trigger(name), lambda run: remote.say(run["id"]))


@command(app, "backfill")
def backfill(
    remote: Remote,
    name: Name,
    first: Annotated[str, typer.Argument(help="First date, YYYY-MM-DD.")],
    last: Annotated[Optional[str], typer.Argument(help="Last date.  Default: the first.")] = None,  # noqa: UP045
    start: Annotated[bool, typer.Option("--start", help="Start the runs; otherwise only show which.")] = False,
) -> None:
    """Run for past dates."""
    found = remote.client.schedules.backfill(name, first, last or first, dry_run=not start)
    rows = [(item["nominal"], item["action"], item["run"]) for item in found["items"]]
    remote.show(found, lambda _: remote.table(rows, "time", "action", "run", empty="no times in these dates"))
    if found["dry_run"] and not remote.as_json:
        remote.say("Nothing was started; --start starts them.")


@command(app, "remove")
def remove(remote: Remote, name: Name) -> None:
    """Remove a schedule; its runs stay."""
    remote.client.schedules.remove(name)
    remote.show({"removed": name}, lambda _: remote.say(f"{name}  removed"))
