"""What a record holds, whatever its shape: a pair, a ranking, a comparison, one rated answer, an instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from curation.preferences.messages import Conversation


class Common(TypedDict):
    """What an entry has besides its turns, as keyword arguments."""

    tools: str | None
    source_id: str | None
    source: str | None
    language: str | None
    license: str | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What every entry may have.

    Attributes:
        tools: JSON text of the tools that the assistant may call.
        source_id: the record's own id.
        source: where the record says that it is from.
        language, license: as the record writes them.
    """

    tools: str | None = None
    source_id: str | None = None
    source: str | None = None
    language: str | None = None
    license: str | None = None

    @property
    def common(self) -> Common:
        """To make another entry of the same record."""
        return Common(
            tools=self.tools,
            source_id=self.source_id,
            source=self.source,
            language=self.language,
            license=self.license,
        )


@dataclass(frozen=True)
class Pair(Entry):
    """Two answers to one prompt, of which the first is better.

    Attributes:
        margin: by how much, on the scale of its source; None where nobody said.
        ranking_id: the ranking that it is part of.
    """

    prompt: Conversation
    chosen: Conversation
    rejected: Conversation
    margin: float | None = None
    ranking_id: str | None = None


@dataclass(frozen=True)
class Ranking(Entry):
    """Two or more answers to one prompt.

    Attributes:
        scores: one for each answer, more is better; None where the answers come best first.
    """

    prompt: Conversation
    responses: tuple[Conversation, ...]
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Votes:
    """What judges said of two answers; where they did not agree, more than one number is above zero."""

    first: int
    second: int
    tie: int

    @property
    def count(self) -> int:
        return self.first + self.second + self.tie

    @property
    def winner(self) -> int:
        """1 or 2: the answer that more than half of all judges chose; 0 where there is none."""
        return 1 if 2 * self.first > self.count else 2 if 2 * self.second > self.count else 0


@dataclass(frozen=True)
class Comparison(Entry):
    """Two answers to one prompt with the votes of judges."""

    prompt: Conversation
    first: Conversation
    second: Conversation
    votes: Votes


@dataclass(frozen=True)
class Unpaired(Entry):
    """One answer to a prompt, good or bad."""

    prompt: Conversation
    response: Conversation
    good: bool


@dataclass(frozen=True)
class Instruction(Entry):
    """A conversation to learn from."""

    messages: Conversation


Result = Pair | Ranking | Comparison | Unpaired | Instruction
