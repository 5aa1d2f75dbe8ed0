"""Figures, moments and states as people read them; pure functions, used as filters of the templates."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

UNKNOWN = "–"


def count(value: Any) -> str:
    """``12,345``; a dash for what nobody counted."""
    return UNKNOWN if value is None else f"{int(value):,}"


def figure(value: Any) -> str:
    """A measured value: whole numbers whole, others with four significant digits."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def share(part: Any, whole: Any) -> str:
    """``12.3 %`` of a whole; a dash of nothing."""
    return UNKNOWN if not whole or part is None else f"{100 * part / whole:.1f} %"


def size(value: Any) -> str:
    """Bytes in binary units."""
    if value is None:
        return UNKNOWN
    amount, units = float(value), ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    place = 0
    while amount >= 1024 and place < len(units) - 1:
        amount, place = amount / 1024, place + 1
    return f"{amount:.0f} {units[place]}" if place == 0 else f"{amount:.1f} {units[place]}"


def duration(seconds: Any) -> str:
    """``1 h 02 min``, ``3 min 20 s``, ``4.2 s``."""
    if seconds is None:
        return UNKNOWN
    whole = round(float(seconds))
    if whole < 60:
        return f"{float(seconds):.1f} s" if float(seconds) < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def seconds_between(began: str | None, ended: str | None) -> float | None:
    """Seconds from one moment of the API to another."""
    if began is None or ended is None:
        return None
    return (_moment(ended) - _moment(began)).total_seconds()


def moment(text: str | None) -> Markup | str:
    """A moment of the API as ``<time>``; UTC, to the second."""
    if not text:
        return UNKNOWN
    shown = _moment(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time datetime="{}">{}</time>').format(text, shown)


def wall(text: str) -> str:
    """A moment on a wall clock, as the API writes it, for people: ``2026-11-27 02:30 (UTC+01:00)``."""
    local = datetime.fromisoformat(text)
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M} (UTC{offset[:3]}:{offset[3:5]})"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
