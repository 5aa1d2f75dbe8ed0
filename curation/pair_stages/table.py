"""Tables that come with the package: tab-separated, a heading, ``#`` in front of a remark."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files


@cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a table, by the names in its heading."""
    lines = [line for line in _content(name).split("\n") if line.strip() and not line.startswith("#")]
    names, *rows = [line.split("\t") for line in lines]
    return tuple(dict(zip(names, row, strict=True)) for row in rows)


def table_digest(name: str) -> str:
    """SHA-256 of a table, in hexadecimal digits."""
    return hashlib.sha256(_content(name).encode()).hexdigest()


def _content(name: str) -> str:
    return (files("curation.pair_stages") / name).read_text("utf-8").replace("\r\n", "\n")
