"""How much disk a run needs, before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.inputs import Shard

# Bytes of a run's folder for each byte of input, low and high, by how the input is stored.  Text is about a
# tenth of a page; it is kept as extracted, as rewritten, and as published.  Measured on compressed WARC
# (0.3 to 0.6); plain text formats hold nothing but text, so each copy counts in full.
_FACTORS = {"warc": (0.25, 1.0), "text": (1.0, 3.5)}


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
