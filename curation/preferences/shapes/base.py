"""What a shape is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from curation.preferences.common import Fields
from curation.preferences.entries import Result
from curation.preferences.limits import Limits

# In the order in which they go before each other: what says which answer is better is never read as a text to
# learn from.
Kind = Literal["pair", "comparison", "ranking", "unpaired", "instruction"]
KINDS: tuple[Kind, ...] = ("pair", "comparison", "ranking", "unpaired", "instruction")

# Fields that can hold what was asked.
CARRIERS = ("prompt", "messages", "conversations", "instruction")


@dataclass(frozen=True)
class Shape:
    """A way to write records.

    Attributes:
        name: kebab-case, stable.
        kind: what its records hold.
        matches: whether a record is written so; looks at names and coarse types only and raises nothing.
        read: the entry of such a record; raises nothing but ``DocumentError``.
    """

    name: str
    kind: Kind
    matches: Callable[[Fields], bool]
    read: Callable[[Fields, Limits], Result]


def has(record: Fields, *names: str) -> bool:
    """Whether a record has all these fields, none of them null."""
    return all(record.get(name) is not None for name in names)


def carriers(record: Fields) -> set[str]:
    """Fields of a record that can hold what was asked."""
    return {name for name in CARRIERS if record.get(name) is not None}
