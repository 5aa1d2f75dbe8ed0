"""Thresholds by the languages of sides: what is said is what a run with them does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.look import FinishedRun
from pipelines.what_if.answer import what_if
from tests.support.corpus import chinese, sentence
from tests.support.runs import rows, run_recipe, write_recipe

RECIPE = """
name: sides
entries: {kind: preferences}
stages:
  - stage: pair
    max_jaccard: null
    max_words: {default: 500, de: 250}
  - stage: language
    sides: [chosen, rejected]
    min_score: {default: 0.1, fr: 0.9}
  - stage: gopher-quality
    sides: [prompt, chosen, rejected]
    min_words: {default: 20, zh: 40}
    max_words: null
    min_mean_word_length: null
    max_mean_word_length: null
    min_alphabetic_words: null
    min_stop_words: null
  - stage: refusals
    max_chosen_refusal: 1
hygiene: null
limits: {max_quarantined_share: null}
"""
FEW = tuple(f"gopher-quality.{side}-few-words" for side in ("prompt", "chosen", "rejected"))
SURE = tuple(f"language.{side}-language-score" for side in ("chosen", "rejected"))


def all_of(rules: tuple[str, ...], thresholds: Any) -> dict[str, Any]:
    return {rule: thresholds for rule in rules}


QUESTIONS: dict[str, dict[str, Any]] = {
    "other languages": all_of(FEW, {"default": 20, "zh": 80, "en": 30}),
    "Chinese alone": all_of(FEW, {"default": 20, "zh": 60}),
    "one for all": all_of(FEW, 60),
    "looser in one": all_of(FEW, {"default": 20, "zh": None}),
    "before any language": {"pair.too-long": {"default": 500, "zh": 1, "de": 150, "en": 1}},
    "of the stage itself": all_of(SURE, {"default": 0.1, "zh": 0.99}),
    "of the row": {"refusals.chosen-refuses": {"default": 0.1, "zh": None, "de": 1}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Path]:
    """Pairs whose sides are in two languages, in any mixture and length; a few state a third."""
    folder = tmp_path_factory.mktemp("sides")
    rng = random.Random(11)

    def text(seed: int) -> str:
        count = rng.randint(1, 6)
        return " ".join(sentence(rng) for _ in range(count)) if rng.random() < 0.5 else chinese(seed, count)

    shards = []
    for number in range(2):
        records = []
        for entry in range(80):
            stated = {"language": rng.choice(["de", "fr"])} if rng.random() < 0.4 else {}
            sides = (text(1000 * number + 3 * entry + place) for place in range(3))
            record = dict(zip(("prompt", "chosen", "rejected"), sides, strict=True)) | stated
            if rng.random() < 0.3:
                record["chosen"] = "I'm sorry, but I cannot help you with that. " + record["chosen"]
            records.append(record)
        shards.append(folder / f"{number}.jsonl")
        shards[-1].write_text("".join(json.dumps(record) + "\n" for record in records))
    recipe = write_recipe(folder, RECIPE)
    run_recipe(recipe, shards, folder / "out")
    return recipe, shards, folder / "out"


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_as_a_run_with_them(question: str, finished: tuple[Path, list[Path], Path], agree: Callable[..., Any]) -> None:
    for answer in agree(*finished, QUESTIONS[question]):
        assert answer.exact == (answer.kept["lost"] > 0) == (question != "looser in one")


def test_what_each_side_was_asked_for(finished: tuple[Path, list[Path], Path]) -> None:
    """The run itself, row by row: a twin of its rules on sides."""
    met = set()
    for row in rows(finished[2]):
        if row["stage"] in ("pair", "language"):
            continue
        failing = []
        for side in ("prompt", "chosen", "rejected"):
            code = row.get(f"{side}_language") or row["language"]
            limit = {"zh": 40}.get(code, 20)
            if row[f"{side}_word_count"] < limit:
                failing.append((f"{side}-few-words", limit))
        assert (row["rule"], row["threshold"]) == (failing or [(None, None)])[0]
        met.update(failing)
    assert {limit for _, limit in met} == {20, 40} and len(met) == 6


def test_samples_tell_the_threshold_of_the_side(finished: tuple[Path, list[Path], Path]) -> None:
    thresholds = all_of(FEW, {"default": 70, "zh": 90})
    ledger = {row["id"]: row for row in rows(finished[2])}
    lost = what_if(FinishedRun(str(finished[2])), thresholds, samples=50).samples["lost"]
    assert len(lost) > 5
    for document in lost:
        row, after = ledger[document["id"]], document["after"]
        side = after["rule"].split("-")[0]
        code = row.get(f"{side}_language") or row["language"]
        assert (after["value"], after["threshold"]) == (row[f"{side}_word_count"], 90 if code == "zh" else 70)
