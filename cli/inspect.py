"""``gristmill inspect``: look at what each rule took away, and why."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from cli.show import COLOURS, cell, line, show_funnel, terminal, visible

console = terminal()
EXCERPT = 300


def inspect_command(directory: str, reason: str | None, near: str | None, id_: str | None, samples: int) -> None:
    """Print what was asked for; without a question the funnel and the table of rules."""
    from pipelines.browse import nearest
    from pipelines.look import FinishedRun

    run = FinishedRun(directory)
    if id_ is not None:
        _show_history(run.history(id_))
    elif reason is not None:
        _show_samples(run.by_reason(reason, samples), f"{reason}: samples")
    elif near is not None:
        rule, rows = run.rule(near), run.with_texts(nearest(run, near, samples))
        _show_samples(rows, f"{near}: {rule.measure} {rule.comparison} threshold is kept; nearest documents")
    else:
        show_funnel(console, run.statistics)
        _show_rules(run.rules())


def _show_rules(rules: list[dict[str, Any]]) -> None:
    table = Table("stage", "rule", "kept while", "decided", "failing", box=None, pad_edge=False, title="\nrules")
    for column in table.columns[3:]:
        column.justify = "right"
    for rule in rules:
        foreign = [cell(rule[name]) for name in ("stage", "rule", "condition")]
        table.add_row(*foreign, f"{rule['decided']:,}", f"{rule['failing']:,}")
    console.print(table)
    console.print("decided: the first failing rule; failing: all documents that fail it at this stage")


def _show_samples(rows: list[dict[str, Any]], title: str) -> None:
    console.print(cell(title, "bold"))
    if not rows:
        console.print("no document")
    for row in rows:
        console.rule(style=COLOURS[row["verdict"]])
        _say_verdict(row)
        console.print(line(f"{row['id']}  {row['url'] or ''}"), soft_wrap=True)
        if row.get("text"):
            console.print(visible(row["text"][:EXCERPT]) + (" …" if len(row["text"]) > EXCERPT else ""))


def _say_verdict(row: dict[str, Any], style: str = "") -> None:
    verdict = Text(row["verdict"], f"{style} {COLOURS[row['verdict']]}")
    console.print(Text.assemble(verdict, " ", cell(reason_of(row))))


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
        parts.append(row["detail"])
    return "  ".join(parts)


def _show_history(history: dict[str, Any]) -> None:
    row = history["ledger"]
    _say_verdict(row, "bold")
    console.print(line(f"place: {history['uri']} bytes {row['offset']}+{row['length']}"), soft_wrap=True)
    table = Table("stage", "column", "value", box=None, pad_edge=False)
    for stage, name, value in history["measures"]:
        table.add_row(cell(stage), cell(name), cell(str(value)))
    console.print(table)
    if row["failing_rules"]:
        console.print(line("failing: " + ", ".join(row["failing_rules"])))
    for title, text in (("text", history["text"]), ("witness", history["witness_text"])):
        if text is not None:
            console.rule(title)
            console.print(visible(text), soft_wrap=True)
