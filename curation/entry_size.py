"""Sizes of preference pairs and instructions: of what is said in them, without the JSON around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa

from curation.batch import Batch
from curation.pair_stages.sides import JOIN, sides_of, text_of
from curation.size import Size, SizeParameters
from curation.stage import Measured, Parameters, Rule, Stage, measure_field
from curation.text.units import count_units


def whole_text(batch: Batch) -> pa.LargeStringArray:
    """All contents of each entry, side after side, with a blank line in between."""
    found = batch.feature(sides_of)
    joined = [JOIN.join(text_of(turns) for turns in entry.values()) for entry in found.entries]
    return pa.array(joined, pa.large_string())


class EntrySize(Size):
    """Characters and tokens of each entry; decides nothing."""

    def text_of(self, batch: Batch) -> pa.LargeStringArray:
        """What is said in each entry."""
        return whole_text(batch)


class EntryTokens(Stage):
    """Tokens of each entry that is left; decides nothing."""

    name: ClassVar[str] = "sketch"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = SizeParameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([measure_field("token_count", pa.int32(), "words of the entry; see extracted_tokens")])

    def rules(self) -> Sequence[Rule]:
        return []

    def measure(self, batch: Batch) -> Measured:
        return Measured({"token_count": pa.array(count_units(whole_text(batch)), pa.int32())})
