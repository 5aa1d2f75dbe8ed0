"""What-ifs of runs whose entries were compared as a set: what is said is what a run with the thresholds does."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from pipelines.look import FinishedRun
from pipelines.what_if.answer import what_if
from pipelines.what_if.decisions import kept_ids, undetermined_ids
from tests.pipelines.what_if.conftest import fates, fork
from tests.support.runs import rows, run_recipe, write_recipe

RECIPE = """
name: pairs
entries: {{kind: preferences}}
stages:
  - stage: pair
    max_jaccard: null
    max_words: 50
hygiene: {{min_answer_words: 0, conflicts: {conflicts}, cycles: {cycles}{more}}}
"""


def entries(seed: int, count: int = 120) -> list[dict[str, Any]]:
    """Pairs over few prompts and few answers, so that they repeat and contradict one another."""
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(40)]
    prompts = [" ".join(rng.choices(words, k=rng.randint(3, 30))) for _ in range(count // 8)]
    answers = [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(5)]
    found = []
    for _ in range(count):
        chosen, rejected = rng.sample(answers, 2)
        margin = {} if rng.random() < 0.3 else {"margin": rng.choice([0.5, 1.0, 2.0])}
        found.append({"prompt": rng.choice(prompts), "chosen": chosen, "rejected": rejected, **margin})
    return found


def asked(tmp_path: Path, seed: int, conflicts: str, cycles: str, more: str = "") -> tuple[Path, list[Path], Path]:
    recipe = write_recipe(tmp_path, RECIPE.format(conflicts=conflicts, cycles=cycles, more=more))
    shards = []
    whole = entries(seed)
    for number in range(2):
        shards.append(tmp_path / f"{number}.jsonl")
        shards[-1].write_text("".join(json.dumps(entry) + "\n" for entry in whole[number::2]))
    run_recipe(recipe, shards, tmp_path / "out")
    return recipe, shards, tmp_path / "out"


@pytest.mark.parametrize(
    ("conflicts", "cycles", "more"),
    [
        ("majority", "keep-margin", ""), ("drop-both", "drop-component", ""), ("keep", "keep", ", duplicates: keep"),
        ("keep-margin", "keep", ", length_balance: [0.49, 0.51]"),
    ],
)  # fmt: skip
def test_tightened(tmp_path: Path, conflicts: str, cycles: str, more: str) -> None:
    determined = undetermined = 0
    for seed in range(2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        recipe, shards, output = asked(folder, seed, conflicts, cycles, more)
        for limit in (48, 38):
            thresholds = {"pair.too-long": limit}
            before, after = FinishedRun(str(output)), rows(fork(recipe, shards, output, thresholds))
            truth = {row["id"]: (row["verdict"], row["stage"], row["rule"]) for row in after}
            unknown = set(undetermined_ids(before, thresholds))
            said = fates(before, thresholds)
            assert {id_: said[id_] for id_ in said.keys() - unknown if said[id_][2] != "length-balance"} == {
                id_: truth[id_] for id_ in said.keys() - unknown if said[id_][2] != "length-balance"
            } or "length_balance" in more
            answer = what_if(before, thresholds)
            assert answer.exact == (not unknown) and answer.kept["after"] == len(kept_ids(before, thresholds))
            determined, undetermined = determined + len(said) - len(unknown), undetermined + len(unknown)
    assert determined > undetermined > 0 or more


def test_loosened(tmp_path: Path) -> None:
    recipe, shards, output = asked(tmp_path, 7, "majority", "keep-margin")
    run, thresholds = FinishedRun(str(output)), {"pair.too-long": None}
    truth = {row["id"]: row["verdict"] for row in rows(fork(recipe, shards, output, thresholds))}
    before = {row["id"]: row["verdict"] for row in rows(output)}
    kept, unknown = set(kept_ids(run, thresholds)), set(undetermined_ids(run, thresholds))
    freed = {row["id"] for row in rows(output) if row["rule"] == "too-long"}
    assert freed and freed <= unknown
    assert kept == {id_ for id_, verdict in before.items() if verdict == "kept"} - unknown
    assert what_if(run, thresholds).contingent == len(kept)
    assert truth.keys() == before.keys()
