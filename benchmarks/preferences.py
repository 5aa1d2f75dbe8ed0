"""Preference pairs from JSON Lines to a published set: seconds of each phase, memory, and whether all that was planted
is found.

    python benchmarks/preferences.py 100000 1000000 [--workers 2] [--memory-mib 256]

Made-up words, 10 to 60 of them in a prompt and 20 to 200 in an answer.  Of ten pairs six come from rankings of four
answers; of a hundred one is repeated exactly, one with a word changed on every side, and one with its labels swapped.
Copies of one pair are all of one kind, and far away from it in the files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.duplicates import run_once

RECIPE = """
name: pairs
entries: {{kind: preferences, shape: trl-plain}}
stages:
  - stage: pair
hygiene:
  memory_mib: {memory}
  conflicts: drop-both
  length_balance: [0.49, 0.51]
  held_out: {{share: 0.05}}
retention: {{dropped_texts: none}}
"""
SHARDS = 16
COPIES = ("exact", "near", "swapped")  # of each one pair in a hundred


def text(rng: np.random.Generator, words: np.ndarray, low: int, high: int) -> list[str]:
    """Some words; the first is a number that nobody else has, so that no two texts are alike by chance."""
    return [f"n{rng.integers(1 << 60)}", *words[rng.integers(0, len(words), rng.integers(low, high))].tolist()]


def edited(rng: np.random.Generator, words: list[str]) -> list[str]:
    """One word changed at the end: with 60 words and more more than 0.8 of the shingles stay."""
    return [*words[:-1], f"m{rng.integers(1 << 60)}"]


def record(prompt: list[str], chosen: list[str], rejected: list[str], **more: Any) -> str:
    sides = {"prompt": " ".join(prompt), "chosen": " ".join(chosen), "rejected": " ".join(rejected)}
    return json.dumps({**sides, **more})


def write(task: tuple[Path, int, int]) -> dict[str, int]:
    """One shard; a planted copy of another shard's pair is made from that shard's own seed."""
    path, shard, count = task
    planted = dict.fromkeys(COPIES, 0)
    with path.open("w") as out:
        out.writelines(line + "\n" for line in pairs(shard, count))
        other = (shard + SHARDS // 2) % SHARDS
        rng = np.random.default_rng(1000 + shard)
        for number, (prompt, chosen, rejected) in enumerate(originals(other, count)):
            kind = COPIES[number % 3]
            if kind == "near":
                prompt, chosen, rejected = (edited(rng, side) for side in (prompt, chosen, rejected))
            elif kind == "swapped":
                chosen, rejected = rejected, chosen
            out.write(record(prompt, chosen, rejected) + "\n")
            planted[kind] += 1
    return planted


def vocabulary() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array(["".join(rng.choice(list("etaoinshrdlu"), rng.integers(3, 9))) for _ in range(20000)])


def originals(shard: int, count: int) -> list[tuple[list[str], list[str], list[str]]]:
    """The pairs of a shard that are copied elsewhere: three in a hundred, with long sides."""
    rng, words = np.random.default_rng(shard), vocabulary()
    return [
        (text(rng, words, 60, 61), text(rng, words, 80, 200), text(rng, words, 60, 180))
        for _ in range(3 * (count // 100))
    ]


def pairs(shard: int, count: int) -> list[str]:
    """The lines of a shard without its copies."""
    lines = [record(*pair) for pair in originals(shard, count)]
    rng, words = np.random.default_rng(500 + shard), vocabulary()
    while len(lines) < count:
        prompt = text(rng, words, 10, 60)
        if rng.random() < 0.2:  # six pairs each, so six of ten in all
            answers = [text(rng, words, 20, 200) for _ in range(4)]
            lines += [record(prompt, *two, margin=float(margin)) for margin, two in enumerate(combinations(answers, 2))]
        else:
            lines.append(record(prompt, text(rng, words, 25, 200), text(rng, words, 20, 180)))
    return [lines[place] for place in rng.permutation(len(lines))]


def make(folder: Path, count: int) -> tuple[list[str], dict[str, int]]:
    """All shards, and how many of each kind were planted."""
    tasks = [(folder / f"pairs-{shard:02d}.jsonl", shard, count // SHARDS) for shard in range(SHARDS)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(write, tasks))
    return [str(path) for path, _, _ in tasks], {kind: sum(part[kind] for part in parts) for kind in COPIES}


def check(summary: dict[str, Any], planted: dict[str, int]) -> list[str]:
    """What is not as it was planted; nothing if all is well."""
    found = {"exact": summary["exact"], "near": summary["near"], "swapped": summary["conflicts"]}
    wrong = [f"{kind}: {planted[kind]} planted, {found[kind]} found" for kind in COPIES if planted[kind] != found[kind]]
    if summary["cycles"] or summary["split"]["prompts_on_both_sides"]:
        wrong.append("cycles, or prompts on both sides")
    return wrong


def main() -> None:
    """Sizes one after the other, a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory-mib", type=int, default=256)
    given = parser.parse_args()
    for count in given.counts:
        with tempfile.TemporaryDirectory() as scratch:
            paths, planted = make(Path(scratch), count)
            size = sum(os.path.getsize(path) for path in paths)
            output = Path(scratch) / "out"
            result = run_once(paths, output, given.workers, given.memory_mib, RECIPE)
            statistics = json.loads((output / "statistics.json").read_text())
            seconds = {name: value for name, value in result.items() if "MiB" not in name and "MB" not in name}
            total, read = sum(seconds.values()), statistics["records"]["read"]
            print(f"{read:,} pairs, {size / 1e6:.0f} MB: {total:.1f} s, {read / total:,.0f} pairs/s, "
                  f"{read / total / given.workers:,.0f} a second and worker")  # fmt: skip
            for name, value in result.items():
                print(f"  {name:<45}{value:10.1f}")
            wrong = check(statistics["hygiene"], planted)
            print("  planted and found:", wrong or planted, flush=True)
            shutil.rmtree(output)
            if wrong:
                sys.exit(1)


if __name__ == "__main__":
    main()
