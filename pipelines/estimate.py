"""How much disk a run needs, before it starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from pipelines.inputs import Shard
from pipelines.storage import Storage

# Bytes of a run's folder for each byte of input, low and high, by how the input is stored.  Text is about a
# tenth of a page; it is kept as extracted, as rewritten, and as published.  Measured on compressed WARC
# (0.3 to 0.6); plain text formats hold nothing but text, so each copy counts in full.  The files of the steps of
# deduplication, which go when it is done, are in it: up to 1.5 kB for a document of 500 words.
_FACTORS = {"warc": (0.25, 1.2), "text": (1.0, 4.5)}


def disk_need(shards: Sequence[Shard]) -> tuple[int, int]:
    """Bytes that a run over these shards takes, a low and a high estimate."""
    low = high = 0.0
    for shard in shards:
        text = not any(part in shard.uri for part in (".warc", ".arc")) or ".wet" in shard.uri
        factors = _FACTORS["text" if text else "warc"]
        if text and shard.uri.endswith((".gz", ".zst", ".parquet")):
            factors = (factors[0], factors[1] * 1.5)
        elif text:
            factors = (factors[0] / 3, factors[1])
        low += shard.size * factors[0]
        high += shard.size * factors[1]
    return int(low), int(high)


def disk_free(storage: Storage) -> int | None:
    """Bytes that are free where a run's folder is or will be; None where that cannot be asked."""
    if not storage.local:
        return None
    folder = storage.root
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
