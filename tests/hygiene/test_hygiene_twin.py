"""Hygiene over files decides as plain loops over all pairs do, whatever the policies are."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.verify import verify_run
from tests.hygiene.sets import check, policies, recipe, records, run, shards_of
from tests.hygiene.twin import Outcome, Policies, above, jaccard
from tests.support.runs import rows

FAST, ALL = 8, 80
SEEDS = [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, ALL))]


def decided(folder: Path, kind: str, found: list[dict[str, Any]], chosen: Policies, files: int = 3) -> list[Outcome]:
    """A run that is as the twin says; outcomes in the order of the records."""
    output = folder / "out"
    ledger = run(recipe(folder, kind, chosen), shards_of(folder, found, files), output)
    expected = check(ledger, found, chosen)
    verify_run(str(output))
    names = {row["record_id"]: row["id"] for row in ledger}
    return [expected[names[record["id"]]] for record in found if names[record["id"]] in expected]


@pytest.mark.parametrize("seed", SEEDS)
def test_pairs_as_by_brute_force(seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"pairs-{seed}")
    chosen, found = policies(rng, seed), records(rng, "preferences", rng.randint(0, 60))
    decided(tmp_path, "preferences", found, chosen)


@pytest.mark.parametrize("seed", SEEDS)
def test_instructions_as_by_brute_force(seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"instructions-{seed}")
    chosen, found = policies(rng, seed), records(rng, "instructions", rng.randint(0, 60))
    decided(tmp_path, "instructions", found, chosen)


def numbered_words(count: int, name: str) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def changed(words: list[str], place: int) -> list[str]:
    return [*words[:place], f"other{place}", *words[place + 1 :]]


def pair(name: str, chosen: list[str], rejected: list[str], prompt: str = "Why does it turn?") -> dict[str, Any]:
    return {"id": name, "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": " ".join(chosen)}],
            "rejected": [{"role": "assistant", "content": " ".join(rejected)}]}  # fmt: skip


def near(one: list[str], other: list[str]) -> bool:
    return above(jaccard(*(set(zip(*(words[n:] for n in range(5)), strict=False)) for words in (one, other))),
                 Fraction(4, 5))  # fmt: skip


@pytest.mark.parametrize("variant", range(4))
def test_answers_are_one_in_chains_whatever_their_digests(variant: int, tmp_path: Path) -> None:
    chain = [numbered_words(60, f"{variant}word")]
    for place in (10, 20, 30, 40, 50):
        chain.append(changed(chain[-1], place))
    opposite = numbered_words(30, "against")
    assert all(near(one, other) for one, other in pairwise(chain)) and not near(chain[0], chain[2])
    found = [pair(f"{number}", answer, opposite) for number, answer in enumerate(chain[:-1])]
    found.append(pair("swapped", opposite, chain[-1]))
    outcomes = decided(tmp_path, "preferences", found, Policies())
    assert [outcome.contradiction for outcome in outcomes] == ["label-conflict"] * 6
    assert outcomes[-1].rule == "label-conflict" and outcomes[-1].value == 4


def test_an_exact_copy_has_similar_sides_even_without_words(tmp_path: Path) -> None:
    """Of texts without a word, white space inside counts: a witness is named only with a similarity."""
    found = [pair("a", ["👍 👍"], ["no"]), pair("b", ["👍  👍"], ["no"]), pair("c", ["👍 👍"], ["no"])]
    outcomes = decided(tmp_path, "preferences", found, Policies())
    assert sorted(outcome.verdict for outcome in outcomes) == ["duplicate", "kept", "kept"]
    assert {row["rule"]: row["similarity"] for row in rows(tmp_path / "out")} == {None: None, "exact": 1.0}


def test_spellings_of_one_answer_are_one_at_the_least_length(tmp_path: Path) -> None:
    words = numbered_words(19, "w")
    found = [pair("a", [*words, "1½"], ["no"]), pair("b", [*words, "11⁄2"], ["no"])]
    outcomes = decided(tmp_path, "preferences", found, Policies(min_answer_words=21))
    assert sorted(outcome.rule or "" for outcome in outcomes) == ["", "exact"]


@pytest.mark.parametrize("threshold", [Fraction(7, 10), Fraction(95, 100)])
def test_other_thresholds(threshold: Fraction, tmp_path: Path) -> None:
    rng = random.Random(f"{threshold}")
    outcomes = decided(tmp_path, "preferences", records(rng, "preferences", 60), Policies(threshold=threshold))
    assert any(outcome.rule for outcome in outcomes)


def crowd_and_chain() -> list[dict[str, Any]]:
    """A prompt, many near-copies of it, and one that is near those and not near the first."""
    first = numbered_words(80, "word")
    near_first = changed(first, 20)
    crowd = [[*near_first[:-1], f"end{number}"] for number in range(150)]
    last = changed(near_first, 50)
    assert all(near(first, one) and near(one, last) for one in crowd) and not near(first, last)
    prompts = [" ".join(words) for words in (first, *crowd, last)]
    return [pair(f"{number}", numbered_words(170 - number, f"good{number}"), ["no"], prompt)
            for number, prompt in enumerate(prompts)]  # fmt: skip


@pytest.mark.parametrize("copies", [1, 2])
def test_prompts_are_one_in_chains_however_many_they_are(copies: int, tmp_path: Path) -> None:
    found = crowd_and_chain()
    ledger = run(recipe(tmp_path, "preferences", Policies(), recall=0.998), shards_of(tmp_path, found, copies),
                 tmp_path / "out")  # fmt: skip
    assert {row["cluster_size"] for row in ledger} == {len(found)}
