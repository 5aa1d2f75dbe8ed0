"""What all steps share: where their files lie, into how many parts they cut, and who holds which document.

Every document that is left has a number: its place in the order of staying, behind the documents of earlier
corpora.  Numbers are below 2^32.  A *holder* is where documents lie: a shard of this run, or a part of an
earlier corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.duplicates.bands import Bands, bands_for
from curation.errors import RunError
from pipelines.compared import prompts_of
from pipelines.deduplication.earlier import PLACE, Earlier
from pipelines.deduplication.records import Step, StepWriter, records, split
from pipelines.measures import replay
from pipelines.plan import Plan
from pipelines.recipe import Deduplication
from pipelines.storage import Storage

MOST_DOCUMENTS = 1 << 32
CHUNK = 8192  # documents of a part of a file that is read in pieces
LEAST_PART = 1 << 16  # bytes of a part, however little memory there is

NEEDED = np.dtype([("row", "<u4"), ("number", "<u4")])


@dataclass(frozen=True)
class Sizes:
    """Into how many parts a step cuts; follows from the plan alone, never from the number of workers.

    Attributes:
        documents: left in each shard, in the order of the plan.
        earlier: documents of earlier corpora.
        ranges: of the order of staying.
        partitions: by prefix of a hash.
        blocks: of pairs, by the number of the later document.
    """

    documents: tuple[int, ...]
    earlier: int
    ranges: int
    partitions: int
    blocks: int

    @property
    def own(self) -> int:
        """Documents of this run."""
        return sum(self.documents)

    def partition_of(self, hashes: np.ndarray) -> np.ndarray:
        """The partition of 64-bit hashes, ``int64[n]``: equal ranges of their upper half."""
        return ((hashes >> np.uint64(32)) * np.uint64(self.partitions) >> np.uint64(32)).astype(np.int64)

    def block_of(self, numbers: np.ndarray) -> np.ndarray:
        """The block of documents of this run, by number, ``int64[n]``."""
        return (numbers.astype(np.int64) - self.earlier) * self.blocks // max(self.own, 1)


def decisions_folder(plan: Plan) -> str:
    """Where the decisions of a plan lie."""
    return f"deduplication/{plan.deduplication_key()}"


def hash_range(partition: int, partitions: int) -> tuple[int, int]:
    """First 64-bit hash of a partition, and of the next."""
    first, end = (-(-(number << 32) // partitions) << 32 for number in (partition, partition + 1))
    return first, end


@dataclass(frozen=True)
class Work:
    """One deduplication: a plan that has one, and where its files go."""

    plan: Plan
    storage: Storage

    @property
    def parameters(self) -> Deduplication:
        """Of the recipe."""
        parameters = self.plan.recipe.recipe.comparison
        assert parameters is not None, "only a recipe that compares has this work"
        return parameters

    @property
    def threshold(self) -> Fraction:
        """A document goes only above it."""
        return Fraction(self.parameters.threshold)

    @property
    def bands(self) -> Bands:
        """How signatures are cut."""
        return bands_for(self.threshold, self.parameters.recall)

    @property
    def memory(self) -> int:
        """Bytes that a worker may use for the data of a step."""
        return self.parameters.memory_mib << 20

    @property
    def folder(self) -> str:
        """Of the steps, below the root; deleted when the decisions are committed."""
        return f"{decisions_folder(self.plan)}/steps-{self.parameters.memory_mib}"

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.plan.shards)

    @property
    def earlier(self) -> Earlier:
        """Documents of earlier corpora."""
        return self.plan.earlier

    @cached_property
    def sizes(self) -> Sizes:
        """How much there is, once the keys are there."""
        documents = tuple(int(self.step("keys", shard).facts["documents"]) for shard in range(self.shards))
        own, earlier = sum(documents), self.earlier.documents
        if own + earlier >= MOST_DOCUMENTS:
            raise RunError(f"{own + earlier} documents are more than one deduplication can number ({MOST_DOCUMENTS})")
        # A part is loaded, sorted and written; 1/32 of the memory leaves room for that and for unlucky parts.
        part = max(self.memory // 32, LEAST_PART)
        width = self.plan.stages[-1].schema.field("signature").type.list_size // self.bands.rows
        return Sizes(
            documents,
            earlier,
            ranges=1 + own * 64 // part,
            # Small buckets of up to 64 documents give up to 32 pairs of 8 bytes for each fingerprint of 12.
            partitions=1 + own * width * 12 // max(part // 4, LEAST_PART),
            blocks=1 + own * 64 // part,
        )

    @property
    def decided(self) -> bool:
        """Whether the decisions are committed."""
        return self.storage.manifest(decisions_folder(self.plan)) is not None

    def decisions_writer(self) -> StepWriter:
        """To write the decisions."""
        return StepWriter(self.storage, decisions_folder(self.plan))

    def step(self, name: str, part: int) -> Step:
        """What a task gave."""
        return Step(self.storage, self._folder_of(name, part))

    def done(self, name: str, part: int) -> bool:
        """Whether a task's result is committed."""
        return self.storage.manifest(self._folder_of(name, part)) is not None

    def writer(self, name: str, part: int) -> StepWriter:
        """To write what a task gives."""
        return StepWriter(self.storage, self._folder_of(name, part))

    def _folder_of(self, name: str, part: int) -> str:
        return f"{self.folder}/{name}/{part:05d}"

    def documents(self, shard: int, columns: list[str]) -> Iterator[pa.Table]:
        """What is left of a shard, batch by batch."""
        links, _ = self.plan.chain(self.plan.shards[shard])
        for _, _, batch in replay(self.storage, links, columns):
            yield batch.table.select(list(dict.fromkeys(columns)))

    def compared(self, table: pa.Table) -> pa.Array:
        """The texts by which some documents are compared, from a table with ``text``."""
        if self.plan.recipe.recipe.entries:
            return prompts_of(Batch(table))
        return table.column("text").combine_chunks()

    @property
    def holders(self) -> int:
        """Shards first, then parts of earlier corpora."""
        return self.shards + self.earlier.holders

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Where documents lie, ``PLACE[n]``; ``shard`` counts holders.

        Args:
            numbers: rising.
        """
        own = numbers >= self.sizes.earlier
        places = np.empty(len(numbers), PLACE)
        places[~own] = self.earlier.places(numbers[~own])
        places["shard"][~own] += self.shards
        places[own] = self._own_places(numbers[own].astype(np.int64) - self.sizes.earlier)
        return places

    def _own_places(self, ranks: np.ndarray) -> np.ndarray:
        found = [np.empty(0, PLACE)]
        base = 0
        for part in range(self.sizes.ranges):
            step = self.step("order", part)
            inside = ranks[np.searchsorted(ranks, base) : np.searchsorted(ranks, base + step.facts["documents"])] - base
            chunks = inside // CHUNK
            for chunk in np.unique(chunks).tolist():
                found.append(step.read("places", chunk)[inside[chunks == chunk] - chunk * CHUNK])
            base += step.facts["documents"]
        return np.concatenate(found)

    def needed(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Documents by holder, ``NEEDED``, so that each holder knows what others want of it.

        Args:
            numbers: rising.
        """
        places = self.places(numbers)
        return split(records(NEEDED, row=places["row"], number=numbers), places["shard"], self.holders)
