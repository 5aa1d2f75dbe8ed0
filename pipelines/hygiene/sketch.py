"""The last stage of a shard of entries: what the comparison needs to know of each that is left."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.duplicates.bands import bands_for
from curation.duplicates.shingles import facts as shingle_facts
from curation.duplicates.signature import signatures
from curation.entry_size import whole_text
from curation.pair_stages.canonical import Side
from curation.pair_stages.sides import sides_of
from curation.preferences.digests import prompt_digest
from curation.stage import Measured, Parameters, Rule, Stage, measure_field
from curation.text.units import count_units
from pipelines.compared import prompts_of
from pipelines.recipe import Hygiene
from pipelines.sketch import SketchParameters

_INTERNAL = {"internal": "1"}


class EntrySketchParameters(SketchParameters):
    """Besides those of a sketch: the sides that an entry has, the prompt first."""

    sides: tuple[Side, ...]


class EntrySketch(Stage):
    """Token count of an entry, digests of its sides, hash and signature of its prompt; decides nothing."""

    name: ClassVar[str] = "sketch"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = EntrySketchParameters
    parameters: EntrySketchParameters

    @classmethod
    def of(cls, hygiene: Hygiene, sides: tuple[Side, ...]) -> EntrySketch:
        """The sketch that a recipe's hygiene needs."""
        bands = bands_for(Fraction(hygiene.threshold), hygiene.recall)
        return cls(
            EntrySketchParameters(
                definition=hygiene.definition,
                scheme=hygiene.scheme,
                permutations=bands.permutations,
                seed=hygiene.seed,
                sides=sides,
            )
        )

    @property
    def schema(self) -> pa.Schema:
        word = pa.uint32() if self.parameters.scheme == "affine32" else pa.uint64()
        return pa.schema(
            [
                measure_field("token_count", pa.int32(), "words of the entry; see extracted_tokens"),
                pa.field("text_hash", pa.binary(16), metadata=_INTERNAL),
                pa.field("signature", pa.list_(word, self.parameters.permutations), metadata=_INTERNAL),
                *(pa.field(f"{side}_digest", pa.binary(16), metadata=_INTERNAL) for side in self.parameters.sides),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        return []

    def facts(self) -> dict[str, str]:
        return shingle_facts()

    def measure(self, batch: Batch) -> Measured:
        given = self.parameters
        assert given.definition is not None, "without hygiene there is another last stage"
        found = signatures(prompts_of(batch), given.definition, given.scheme, given.permutations, given.seed)
        signature = pa.FixedSizeListArray.from_arrays(
            pa.array(found.minima.reshape(-1)), type=self.schema.field("signature").type
        )
        columns = {
            "token_count": pa.array(count_units(whole_text(batch)), pa.int32()),
            "text_hash": _binary(found.text_hash),
            "signature": signature,
        }
        return Measured(columns | {f"{side}_digest": digests_of(batch, side) for side in given.sides})


def digests_of(batch: Batch, side: Side) -> pa.Array:
    """Digest of a side of each entry, ``binary(16)``; that of a prompt counts the tools that go with it."""
    conversations = batch.feature(sides_of).conversations(side)
    digests = [bytes.fromhex(prompt_digest(turns)) for turns in conversations]
    if side == "prompt" and "tools" in batch.table.column_names:
        tools = batch.column("tools").to_pylist()
        digests = [_with(digest, said) if said else digest for digest, said in zip(digests, tools, strict=True)]
    return pa.array(digests, pa.binary(16))


def _with(digest: bytes, said: str) -> bytes:
    return hashlib.blake2b(digest + said.encode(), digest_size=16).digest()


def _binary(words: np.ndarray) -> pa.Array:
    buffer = pa.py_buffer(np.ascontiguousarray(words))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(words), [None, buffer])
