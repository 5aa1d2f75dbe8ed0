"""Whole removal of near-duplicates: ours beside datatrove's four stages, datasketch's index and rensa, judged.

    python -m benchmarks.duplicate_peers DOCUMENTS.jsonl[.gz]... [--copies 2] [--peer .venv-peers/bin/python]

Everybody gets the same documents in memory or in one JSONL file and says which it keeps; the brute-force oracle
then counts, over all pairs above 0.8, which were resolved, which are both kept, and orphans: documents that were
removed without a kept one above the threshold.  ``--copies`` adds edited copies of each document so that there is
something to find.  CPU seconds, children included; one thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.oracle import all_pairs, judge, read_documents
from benchmarks.signatures import peer_shingles

DATATROVE = Path(__file__).with_name("datatrove_duplicates.py")


def edited(text: str, rng: random.Random) -> str:
    """A copy with up to 4 % of its words replaced."""
    words = text.split()
    for _ in range(int(len(words) * rng.choice([0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04]))):
        words[rng.randrange(len(words))] = f"w{rng.randrange(10_000)}"
    return " ".join(words)


def ours(texts: list[str]) -> np.ndarray:
    """Everything in memory."""
    from curation.duplicates.find import find_duplicates

    return find_duplicates(pa.array(texts, pa.large_string())).kept


def over_files(texts: list[str]) -> np.ndarray:
    """``gristmill run`` in a process of its own, one worker: from JSONL to corpus and ledger, start-up included."""
    import pyarrow.dataset as ds

    with tempfile.TemporaryDirectory() as scratch:
        source, recipe, output = (Path(scratch) / name for name in ("documents.jsonl", "recipe.yaml", "out"))
        source.write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts)))
        recipe.write_text("name: peers\nstages:\n  - stage: extraction\n")
        command = [sys.executable, "-m", "cli.main", "run", str(recipe), str(source), "-o", str(output)]
        subprocess.run([*command, "--workers", "1", "--quiet"], check=True, capture_output=True)
        ledger = ds.dataset(output / "ledger").to_table(columns=["record_id", "verdict"]).to_pylist()
    kept = np.zeros(len(texts), bool)
    kept[[int(row["record_id"]) for row in ledger if row["verdict"] == "kept"]] = True
    return kept


def by_datasketch(texts: list[str]) -> np.ndarray:
    """MinHashLSH at 0.8 with 128 permutations, as its documentation shows it: keep what finds nothing before it."""
    from datasketch import MinHash, MinHashLSH
    from xxhash import xxh32_intdigest

    index = MinHashLSH(threshold=0.8, num_perm=128)
    first = MinHash(num_perm=128, hashfunc=xxh32_intdigest, scheme="affine32")
    kept = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        minhash = first.copy()
        minhash.update_batch(peer_shingles(text))
        if not index.query(minhash):
            index.insert(row, minhash)
            kept[row] = True
    return kept


def by_rensa(texts: list[str]) -> np.ndarray:
    """RMinHashLSH at 0.8 with 128 permutations in 16 bands, candidates checked by their estimate."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    kept, sketches = np.zeros(len(texts), bool), {}
    for row, text in enumerate(texts):
        minhash = RMinHash(num_perm=128, seed=42)
        minhash.update([shingle.decode() for shingle in peer_shingles(text)])
        if not any(minhash.jaccard(sketches[other]) > 0.8 for other in index.query(minhash)):
            index.insert(row, minhash)
            sketches[row] = minhash
            kept[row] = True
    return kept


def by_datatrove(texts: list[str], python: str) -> tuple[np.ndarray, float]:
    """The four stages with default bands (14 of 8), in their own environment; kept rows and CPU seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "documents.jsonl"
        source.write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts)))
        done = subprocess.run([python, str(DATATROVE), scratch], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    result = json.loads(done.stdout.splitlines()[-1])
    kept = np.zeros(len(texts), bool)
    kept[[int(id_) for id_ in result["kept"]]] = True
    return kept, result["seconds"]


def spent(call: Callable[[list[str]], np.ndarray], texts: list[str]) -> tuple[np.ndarray, float]:
    """What is kept, and CPU seconds; a first call on little compiles what must be compiled."""
    call(texts[:50])
    before = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    kept = call(texts)
    return kept, time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before


def main() -> None:
    """A line for each contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", type=Path, nargs="+")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--peer")
    given = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"  # rensa is imported after this
    rng = random.Random(1)
    originals = [text for _, text in chain.from_iterable(map(read_documents, given.documents)) if len(text) > 200]
    texts = [version for text in originals for version in (text, *(edited(text, rng) for _ in range(given.copies)))]
    rng.shuffle(texts)
    truth = all_pairs(texts, Fraction(4, 5))
    print(f"{len(texts)} documents, {sum(map(len, texts)) / len(texts):.0f} characters each, "
          f"{truth.left.size} pairs above 0.8")  # fmt: skip
    results = {"gristmill, in memory": spent(ours, texts), "gristmill run, over files": spent(over_files, texts)}
    if given.peer:
        results["datatrove, 4 stages, 14 x 8"] = by_datatrove(texts, given.peer)
    results["datasketch MinHashLSH, 128"] = spent(by_datasketch, texts)
    results["rensa RMinHashLSH, 16 x 8"] = spent(by_rensa, texts)
    own = results["gristmill, in memory"][1]
    print(f"{'':32}{'CPU s':>8}{'times ours':>12}{'kept':>8}{'recall':>9}{'both kept':>11}{'orphans':>9}")
    for name, (kept, seconds) in results.items():
        j = judge(truth, kept)
        print(f"{name:32}{seconds:8.2f}{seconds / own:12.1f}{j.kept:8}{j.recall:9.4f}{j.surviving:11}{j.orphans:9}")


if __name__ == "__main__":
    main()
