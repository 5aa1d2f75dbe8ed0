"""The last step of a shard: what deduplication needs to know of each document that is left."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.duplicates.bands import bands_for
from curation.duplicates.shingles import facts as shingle_facts
from curation.duplicates.signature import signatures
from curation.stage import Measured, Parameters, Rule, Stage, measure_field
from curation.text.units import count_units
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
        if deduplication is None:
            return cls(SketchParameters(definition=None))
        bands = bands_for(Fraction(deduplication.threshold), deduplication.recall)
        return cls(
            SketchParameters(
                definition=deduplication.definition,
                scheme=deduplication.scheme,
                permutations=bands.permutations,
                seed=deduplication.seed,
            )
        )

    @property
    def schema(self) -> pa.Schema:
        tokens = measure_field("token_count", pa.int32(), "words of the text; a character of an unspaced script is one")
        if self.parameters.definition is None:
            return pa.schema([tokens])
        word = pa.uint32() if self.parameters.scheme == "affine32" else pa.uint64()
        return pa.schema(
            [
                tokens,
                pa.field("text_hash", pa.binary(16), metadata={"internal": "1"}),
                pa.field("signature", pa.list_(word, self.parameters.permutations), metadata={"internal": "1"}),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        return []

    def measure(self, batch: Batch) -> Measured:
        given = self.parameters
        if given.definition is None:
            return Measured({"token_count": pa.array(count_units(batch.text), pa.int32())})
        found = signatures(batch.text, given.definition, given.scheme, given.permutations, given.seed)
        signature = pa.FixedSizeListArray.from_arrays(
            pa.array(found.minima.reshape(-1)), type=self.schema.field("signature").type
        )
        hashes = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), len(batch), [None, pa.py_buffer(np.ascontiguousarray(found.text_hash))]
        )
        columns = {"token_count": pa.array(found.words, pa.int32()), "text_hash": hashes, "signature": signature}
        return Measured(columns)

    def facts(self) -> dict[str, str]:
        return shingle_facts()
