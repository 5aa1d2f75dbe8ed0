"""From WARC to verdict, stage by stage: pages and CPU seconds, ours and datatrove's equivalent chain.

    python benchmarks/mill.py SHARD... [--models DIR] [--peer .venv-peers/bin/python] [--recipe crawl]

Ours runs in this process, one thread; the child that extracts text is counted with it.  The classifier is left
out unless ``--with-domain`` is given, as nothing like it stands in the other chain.  datatrove runs in a process
of its own, from the same files: Trafilatura, its four quality filters, MinHash signatures; it identifies no
language and scores no perplexity.  A page is a record with a document in it (``--peer`` reads the same ones).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

PEER = Path(__file__).with_name("datatrove_chain.py")


def cpu_seconds() -> float:
    """CPU time of this process and of its children, living and dead."""
    spent = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    ticks = os.sysconf("SC_CLK_TCK")
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                spent += (int(fields[11]) + int(fields[12])) / ticks
    return spent


def ours(paths: list[str], recipe: str, models: str | None, with_domain: bool) -> dict[str, object]:
    """Take every shard through every stage in memory; CPU seconds by stage."""
    import numpy as np

    from curation.batch import Batch
    from curation.read import TRANSIENT
    from pipelines.inputs import find_shards
    from pipelines.measures import advance, measure_guarded, settle
    from pipelines.mill import read_shard
    from pipelines.plan import make_plan
    from pipelines.recipe import load_recipe

    plan = make_plan(load_recipe(recipe, models), find_shards(paths))
    stages = [stage for stage in plan.stages if with_domain or stage.name != "domain"]
    spent: Counter[str] = Counter()
    pages = kept = 0
    for warm in (True, False):
        for shard in plan.shards[:1] if warm else plan.shards:
            source = read_shard(plan, shard)
            while True:
                began = cpu_seconds()
                table = next(source, None)
                spent["read"] += cpu_seconds() - began
                if table is None:
                    break
                batch = Batch(table)
                for number, stage in enumerate(stages):
                    began = cpu_seconds()
                    measured = measure_guarded(stage, batch)
                    settled = settle(stage, np.arange(len(batch)), measured, batch)
                    batch = advance(batch, settled, drop=TRANSIENT[:2] if number == 1 else ())
                    spent[stage.name] += cpu_seconds() - began
                    if number == 0:
                        pages += len(batch)
                kept += len(batch)
        if warm:
            spent.clear()
            pages = kept = 0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"pages": pages, "kept": kept, "seconds": dict(spent), "peak_mib": memory / 1024}


def show(title: str, result: dict, total: float) -> None:
    """One table."""
    print(f"\n{title}: {result['pages']} pages, {result['kept']} left, {total:.1f} CPU s, "
          f"{result['pages'] / total:.0f} pages/s/core, peak {result['peak_mib']:.0f} MiB")  # fmt: skip
    for name, seconds in result["seconds"].items():
        print(f"  {name:<24}{seconds:8.2f} s {1000 * seconds / max(result['pages'], 1):8.2f} ms/page")


def main() -> None:
    """Both chains, then the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--models")
    parser.add_argument("--recipe", default="crawl")
    parser.add_argument("--with-domain", action="store_true")
    parser.add_argument("--peer", help="a Python with datatrove, resiliparse-free")
    given = parser.parse_args()
    result = ours(given.shards, given.recipe, given.models, given.with_domain)
    own = sum(result["seconds"].values())
    show("gristmill", result, own)
    if given.peer:
        with tempfile.TemporaryDirectory() as scratch:
            command = [given.peer, str(PEER), scratch, *(str(Path(shard).resolve()) for shard in given.shards)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        peer = json.loads(done.stdout.splitlines()[-1])
        total = peer["total"]
        show("datatrove", peer, total)
        print(f"\nratio {result['pages'] / own / (peer['pages'] / total):.1f}")


if __name__ == "__main__":
    main()
