"""datatrove's chain over WARC files, in its own environment; called by ``benchmarks/mill.py``.

    python benchmarks/datatrove_chain.py SCRATCH SHARD...

Trafilatura, Gopher's repetition and quality filters, C4's, FineWeb's, MinHash signatures.  Prints one JSON line:
pages read, documents left, CPU seconds by block.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the blocks one after the other, each over everything, so that each can be timed."""
    scratch, shards = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    import trafilatura  # noqa: F401 - where it cannot be imported, datatrove waits for its child for ever
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.readers import WarcReader

    linked = scratch / "shards"
    linked.mkdir()
    for shard in shards:
        (linked / shard.name).symlink_to(shard)
    blocks: list[tuple[str, Any]] = [
        ("read", WarcReader(str(linked), glob_pattern="*.warc.gz")),
        ("trafilatura", Trafilatura(favour_precision=True, timeout=10)),
        ("gopher-repetition", GopherRepetitionFilter()),
        ("gopher-quality", GopherQualityFilter()),
        ("c4", C4QualityFilter(filter_no_terminal_punct=False)),
        ("fineweb", FineWebQualityFilter()),
        ("signature", MinhashDedupSignature(str(scratch / "signatures"), config=MinhashConfig())),
    ]
    documents: Iterator[Any] | list[Any] = []
    seconds: dict[str, float] = {}
    pages = kept = 0
    for name, block in blocks:
        began = spent()
        output = block.run(documents, rank=0, world_size=1)
        if name == "signature":
            kept = len(documents)  # type: ignore[arg-type]
            for _ in output or ():
                pass
        else:
            documents = list(output)
        seconds[name] = spent() - began
        if name == "read":
            pages = len(documents)
    # ru_maxrss would be the greatest of this process and of the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    memory = int(status["VmHWM"].split()[0]) / 1024
    total = sum(seconds.values())
    print(json.dumps({"pages": pages, "kept": kept, "seconds": seconds, "total": total, "peak_mib": memory}))


def spent() -> float:
    """CPU seconds of this process and its dead children, and of living ones by their clocks."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = 0.0
    import os

    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                living += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.process_time() + children.ru_utime + children.ru_stime + living


if __name__ == "__main__":
    main()
