"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLOURS = {"kept": "green", "dropped": "yellow", "duplicate": "cyan", "quarantined": "red", "read": "bold"}
_INVISIBLE = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in (0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
}


def visible(text: str) -> str:
    """Crawled text for a terminal: control and bidirectional characters are shown, not obeyed."""
    return text.translate(_INVISIBLE)


def show_funnel(console: Console, statistics: Mapping[str, Any]) -> None:
    """Documents and tokens in, each reason, kept."""
    from pipelines.funnel import funnel

    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    table.add_column("reason")
    table.add_column("documents", justify="right")
    table.add_column("share", justify="right")
    table.add_column("tokens", justify="right")
    rows = funnel(statistics)
    total = max(rows[0].documents, 1)
    for row in rows:
        sign = "" if row.verdict in ("read", "kept") else "−"
        table.add_row(
            row.stage, row.reason, f"{sign}{row.documents:,}", f"{row.documents / total:.1%}",
            f"{sign}{row.tokens:,}", style=COLOURS[row.verdict],
        )  # fmt: skip
    console.print(table)
    published = statistics["tokens"]["published"]
    if published != rows[-1].tokens:
        console.print(f"{published:,} tokens are published: stages that rewrite text took the difference.")
