"""The last step of a shard: what deduplication needs to know of each document that is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.stage import Measured, Parameters, Rule, Stage, measure_field
from pipelines.recipe import Deduplication


class SketchParameters(Parameters):
    """Definition and size of a sketch.

    Attributes:
        definition: similarity definition, or None where a recipe does not deduplicate.
        scheme: permutation scheme.
        permutations: number of permutations.
        seed: of the permutations.
    """

    definition: str | None
    scheme: Literal["affine32", "affine64"] = "affine32"
    permutations: int = 126
    seed: int = 1


class Sketch(Stage):
    """Token count, hash of the normalised text and MinHash signature of each document; decides nothing."""

    name: ClassVar[str] = "sketch"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = SketchParameters
    parameters: SketchParameters

    @classmethod
    def of(cls, deduplication: Deduplication | None) -> Self:
        """The sketch that a recipe's deduplication needs."""
        from curation.duplicates.bands import bands_for

        if deduplication is None:
            return cls(SketchParameters(definition=None))
        bands, rows = bands_for(float(deduplication.threshold), deduplication.recall)
        return cls(
            SketchParameters(
                definition=deduplication.definition,
                scheme=deduplication.scheme,
                permutations=bands * rows,
                seed=deduplication.seed,
            )
        )

    @property
    def schema(self) -> pa.Schema:
        word = pa.uint32() if self.parameters.scheme == "affine32" else pa.uint64()
        size = self.parameters.permutations if self.parameters.definition else 0
        return pa.schema(
            [
                measure_field("token_count", pa.int32(), "words of the text; a character of an unspaced script is one"),
                pa.field("text_hash", pa.binary(16), metadata={"internal": "1"}),
                pa.field("signature", pa.list_(word, size), metadata={"internal": "1"}),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        return []

    def measure(self, batch: Batch) -> Measured:
        from curation.duplicates.signature import sketch_texts

        found = sketch_texts(batch.text, self.parameters)
        signature = pa.FixedSizeListArray.from_arrays(
            pa.array(found.signature.reshape(-1)), type=self.schema.field("signature").type
        )
        hashes = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(batch), [None, pa.py_buffer(np.ascontiguousarray(found.text_hash))]
        )
        columns = {"token_count": pa.array(found.words, pa.int32()), "text_hash": hashes, "signature": signature}
        return Measured(columns)
