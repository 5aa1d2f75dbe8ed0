"""Times of capture in one form."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time

# WARC 1.1 allows any precision down to the year (W3C-DTF); ARC and early WARC write plain digits.
_W3C = re.compile(r"(\d{4})(?:-(\d\d))?$")
_DIGITS = re.compile(r"\d{4}(?:\d\d){0,5}$")


def normalise_date(value: object) -> str | None:
    """A time as ``2024-05-18T01:58:10Z``.

    Args:
        value: ISO 8601 (any offset, any precision; no offset means UTC), 4 to 14 digits ``YYYYMMDDhhmmss``,
            or a ``datetime`` or ``date``.  What is missing to the second counts as its start.

    Returns:
        UTC in seconds, fractions cut off; None for anything else.
    """
    moment = _moment(value)
    if moment is None:
        return None
    if isinstance(value, str) and len(value) == 20 and value[10] == "T" and value[19] == "Z":
        return value  # the usual form
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (OverflowError, ValueError):
        return None
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}Z"


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if not isinstance(value, str) or len(value) > 64:
        return None
    text = value.strip()
    try:
        if text.isascii() and _DIGITS.match(text):
            digits = text + "00000101000000"[len(text) :]
            return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}")
        if found := _W3C.match(text):
            return datetime(int(found[1]), int(found[2] or 1), 1)
        return datetime.fromisoformat(text)
    except ValueError:
        return None
