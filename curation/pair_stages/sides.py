"""The sides of preference pairs and instructions as texts, parsed once for each batch."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field

from curation.batch import Batch
from curation.errors import DocumentError
from curation.pair_stages.canonical import INSTRUCTION, PAIR, Entry, Side, dump, parse
from curation.preferences.messages import Conversation
from curation.stage import Measured
from curation.text.units import count_units

JOIN = "\n\n"
DEFINITION = "sides/2"  # what text and language of a side are; part of what stages on sides depend on


@dataclass(frozen=True)
class Sides:
    """What a batch holds.

    Attributes:
        entries: conversations of each row by side; nothing where the row is in ``errors``.
        errors: rows whose text is neither a pair nor an instruction.
    """

    entries: Sequence[Entry]
    errors: Mapping[int, DocumentError]
    _texts: dict[Side, pa.LargeStringArray] = field(default_factory=dict)

    def conversations(self, side: Side) -> list[Conversation]:
        """The turns of a side, none where a row does not have it."""
        return [entry.get(side, ()) for entry in self.entries]

    def text(self, side: Side) -> pa.LargeStringArray:
        """The contents of a side's turns, joined by a blank line; empty where a row does not have it."""
        if side not in self._texts:
            joined = [text_of(conversation) for conversation in self.conversations(side)]
            self._texts[side] = pa.array(joined, pa.large_string())
        return self._texts[side]

    def without(self, sides: Iterable[Side]) -> dict[int, DocumentError]:
        """Errors of the rows that lack one of these sides, the malformed ones included."""
        errors = dict(self.errors)
        for side in sides:
            for row, entry in enumerate(self.entries):
                if row not in errors and side not in entry:
                    what = "an instruction" if "response" in entry else "a pair"
                    errors[row] = DocumentError("missing-side", f"{what} has no side '{side}'")
        return errors


def sides_of(batch: Batch) -> Sides:
    """The sides of a batch; ask by ``batch.feature(sides_of)``."""
    entries: list[Entry] = []
    errors: dict[int, DocumentError] = {}
    for row, text in enumerate(batch.text.to_pylist()):
        try:
            entries.append(parse(text))
        except DocumentError as error:
            entries.append({})
            errors[row] = error
    return Sides(entries, errors)


def text_of(conversation: Conversation) -> str:
    """The text of a side."""
    return JOIN.join(message.content for message in conversation)


def words_of(sides: Sides, side: Side) -> np.ndarray:
    """``int32[n]``: the length of a side in words, see ``count_units``."""
    return count_units(sides.text(side))


def canonical_texts(batch: Batch, entries: Iterable[Entry], errors: Container[int]) -> pa.LargeStringArray:
    """The canonical text of each entry; a row in error keeps the text that it has."""
    texts = [
        before if row in errors else dump(entry)
        for row, (entry, before) in enumerate(zip(entries, batch.text.to_pylist(), strict=True))
    ]
    return pa.array(texts, pa.large_string())


def result(
    columns: Mapping[str, pa.Array], errors: Mapping[int, DocumentError], text: pa.LargeStringArray | None = None
) -> Measured:
    """What a stage measured, null in the rows that are in error."""
    if errors:
        count = len(next(iter(columns.values()))) if columns else 0
        bad = np.isin(np.arange(count), list(errors))
        rows = pa.array(np.arange(count), mask=bad)
        columns = {name: column.take(rows) for name, column in columns.items()}
    return Measured(dict(columns), text, dict(errors))


def _fitting(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    if len(set(sides)) != len(sides):
        raise ValueError("a side is named twice")
    if not (set(sides) <= set(PAIR) or set(sides) <= set(INSTRUCTION)):
        raise ValueError(f"a pair has the sides {', '.join(PAIR)}; an instruction has {' and '.join(INSTRUCTION)}")
    return sides


def _answers(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    if "prompt" in sides:
        raise ValueError("name answers here: chosen and rejected of a pair, response of an instruction")
    return sides


# Sides that a recipe names; those that are answers.
SideNames = Annotated[tuple[Side, ...], Field(min_length=1), AfterValidator(_fitting)]
AnswerNames = Annotated[SideNames, AfterValidator(_answers)]
ANSWERS: tuple[Side, ...] = ("chosen", "rejected")


def flags(values: Iterable[Any]) -> pa.Array:
    """Truth values; None is null."""
    return pa.array(list(values), pa.bool_())
