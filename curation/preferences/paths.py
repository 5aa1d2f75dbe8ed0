"""Values inside a record by dotted path: ``conversations.0.value``, ``completions.*.text``, ``turns.-1``."""

from __future__ import annotations

import re
from typing import Any

_INDEX = re.compile(r"-?[0-9]{1,9}")


class Missing(Exception):
    """There is no value at the path."""


def value_at(record: object, path: str) -> Any:
    """The value at a path; ``Missing`` where there is none.

    A field whose whole name is the path goes first.  A part of a path is a name in an object; in a list it is
    an index from 0, from -1 at its end, or ``*``, which gives a list of the values in all of its items.
    """
    if isinstance(record, dict) and path in record:
        return record[path]
    return _walk(record, path.split("."))


def _walk(value: object, parts: list[str]) -> Any:
    for place, part in enumerate(parts):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part == "*":
            return [_walk(item, parts[place + 1 :]) for item in value]
        elif isinstance(value, list) and _INDEX.fullmatch(part) and -len(value) <= int(part) < len(value):
            value = value[int(part)]
        else:
            raise Missing
    return value
