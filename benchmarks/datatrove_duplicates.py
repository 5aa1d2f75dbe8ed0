"""datatrove's four MinHash stages over one JSONL file, in its own environment; called by ``duplicate_peers.py``.

    python benchmarks/datatrove_duplicates.py SCRATCH      # SCRATCH/documents.jsonl holds ``id`` and ``text``

Default configuration (14 bands of 8, word 5-grams), one task at each stage.  Prints one JSON line: ids that are kept
and CPU seconds.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def main() -> None:
    """Signatures, buckets, clusters, filter."""
    scratch = Path(sys.argv[1])
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader

    config = MinhashConfig()
    folders = {name: str(scratch / name) for name in ("signatures", "buckets", "clusters")}
    before = spent()
    reader = JsonlReader(str(scratch), glob_pattern="*.jsonl")
    _run(MinhashDedupSignature(folders["signatures"], config=config), list(reader.run()))
    for bucket in range(config.num_buckets):
        block = MinhashDedupBuckets(folders["signatures"], folders["buckets"], config=config)
        for _ in block.run(None, rank=bucket, world_size=config.num_buckets) or ():
            pass
    _run(MinhashDedupCluster(folders["buckets"], folders["clusters"], config=config), None)
    reader = JsonlReader(str(scratch), glob_pattern="*.jsonl")
    kept = [document.id for document in MinhashDedupFilter(folders["clusters"]).run(reader.run(), rank=0, world_size=1)]
    print(json.dumps({"kept": kept, "seconds": spent() - before}))


def _run(block: object, documents: object) -> None:
    for _ in block.run(documents, 0, 1) or ():  # type: ignore[attr-defined]
        pass


def spent() -> float:
    """CPU seconds of this process and of its children."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


if __name__ == "__main__":
    main()
