"""Values of a parsed JSON record as what they must be, or the error that says what they are instead."""

from __future__ import annotations

import json
import math
from typing import Any

from curation.errors import DocumentError
from curation.preferences.limits import Limits
from curation.read import clean

# Any two scores have a finite difference.
LARGEST_NUMBER = 1e300
LONGEST_IDENTIFIER = 1024
_SHOWN = 40
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}


def kind_of(value: object) -> str:
    """The JSON type of a value in words."""
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def shown(value: str) -> str:
    """A text of somebody else's, quoted on one short line of what can be printed and stored."""
    return ascii(value if len(value) <= _SHOWN else value[:_SHOWN] + "…") if not value.isprintable() else _quoted(value)


def _quoted(value: str) -> str:
    return f"'{value if len(value) <= _SHOWN else value[:_SHOWN] + '…'}'"


def text_of(value: object, where: str, limits: Limits) -> str:
    """A text that Arrow can hold; ``not-a-string`` or ``too-long``.  Nothing is turned into a text."""
    if not isinstance(value, str):
        raise DocumentError("not-a-string", f"{where} is {kind_of(value)}")
    if len(value) > limits.text_characters:
        raise DocumentError("too-long", f"{where} has {len(value)} characters, limit {limits.text_characters}")
    return clean(value) or ""


def number_of(value: object, where: str) -> float:
    """A finite number; ``not-a-number`` for anything else, texts that look like one included."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise DocumentError("not-a-number", f"{where} is {kind_of(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise DocumentError("not-a-number", f"{where} is not finite")
    if abs(value) > LARGEST_NUMBER:
        raise DocumentError("not-a-number", f"{where} is too large")
    return float(value)


def list_of(value: object, where: str) -> list[Any]:
    """A list; ``not-a-list`` for anything else."""
    if not isinstance(value, list):
        raise DocumentError("not-a-list", f"{where} is {kind_of(value)}")
    return value


def label_of(value: object, where: str) -> str | None:
    """A short text such as a language or licence; None where there is none."""
    if value is None or value == "":
        return None
    text = text_of(value, where, Limits(text_characters=LONGEST_IDENTIFIER))
    return text


def identifier_of(value: object, where: str) -> str | None:
    """A text or a whole number as an id; None where there is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 1 << 128:
            raise DocumentError("too-long", f"{where} is too large a number")
        return str(value)
    return label_of(value, where)


def json_text(value: object, where: str, limits: Limits) -> str:
    """A JSON value as text, its keys in the order in which they came."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError, TypeError) as error:
        why = "is nested too deeply" if isinstance(error, RecursionError) else "holds what JSON cannot"
        raise DocumentError("malformed-json-record", f"{where} {why}") from None
    return text_of(text, where, limits)
