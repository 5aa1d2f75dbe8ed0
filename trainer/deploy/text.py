"""Plain text for terminals."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) if place else cell.ljust(width)
                  for place, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip


def number(value: float | None) -> str:
    """Four digits that count; a dash for nothing."""
    return "–" if value is None else f"{value:.4g}"


def scaled(value: float | None, units: Sequence[str] = ("", "k", "M", "G", "T", "P", "E"), step: float = 1000) -> str:
    """Three digits and a unit."""
    if value is None:
        return "–"
    place = 0
    while abs(value) >= step and place + 1 < len(units):
        value, place = value / step, place + 1
    return f"{value:.3g} {units[place]}".strip()


def size(count: float | None) -> str:
    """Bytes, in powers of 1024."""
    return scaled(count, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)


def duration(seconds: float | None) -> str:
    """Seconds in the unit that people would use."""
    if seconds is None:
        return "–"
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1, 1e3, "ms"), (120, 1, "s"), (7200, 1 / 60, "min")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 3600:.3g} h" if seconds < 172800 else f"{seconds / 86400:,.0f} days"
