"""A million pairs in bounded memory, each check in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import numpy as np, pyarrow as pa
from curation.pair_sets import clusters, conflicts, cycles, length_bias, split
from curation.pair_sets.pairs import PairSet

n, dice = 10**6, np.random.default_rng(1)
def words(values):
    return np.stack([values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), values.astype(np.uint64)], axis=1)
def pairs(prompts, answers):
    prompt, a = dice.integers(0, prompts, n), dice.integers(0, answers, n)
    b = (a + 1 + dice.integers(0, answers - 1, n)) % answers
    margin, ranking = dice.integers(-2, 9, n) / 4, prompt
    return PairSet(words(dice.permutation(n)), prompt, words(prompt), words(prompt * answers + a),
                   words(prompt * answers + b), margin, ranking, dice.integers(0, 100, n))

small, ring = pairs(200_000, 5), pairs(1, 2)
one = np.arange(n)
ring = PairSet(ring.pair_id, ring.prompt, ring.prompt_digest, words(one), words((one + 1) % n), ring.margin,
               ring.ranking, ring.priority)
lengths = length_bias.Lengths(dice.integers(1, 900, n).astype(np.int32), dice.integers(1, 800, n).astype(np.int32),
                              pa.array(dice.choice(["en", "zh", "de"], n)))
def step(name):
    if name == "conflicts":
        return conflicts.find_conflicts(small, "keep-margin").summary.conflicts > 50_000
    if name == "cycles":
        return cycles.find_cycles(small).summary.components > 10_000
    if name == "ring":
        return cycles.find_cycles(ring, "drop-component").summary.longest == n
    if name == "length":
        left = length_bias.balance(lengths, small.pair_id).kept(n)
        return length_bias.length_bias(lengths, left).overall.accuracy < 0.551
    same = clusters.cluster(small.pair_id, small.prompt_digest, one[:1000], one[1000:2000])
    out = split.split(same, "0.05", language=lengths.language).held_out
    return split.leaks(small, out).summary.held_out > 40_000

assert step(sys.argv[1])
# Not ru_maxrss: a child begins with that of its parent.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("check", ["conflicts", "cycles", "ring", "length", "split"])
def test_a_million_pairs_fit(check: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM, check], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1024, "MiB in all: the interpreter, 250 MiB of pairs, and the check"
