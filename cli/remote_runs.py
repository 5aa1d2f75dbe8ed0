"""``gristmill runs``: runs of a service."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, Optional

import typer
from rich.markup import escape
from rich.text import Text

from cli.remote import (
    Earlier,
    Inputs,
    Most,
    Pipeline,
    Publish,
    Recipe,
    Remote,
    Samples,
    Tags,
    Thresholds,
    command,
    counted,
    job_options,
    plain_json,
    shown,
    thresholds_of,
)
from cli.show import COLOURS, cell, line, visible
from curation.errors import InputError, RunError

app = typer.Typer(help="Runs of a service: submit, follow, command, look.", no_args_is_help=True)
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended; exit with 1 unless it succeeded.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="The same, with its events and progress.")]
Name = Annotated[Optional[str], typer.Option(help="Default: the recipe's.")]  # noqa: UP045


@command(app, "submit")
def submit(
    remote: Remote,
    recipe: Recipe = None,
    inputs: Inputs = None,
    pipeline: Pipeline = None,
    thresholds: Thresholds = None,
    name: Name = None,
    publish: Publish = None,
    earlier: Earlier = None,
    preview: Annotated[Optional[float], typer.Option(help="Only look at this share of the documents.")] = None,  # noqa: UP045
    estimate: Annotated[bool, typer.Option("--estimate", help="Forecast it from samples instead.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check it and show the whole recipe.")] = False,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Higher starts first.")] = 0,
    tags: Tags = None,
    wait: Wait = False,
    watch: Watch = False,
) -> None:
    """Submit a run."""
    kind = {} if preview is None else {"kind": "preview", "sample_share": preview}
    job = job_options(
        recipe, pipeline, inputs, thresholds, name=name, publish=publish, earlier=earlier, tags=tags,
        priority=priority, **kind,
    )  # fmt: skip
    runs = remote.client.runs
    if check:
        remote.show(runs.validate(**job), lambda found: remote.plain(found["recipe"]))
        return
    run = (runs.estimate if estimate else runs.submit)(**job)
    _started(remote, run, wait, watch)


def _started(remote: Remote, run: dict[str, Any], wait: bool, watch: bool) -> None:
    if not (wait or watch):
        remote.show(run, lambda run: remote.say(run["id"]))
        return
    if not remote.as_json:
        remote.say(run["id"])
    if watch:
        _follow(remote, run["id"], 0, quiet=False)
    _ended(remote, remote.client.runs.wait(run["id"]))


def _ended(remote: Remote, run: dict[str, Any]) -> None:
    """Show how a run ended.

    Raises:
        RunError: it did not succeed.
    """
    if remote.as_json or run["state"] == "succeeded":
        remote.show(run, lambda run: _show_run(remote, run))
    if run["state"] != "succeeded":
        raise RunError(f"run {run['id']} {run['state']}" + (f": {run['reason']}" if run["reason"] else ""))


def _follow(remote: Remote, run_id: str, after: int, quiet: bool) -> None:
    """Show events until the run has ended; bars where somebody looks, lines otherwise."""
    from cli.progress import bars, errors

    try:
        with bars(quiet) as shown_bars:
            for event in remote.client.runs.events(run_id, after):
                data = event["data"]
                if quiet:
                    print(plain_json(event, None), flush=True)
                elif event["kind"] == "run.progress":
                    phase = escape(line(str(data.get("phase"))))
                    shown_bars.to(phase)(int(data.get("done") or 0), int(data.get("total") or 0))
                else:
                    reason = data.get("reason")
                    said = f"{event['at']}  {event['kind']}" + (f"  {reason}" if reason else "")
                    errors.print(line(said), soft_wrap=True)
    except KeyboardInterrupt:
        errors.print(line(f"the run goes on; gristmill runs watch {run_id} follows it"), soft_wrap=True)
        raise typer.Exit(130) from None


def _show_run(remote: Remote, run: dict[str, Any]) -> None:
    progress, result = run["progress"], run["result"] or {}
    inputs = [f"{one.get('source')}:{one.get('path')}" for one in run["inputs"]]
    phase = f"{progress['phase']} {shown(progress['done'])} of {shown(progress['total'])}" if progress else None
    remote.facts(
        [
            ("run", run["id"]), ("name", run["name"]), ("kind", run["kind"]), ("state", run["state"]),
            ("reason", run["reason"]), ("phase", None if run["finished_at"] else phase), ("inputs", inputs),
            ("kept", counted(result)), ("tags", run["tags"]), ("note", run["note"]), ("parent", run["parent"]),
            ("schedule", run["schedule"]), ("attempts", run["attempts"]),
            ("created", f"{run['created_at']} by {run['created_by']}"), ("started", run["started_at"]),
            ("finished", run["finished_at"]),
        ]
    )  # fmt: skip


@command(app, "list")
def list_runs(
    remote: Remote,
    state: Annotated[Optional[str], typer.Option(help="Only of this state.")] = None,  # noqa: UP045
    kind: Annotated[Optional[str], typer.Option(help="curate, preview, estimate or training.")] = None,  # noqa: UP045
    schedule: Annotated[Optional[str], typer.Option(help="Name of the schedule that started it.")] = None,  # noqa: UP045
    pipeline: Annotated[Optional[str], typer.Option(help="Name of the pipeline.")] = None,  # noqa: UP045
    tag: Annotated[Optional[str], typer.Option(help="That it carries.")] = None,  # noqa: UP045
    most: Most = 50,
) -> None:
    """List runs, newest first."""
    filters = {"state": state, "kind": kind, "schedule": schedule, "pipeline": pipeline, "tag": tag}
    found = list(islice(remote.client.runs.list(**filters, limit=min(most, 200)), most))
    remote.show(found, lambda runs: show_runs(remote, runs))


def show_runs(remote: Remote, runs: list[dict[str, Any]]) -> None:
    """A table of runs."""
    rows = [(r["id"], r["state"], r["kind"], r["name"], counted(r["result"]), r["created_at"]) for r in runs]
    remote.table(rows, "run", "state", "kind", "name", "kept#", "created", empty="no runs")


@command(app, "show")
def show(
    remote: Remote, run: RunId, rules: Annotated[bool, typer.Option("--rules", help="Every rule, too.")] = False
) -> None:
    """Show a run and, when it has finished, its funnel."""
    runs = remote.client.runs
    found = runs.get(run)
    finished = found["state"] == "succeeded" and found["kind"] in ("curate", "preview")
    whole = {"run": found, "funnel": runs.funnel(run) if finished else None}
    if rules:
        whole["rules"] = runs.rules(run)
    remote.show(whole, lambda whole: _show_whole(remote, whole))


def _show_whole(remote: Remote, whole: dict[str, Any]) -> None:
    _show_run(remote, whole["run"])
    if whole["funnel"] is not None:
        remote.say("")
        _show_funnel(remote, whole["funnel"]["rows"])
    if "rules" in whole:
        remote.say("")
        rows = [
            (r["stage"], r["rule"], f"{r['measure']} {r['comparison']}", _by_language(r["thresholds"]), r["decided"],
             r["failing"])
            for r in whole["rules"]
        ]  # fmt: skip
        remote.table(rows, "stage", "rule", "kept while", "threshold", "decided#", "failing#")


def _by_language(thresholds: dict[str, Any]) -> str:
    said = {name: "off" if value is None else shown(value) for name, value in thresholds.items()}
    only = said.pop("default", None)
    others = [f"{name} {value}" for name, value in said.items()]
    return ", ".join(([only] if only is not None else []) + others)


def _show_funnel(remote: Remote, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("stage", "reason", box=None, pad_edge=False)
    for name in ("documents", "share", "tokens"):
        table.add_column(name, justify="right")
    total = max(rows[0]["documents"], 1) if rows else 1
    for row in rows:
        sign = "" if row["verdict"] in ("read", "kept") else "−"
        table.add_row(
            cell(row["stage"]), cell(row["reason"]), f"{sign}{row['documents']:,}", f"{row['documents'] / total:.1%}",
            f"{sign}{row['tokens']:,}", style=COLOURS.get(row["verdict"], ""),
        )  # fmt: skip
    remote.console.print(table)


@command(app, "watch")
def watch_run(
    remote: Remote, run: RunId, after: Annotated[int, typer.Option(min=0, help="Number of the last event known.")] = 0
) -> None:
    """Follow a run until it has ended; with --json one event a line.  Exit with 1 unless it succeeded."""
    _follow(remote, run, after, quiet=remote.as_json)
    found = remote.client.runs.get(run)
    if remote.as_json and found["state"] == "succeeded":
        return
    remote.as_json = False
    _ended(remote, found)


def _commands() -> None:
    told = {
        "cancel": "Stop a run; what is committed stays.",
        "pause": "Stop a run at the next shard, to go on later.",
        "resume": "Go on with a paused run.",
        "retry": "Go on with a failed or cancelled run, from what is committed.",
    }
    for name, said in told.items():

        def act(remote: Remote, run: RunId, _name: str = name) -> None:
            found = getattr(remote.client.runs, _name)(run)
            remote.show(found, lambda found: remote.say(f"{found['id']}  {found['state']}"))

        act.__doc__ = said
        command(app, name)(act)


_commands()


@command(app, "fork")
def fork(
    remote: Remote,
    run: RunId,
    thresholds: Thresholds = None,
    name: Annotated[Optional[str], typer.Option(help="Default: the other's, with '(fork)'.")] = None,  # noqa: UP045
    publish: Publish = None,
    tags: Tags = None,
    wait: Wait = False,
    watch: Watch = False,
) -> None:
    """Run a finished run again with other thresholds; what they do not change is taken over."""
    wanted = _some(thresholds)
    _started(remote, remote.client.runs.fork(run, wanted, name=name, publish=publish, tags=tags), wait, watch)


def _some(given: list[str] | None) -> dict[str, Any]:
    found = thresholds_of(given)
    if found is None:
        raise InputError("give at least one --threshold stage.rule=NUMBER")
    return found


@command(app, "what-if")
def what_if(remote: Remote, run: RunId, thresholds: Thresholds = None, samples: Samples = 3) -> None:
    """Tell what a finished run would have kept with other thresholds; nothing is run again."""
    answer = remote.client.runs.what_if(run, _some(thresholds), samples)
    remote.show(answer, lambda answer: _show_answer(remote, answer))


def _show_answer(remote: Remote, answer: dict[str, Any]) -> None:
    groups = [("documents", answer["kept"]), ("tokens", answer["tokens"])]
    groups += [(f"language {name}", group) for name, group in answer["languages"].items()]
    groups += [(f"domain {name}", group) for name, group in answer["domains"].items()]
    rows = [[name, *(group[column] for column in ("before", "after", "lost", "gained"))] for name, group in groups]
    remote.table(rows, "kept", "before#", "after#", "lost#", "gained#")
    if answer["exact"]:
        remote.say("A run with these thresholds keeps just these.")
    else:
        remote.say(f"Not exact: {answer['undetermined']:,} undetermined, {answer['contingent']:,} contingent.")
        for why in answer["why"]:
            remote.say(f"  {why['stage']}: {why['documents']:,}: {why['why']}")
    changes = [r for r in answer["reasons"] if r["before"] != r["after"]]
    remote.say("")
    told = [(r["stage"] or "", r["rule"] or r["verdict"], r["before"], r["after"]) for r in changes]
    remote.table(told, "stage", "reason", "before#", "after#", empty="Every reason keeps its number.")
    for name, items in answer["samples"].items():
        for item in items:
            _heading(remote, f"{name}  {item['id']}  {item.get('language') or ''}  {item.get('url') or ''}")
            if item.get("text"):
                remote.console.print(visible(item["text"]), soft_wrap=True)


def _heading(remote: Remote, text: str) -> None:
    remote.say("")
    remote.console.print(Text(line(text), "bold"), soft_wrap=True)


@command(app, "compare")
def compare(remote: Remote, run: RunId, other: Annotated[str, typer.Argument(help="Id of the other run.")]) -> None:
    """Show two runs side by side."""
    found = remote.client.runs.compare(run, other)
    remote.show(found, lambda found: _show_comparison(remote, found))


def _show_comparison(remote: Remote, found: dict[str, Any]) -> None:
    rows = [(r["stage"], r["reason"], r["first"]["documents"], r["second"]["documents"]) for r in found["funnel"]]
    remote.table(rows, "stage", "reason", "first#", "second#")
    remote.say("")
    changes = [(c["was"], c["now"], c["documents"]) for c in found["changes"]]
    remote.table(changes, "was", "is", "documents#", empty="Nothing became something else.")
    remote.say(f"{found['same']:,} same, {found['only_first']:,} only first, {found['only_second']:,} only second")


@command(app, "logs")
def logs(
    remote: Remote,
    run: RunId,
    after: Annotated[int, typer.Option(min=0, help="Number of the last line known.")] = 0,
    level: Annotated[Optional[str], typer.Option(help="info, warning or error.")] = None,  # noqa: UP045
) -> None:
    """Show what the attempts at a run said; with --json one line each."""
    for one in remote.client.runs.logs(run, after=after, level=level):
        if remote.as_json:
            print(plain_json(one, None))
        else:
            remote.say(f"{one['at']}  {one['attempt']}  {one['level']:<7}  {one['text']}")


@command(app, "documents")
def documents(
    remote: Remote,
    run: RunId,
    verdict: Annotated[Optional[str], typer.Option(help="kept, dropped, duplicate or quarantined.")] = None,  # noqa: UP045
    rule: Annotated[Optional[str], typer.Option(help="That took it.")] = None,  # noqa: UP045
    stage: Annotated[Optional[str], typer.Option(help="That took it.")] = None,  # noqa: UP045
    language: Annotated[Optional[str], typer.Option(help="Code; und for none.")] = None,  # noqa: UP045
    domain: Annotated[Optional[str], typer.Option(help="As the classifier calls it.")] = None,  # noqa: UP045
    host: Annotated[Optional[str], typer.Option(help="Of its address.")] = None,  # noqa: UP045
    near: Annotated[Optional[str], typer.Option(help="A rule: nearest to its threshold first.")] = None,  # noqa: UP045
    id_: Annotated[Optional[str], typer.Option("--id", help="Everything known of this one.")] = None,  # noqa: UP045
    text: Annotated[bool, typer.Option("--text", help="With the beginning of each text.")] = False,
    most: Most = 20,
) -> None:
    """Show documents of a finished run by what became of them, or one of them."""
    runs = remote.client.runs
    if id_ is not None:
        remote.show(runs.document(run, id_), lambda found: _show_document(remote, found))
        return
    filters = {"verdict": verdict, "rule": rule, "stage": stage, "language": language, "domain": domain, "host": host}
    found = islice(runs.documents(run, **filters, near=near, text=text, limit=min(most, 200)), most)
    remote.show(list(found), lambda rows: _show_documents(remote, rows, text))


def _show_documents(remote: Remote, rows: list[dict[str, Any]], texts: bool) -> None:
    if texts:
        for row in rows:
            _heading(remote, f"{row['id']}  {_fate(row)}  {row['url'] or ''}")
            remote.console.print(visible(row["text"] or "(no text was retained)"), soft_wrap=True)
        return
    told = [(row["id"], _fate(row), row["language"], row["url"]) for row in rows]
    remote.table(told, "document", "fate", "language", "address", empty="no documents")


def _fate(row: Mapping[str, Any]) -> str:
    if row["verdict"] == "kept":
        return "kept"
    said = f"{row['verdict']} {row['stage']}.{row['rule']}"
    if row["value"] is not None and row["threshold"] is not None:
        said += f" {row['value']:g} ({row['threshold']:g})"
    return f"{said} of {row['witness']}" if row["witness"] else said


def _show_document(remote: Remote, found: dict[str, Any]) -> None:
    remote.say(f"{found['ledger']['id']}  {_fate(found['ledger'])}")
    remote.say(f"{found['uri']}")
    remote.say("")
    remote.table([(m["stage"], m["name"], m["value"]) for m in found["measures"]], "stage", "measure", "value")
    for title, text in (("text", found["text"]), ("witness", found["witness_text"])):
        if text is not None:
            _heading(remote, title)
            remote.console.print(visible(text), soft_wrap=True)
