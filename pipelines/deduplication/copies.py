"""Documents with the same sequence of words: one partition of all text hashes at a time."""

from __future__ import annotations

import numpy as np

from curation.duplicates.arrays import run_starts
from pipelines.deduplication.order import HASH
from pipelines.deduplication.records import records, split
from pipelines.deduplication.work import Work, hash_range

# ``first`` is the first of this run with the text, the representative itself where that is not an earlier document.
COPY = np.dtype([("row", "<u4"), ("number", "<u4"), ("representative", "<u4"), ("first", "<u4")])


def run_copies(work: Work, partition: int) -> None:
    """For each document that is not alone: the first by number with its text hash, itself or another."""
    here = np.concatenate([work.step("order", part).read("hashes", partition) for part in range(work.sizes.ranges)])
    begin, end = hash_range(partition, work.sizes.partitions)
    hashes, numbers = work.earlier.hashes(begin, end, np.unique(here["hash"][:, 0]))
    whole = np.concatenate([records(HASH, hash=hashes, number=numbers, shard=work.shards, row=0), here])
    order = np.lexsort((whole["number"], whole["hash"][:, 1], whole["hash"][:, 0]))
    whole = whole[order]
    starts = run_starts(whole["hash"])
    sizes = np.diff(np.append(starts, len(whole)))
    copies = np.repeat(sizes > 1, sizes)
    representative = np.repeat(whole["number"][starts], sizes)
    # Copies that are all of earlier corpora concern nobody here.
    concerned = np.maximum.reduceat(whole["number"], starts) >= work.sizes.earlier if len(starts) else np.empty(0, bool)
    last = np.uint32(np.iinfo(np.uint32).max)
    own = np.where(whole["number"] >= work.sizes.earlier, whole["number"], last)
    first = np.repeat(np.minimum.reduceat(own, starts), sizes) if len(starts) else own
    chosen = copies & np.repeat(concerned, sizes)
    found = records(COPY, row=whole["row"], number=whole["number"], representative=representative, first=first)
    writer = work.writer("copies", partition)
    # The last part holds the documents of earlier corpora.
    writer.write("copies", COPY, split(found[chosen], whole["shard"][chosen], work.shards + 1))
    writer.commit()


def copies_of(work: Work, shard: int) -> np.ndarray:
    """Documents of a shard that are not alone, ``COPY[n]``; of all earlier corpora for the number of shards."""
    return np.concatenate([work.step("copies", part).read("copies", shard) for part in range(work.sizes.partitions)])
