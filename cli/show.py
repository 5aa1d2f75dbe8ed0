"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"kept": "green", "dropped": "yellow", "duplicate": "cyan", "quarantined": "red", "read": "bold"}
_BIDIRECTIONAL = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SEPARATORS = (0x2028, 0x2029)
_SURROGATES = range(0xD800, 0xE000)  # stand for the bytes of a file name that is not UTF-8
_TAGS = range(0xE0000, 0xE0080)
_INVISIBLE = {
    **{code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))},
    **{code: f"\\u{code:04x}" for code in (0x200B, *_BIDIRECTIONAL, *_SEPARATORS, *_SURROGATES, 0xFEFF)},
    **{code: f"\\U{code:08x}" for code in _TAGS},
}
_LINE = _INVISIBLE | {ord("\t"): "\\t", ord("\n"): "\\n"}


def visible(text: str) -> str:
    """Crawled text for a terminal: control, bidirectional and hidden characters are shown, not obeyed.

    Tabs and the ends of lines stay.
    """
    return text.translate(_INVISIBLE)


def line(text: str) -> str:
    """The same for what must stay in its line: names, addresses, messages."""
    return text.translate(_LINE)


def cell(text: str, style: str = "") -> Text:
    """Foreign text as a cell or a heading: what looks like markup in it is text."""
    return Text(line(text), style)


def terminal(stderr: bool = False) -> Console:
    """A console that takes strings as they are: ``[b]`` and ``:cat:`` are text, colour comes from ``Text``."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


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
            cell(row.stage), cell(row.reason), f"{sign}{row.documents:,}", f"{row.documents / total:.1%}",
            f"{sign}{row.tokens:,}", style=COLOURS[row.verdict],
        )  # fmt: skip
    console.print(table)
    if "hygiene" in statistics:
        show_set(console, statistics["hygiene"])
    published = statistics["tokens"]["published"]
    if published != rows[-1].tokens:
        console.print(f"{published:,} tokens are published: stages that rewrite text took the difference.")


def show_set(console: Console, summary: Mapping[str, Any]) -> None:
    """What was found among all entries together."""
    from pipelines.hygiene.told import told

    table = Table(box=None, pad_edge=False, title="as a set", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in told(summary):
        table.add_row(what, figure)
    console.print()
    console.print(table)
