"""Candidates: documents that share a band fingerprint.

``prints`` writes the fingerprints of a shard, cut by prefix; ``pairs`` sorts one prefix of all shards and of earlier
corpora, and pairs what shares one; ``merge`` brings together what several bands found.  A fingerprint is hashed
with the number of its band, so all bands go the same way together.
"""

from __future__ import annotations

import numpy as np

from curation.duplicates.bands import fingerprints
from curation.duplicates.candidates import LARGE_BUCKET, bucket_pairs
from pipelines.deduplication.copies import copies_of
from pipelines.deduplication.order import numbers_of
from pipelines.deduplication.records import records, split
from pipelines.deduplication.work import NEEDED, Work, hash_range

PRINT = np.dtype([("print", "<u8"), ("number", "<u4")])
PAIR = np.dtype("<u8")  # later << 32 | earlier, so that pairs are sorted by the later document
MEMBER = np.dtype([("bucket", "<u4"), ("number", "<u4")])


def run_prints(work: Work, shard: int) -> None:
    """Fingerprints of a shard's documents, of one of each set of copies.

    Pages that copy an earlier document are done with.  Entries that copy an earlier prompt go on among themselves.
    """
    numbers = numbers_of(work, shard)
    copies = copies_of(work, shard)
    alone = np.ones(len(numbers), bool)
    head = copies["first" if work.plan.recipe.recipe.entries else "representative"]
    alone[copies["row"][head != copies["number"]]] = False
    partitions = work.sizes.partitions
    parts: list[list[np.ndarray]] = [[np.empty(0, PRINT)] for _ in range(partitions)]
    first = 0
    for table in work.documents(shard, ["signature"]):
        chosen = alone[first : first + len(table)]
        column = table.column("signature").combine_chunks()
        signature = np.asarray(column.flatten()).reshape(len(table), column.type.list_size)[chosen]
        prints = fingerprints(signature, work.bands)
        owner = np.repeat(numbers[first : first + len(table)][chosen], prints.shape[1])
        found = records(PRINT, print=prints.reshape(-1), number=owner)
        for part, piece in zip(parts, split(found, work.sizes.partition_of(found["print"]), partitions), strict=True):
            part.append(piece)
        first += len(table)
    writer = work.writer("prints", shard)
    writer.write("prints", PRINT, (np.concatenate(part) for part in parts))
    writer.commit()


def run_pairs(work: Work, partition: int) -> None:
    """Sort one partition of all fingerprints; give the pairs of small buckets and the members of large ones."""
    own = np.concatenate([work.step("prints", shard).read("prints", partition) for shard in range(work.shards)])
    first, end = hash_range(partition, work.sizes.partitions)
    prints, numbers = work.earlier.prints(first, end, np.unique(own["print"]))
    buckets = bucket_pairs(
        np.concatenate([prints, own["print"]]),
        np.concatenate([numbers, own["number"].astype(np.int64)]),
        LARGE_BUCKET,
        work.sizes.earlier,
    )
    earlier, later = buckets.pairs >> np.uint64(32), buckets.pairs & np.uint64(0xFFFFFFFF)
    pairs = np.unique(later << np.uint64(32) | earlier)
    bucket = np.repeat(np.arange(len(buckets.large_offsets) - 1), np.diff(buckets.large_offsets))
    writer = work.writer("pairs", partition)
    block = work.sizes.block_of(pairs >> np.uint64(32))
    writer.write("pairs", PAIR, split(pairs, block, work.sizes.blocks))
    writer.write("large", MEMBER, [records(MEMBER, bucket=bucket, number=buckets.large)])
    writer.commit(large=len(buckets.large))


def run_merge(work: Work, block: int) -> None:
    """The pairs of one block, each once, and what they need of each holder."""
    parts = [work.step("pairs", part).read("pairs", block) for part in range(work.sizes.partitions)]
    pairs = np.unique(np.concatenate(parts))
    numbers = np.unique(np.concatenate([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)]))
    writer = work.writer("merge", block)
    writer.write("pairs", PAIR, [pairs])
    writer.write("needed", NEEDED, work.needed(numbers.astype(np.int64)))
    writer.commit()
