"""``gristmill inspect``: look at what each rule took away, and why."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from cli.show import COLOURS, show_funnel, visible

console = Console(highlight=False)
EXCERPT = 300


def inspect_command(directory: str, reason: str | None, near: str | None, id_: str | None, samples: int) -> None:
    """Print what was asked for; without a question the funnel and the table of rules."""
    from pipelines.look import FinishedRun

    run = FinishedRun(directory)
    if id_ is not None:
        _show_history(run.history(id_))
    elif reason is not None:
        _show_samples(run.by_reason(reason, samples), f"{reason}: samples")
    elif near is not None:
        rule, rows = run.near_threshold(near, samples)
        _show_samples(rows, f"{near}: {rule.measure} {rule.comparison} threshold is kept; nearest documents")
    else:
        show_funnel(console, run.statistics)
        _show_rules(run.rules())


def _show_rules(rules: list[dict[str, Any]]) -> None:
    table = Table("stage", "rule", "kept while", "decided", "failing", box=None, pad_edge=False, title="\nrules")
    for column in table.columns[3:]:
        column.justify = "right"
    for rule in rules:
        table.add_row(rule["stage"], rule["rule"], rule["condition"], f"{rule['decided']:,}", f"{rule['failing']:,}")
    console.print(table)
    console.print("decided: the first failing rule; failing: all documents that fail it at this stage")


def _show_samples(rows: list[dict[str, Any]], title: str) -> None:
    console.print(f"[bold]{title}[/bold]")
    if not rows:
        console.print("no document")
    for row in rows:
        colour = COLOURS[row["verdict"]]
        console.rule(style=colour)
        console.print(f"[{colour}]{row['verdict']}[/{colour}] ", end="")
        console.print(reason_of(row), markup=False)
        console.print(f"{row['id']}  {visible(row['url'] or '')}", markup=False, soft_wrap=True)
        if row.get("text"):
            text = visible(row["text"][:EXCERPT])
            console.print(text + (" …" if len(row["text"]) > EXCERPT else ""), markup=False)


def reason_of(row: dict[str, Any]) -> str:
    """One line: why a record is where it is."""
    if row["verdict"] == "kept":
        return f"value {row['measured']:g}" if row.get("measured") is not None else ""
    parts = [f"{row['stage']}.{row['rule']}"]
    if row["value"] is not None:
        parts.append(f"value {row['value']:g}, threshold {row['threshold']:g}")
    if row["witness"]:
        where = f" of {row['witness_dataset']}" if row["witness_dataset"] else ""
        parts.append(f"witness {row['witness']}{where}")
    if row["detail"]:
        parts.append(visible(row["detail"]))
    return "  ".join(parts)


def _show_history(history: dict[str, Any]) -> None:
    row = history["ledger"]
    colour = COLOURS[row["verdict"]]
    console.print(f"[bold {colour}]{row['verdict']}[/bold {colour}] ", end="")
    console.print(reason_of(row), markup=False)
    console.print(f"place: {history['uri']} bytes {row['offset']}+{row['length']}", markup=False, soft_wrap=True)
    table = Table("stage", "column", "value", box=None, pad_edge=False)
    for stage, name, value in history["measures"]:
        table.add_row(stage, name, visible(str(value)))
    console.print(table)
    if row["failing_rules"]:
        console.print("failing: " + ", ".join(row["failing_rules"]), markup=False)
    for title, text in (("text", history["text"]), ("witness", history["witness_text"])):
        if text is not None:
            console.rule(title)
            console.print(visible(text), markup=False, soft_wrap=True)
