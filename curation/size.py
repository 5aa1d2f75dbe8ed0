"""How large a document is as extracted, before anything is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curation.batch import Batch
from curation.stage import Measured, Parameters, Rule, Stage, measure_field
from curation.text.units import count_units


class SizeParameters(Parameters):
    """Nothing to choose."""


class Size(Stage):
    """Characters and tokens of the extracted text; decides nothing, so that the funnel can count tokens."""

    name: ClassVar[str] = "size"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = SizeParameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("extracted_characters", pa.int32(), "code points of the extracted text"),
                measure_field("extracted_tokens", pa.int32(), "words of the extracted text; see token_count"),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        return []

    def measure(self, batch: Batch) -> Measured:
        text = self.text_of(batch)
        return Measured(
            {
                "extracted_characters": pc.utf8_length(text).cast(pa.int32()),
                "extracted_tokens": pa.array(count_units(text), pa.int32()),
            }
        )

    def text_of(self, batch: Batch) -> pa.LargeStringArray:
        """What is measured of each document."""
        return batch.text
