"""Growth of deduplication: time, memory and disk for 10³ to 10⁶ documents, through ``gristmill run``.

    python benchmarks/duplicates.py 1000 10000 100000 [--workers 2] [--memory-mib 256] [--words 500] [--keep DIR]

Documents are sentences of real English text (with ``GRISTMILL_DATA`` set; else random words) put together anew; one
in five is an edited copy of an earlier one, at a similarity between 0.7 and 1.  They lie in Parquet shards of
20,000 documents.  Only extraction (which passes text on) and deduplication run.  Reported: wall seconds of
milling and of the steps of deduplication, the greatest resident memory of a worker and of the driver, bytes on disk.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SHARD = 20_000
EDITED = 0.2
_SOURCES = ("abc-news-en", "c4-sample-en", "gutenberg-en", "state-of-the-union-en")
RECIPE = """name: growth
stages:
  - stage: extraction
deduplication:
  memory_mib: {memory}
retention:
  dropped_texts: none
"""


def sentences() -> list[list[str]]:
    """Words of each sentence there is to put documents together from."""
    folder = os.environ.get("GRISTMILL_DATA")
    rng = random.Random(1)
    if not folder:
        vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 10))) for _ in range(20_000)]
        return [rng.choices(vocabulary, k=rng.randint(8, 30)) for _ in range(100_000)]
    found = []
    for name in _SOURCES:
        with gzip.open(Path(folder) / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                found += [words for part in re.split(r"(?<=[.!?])\s+", json.loads(line)["text"])
                          if 5 <= len(words := part.split()) <= 60]  # fmt: skip
    return found


def document(number: int, pool: list[list[str]], words: int) -> list[str]:
    """The words of a document; an edited copy is made from the number of its original."""
    rng = random.Random(number)
    if number and rng.random() < EDITED:
        copy = document(rng.randrange(number), pool, words)
        # Each changed word takes five shingles; 2 % changed is a similarity of about 0.82.
        for _ in range(int(len(copy) * rng.choice([0, 0.001, 0.005, 0.01, 0.02, 0.03]))):
            copy[rng.randrange(len(copy))] = f"w{rng.randrange(1000)}"
        return copy
    found: list[str] = []
    target = rng.randint(words // 2, 3 * words // 2)
    while len(found) < target:
        found += rng.choice(pool)
        found.append(f"n{rng.randrange(100)}")
    return found


def make_shards(folder: Path, count: int, words: int) -> list[str]:
    """Write the shards that are not there yet, with one process for each processor."""
    wanted = [
        (folder / f"d{words}-{first:08d}-{min(first + SHARD, count):08d}.parquet", first, min(first + SHARD, count))
        for first in range(0, count, SHARD)
    ]
    missing = [(path, range(first, end), words) for path, first, end in wanted if not path.exists()]
    if missing:
        with multiprocessing.get_context("spawn").Pool(initializer=_load) as pool:
            pool.map(_write, missing, chunksize=1)
    return [str(path) for path, _, _ in wanted]


_pool: list[list[str]] = []


def _load() -> None:
    _pool.extend(sentences())


def _write(task: tuple[Path, range, int]) -> None:
    path, numbers, words = task
    texts = pa.array([" ".join(document(number, _pool, words)) for number in numbers], pa.large_string())
    pq.write_table(pa.table({"id": [str(n) for n in numbers], "text": texts}), path, compression="zstd")


def peak_mib(process: str) -> float:
    """Greatest resident memory that a process has had, by its number or ``self``."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def run_once(paths: list[str], output: Path, workers: int, memory: int, template: str = RECIPE) -> dict[str, float]:
    """One run in a process of its own; prints its phases."""
    recipe = output.parent / "growth.yaml"
    recipe.write_text(template.format(memory=memory))
    command = [sys.executable, __file__, "--one", str(recipe), str(output), str(workers), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def second_night(folder: Path, first: Path, count: int, given: argparse.Namespace) -> None:
    """Index the first night, then run the next ``count`` documents, one in five of which edits an earlier one."""
    import duckdb

    index = first.parent / "index"
    began = time.perf_counter()
    command = [sys.executable, "-m", "cli.main", "index", "add", str(index), str(first), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    size = sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
    print(f"  index: {time.perf_counter() - began:.1f} s, {size / count:.0f} bytes a document")
    paths = make_shards(folder, 2 * count, given.words)
    paths = [path for path in paths if int(Path(path).stem.split("-")[1]) >= count]
    for name, more in (("without memory", ""), ("with memory", f"  earlier: ['{index}']\n")):
        output = first.parent / "second"
        recipe = RECIPE.replace("retention", more + "retention")
        result = run_once(paths, output, given.workers, given.memory_mib, recipe)
        total = sum(s for n, s in result.items() if n not in ("milling", "publishing") and "M" not in n)
        found = duckdb.sql(
            f"select count(*) filter (verdict = 'duplicate'), count(witness_dataset) from '{output}/ledger/*.parquet'"
        ).fetchall()[0]
        print(
            f"  second night {name}: {total:.1f} s, {found[0]:,} duplicates, {found[1]:,} of the first night",
            flush=True,
        )
        shutil.rmtree(output)
    shutil.rmtree(index)


def one(recipe: str, output: str, workers: int, paths: list[str]) -> None:
    """In the process of its own: run, with a clock at every phase."""
    from pipelines.inputs import find_shards
    from pipelines.plan import make_plan
    from pipelines.recipe import load_recipe
    from workers.driver import Silent, make_executor, run

    began: list[tuple[str, float]] = []
    most = 0
    peaks: dict[str, float] = {}

    def children() -> list[str]:
        own = os.getpid()
        return Path(f"/proc/{own}/task/{own}/children").read_text().split()

    class Clock(Silent):
        def phase(self, name: str, total: int) -> None:
            began.append((name, time.perf_counter()))
            for child in children():
                Path(f"/proc/{child}/clear_refs").write_text("5")  # its peak begins anew

        def advance(self, amount: int, what: str) -> None:
            nonlocal most
            folder, name = Path(output), began[-1][0]
            peaks[name] = max([peaks.get(name, 0.0), *map(peak_mib, children())])
            if len(began) > 1:
                most = max(most, sum(f.stat().st_size for f in (folder / "deduplication").rglob("*") if f.is_file()))

    plan = make_plan(load_recipe(recipe), find_shards(paths))
    run(plan, output, lambda: make_executor("inline", workers), Clock())
    began.append(("end", time.perf_counter()))
    seconds: dict[str, float] = {}
    for (name, start), (_, end) in pairwise(began):
        seconds[name] = seconds.get(name, 0) + end - start
    result = {
        **seconds,
        "driver MiB": peak_mib("self"),
        **{f"worker MiB, {name}": peak for name, peak in peaks.items()},
        "scratch MB": most / 1e6,
    }
    print(json.dumps(result))


def main() -> None:
    """Sizes one after the other, a table for each."""
    if sys.argv[1:2] == ["--one"]:
        return one(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-mib", type=int, default=256)
    parser.add_argument("--words", type=int, default=500)
    parser.add_argument("--second-night", action="store_true", help="then as many new documents, with a memory")
    parser.add_argument("--keep", type=Path, help="folder for the shards, to use them again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for count in given.counts:
            paths = make_shards(folder, count, given.words)
            size = sum(os.path.getsize(path) for path in paths)
            output = Path(scratch) / "out"
            result = run_once(paths, output, given.workers, given.memory_mib)
            manifest = json.loads((output / "manifest.json").read_text())
            steps = {n: s for n, s in result.items() if n not in ("milling", "publishing") and "M" not in n}
            total = sum(steps.values())
            print(f"\n{count:,} documents, {size / 1e6:.0f} MB of Parquet, {given.workers} workers, "
                  f"{given.memory_mib} MiB: {manifest['totals']}")  # fmt: skip
            for name, value in {**result, "deduplication": total}.items():
                print(f"  {name:32}{value:12.2f}")
            print(f"  {'microseconds a document':32}{1e6 * total / count:12.2f}", flush=True)
            if given.second_night:
                second_night(folder, output, count, given)
            shutil.rmtree(output)
    return None


if __name__ == "__main__":
    main()
