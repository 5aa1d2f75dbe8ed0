"""Runs over entries in several languages: each row has one, and each side is measured by its own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.browse import Wanted, nearest
from pipelines.look import FinishedRun
from pipelines.verify import verify_run
from tests.support.runs import rows, run_recipe, write_recipe

ENGLISH = {  # by number of words
    5: "We walk to the river.",
    10: "We walk to the river when the weather is good.",
    15: "We walk to the river when the weather is good, and we swim there too.",
}
CHINESE = {  # by number of characters
    8: "今天的天气非常好。",
    13: "今天的天气非常好，我们去河边。",
    19: "今天的天气非常好，我们去河边，然后一起游泳。",
}
ASKED_ENGLISH, ASKED_CHINESE = "What do you do on a day that is warm and dry?", "天气暖和的时候你们做什么？"

PAIRS = """
name: languages
entries: {{kind: preferences{stated}}}
stages:
  - stage: pair
    max_jaccard: null
    max_words: {{default: null, eo: 3}}
{language}
  - stage: gopher-quality
    sides: [chosen, rejected]
    min_words: {{default: 1000, en: 9, zh: 12}}
    max_words: null
    min_mean_word_length: null
    max_mean_word_length: null
    min_alphabetic_words: null
    min_stop_words: null
hygiene: {{min_answer_words: 0, held_out: {{share: 0.5, by_language: true}}}}
"""
IDENTIFIED = """
  - stage: language
    sides: [prompt, chosen, rejected]
    min_score: null
"""


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


# What is asked, the answers, and what becomes of it: the rule that takes it, its threshold, the language of the row.
ENTRIES: list[tuple[dict[str, Any], str | None, float | None, str]] = [
    (pair(ASKED_ENGLISH, ENGLISH[15], ENGLISH[10]), None, None, "en"),
    (pair(ASKED_ENGLISH, ENGLISH[5], ENGLISH[10]), "chosen-few-words", 9, "en"),
    (pair(ASKED_CHINESE, CHINESE[19], CHINESE[13]), None, None, "zh"),
    (pair(ASKED_CHINESE, CHINESE[13], CHINESE[8]), "rejected-few-words", 12, "zh"),
    # Each side by its own language: ten words are enough in English, and too few in Chinese.
    (pair(ASKED_CHINESE, ENGLISH[10], CHINESE[13]), None, None, "en"),
    (pair(ASKED_ENGLISH, CHINESE[13], ENGLISH[10]), None, None, "zh"),
    (pair(ASKED_ENGLISH, CHINESE[8], ENGLISH[10]), "chosen-few-words", 12, "zh"),
    (pair(ASKED_CHINESE, CHINESE[19], ENGLISH[5]), "rejected-few-words", 9, "zh"),
    # What is stated is the language of the row, not that of its sides.
    (pair(ASKED_ENGLISH, ENGLISH[15], CHINESE[19], language="fr"), None, None, "fr"),
    (pair(ASKED_ENGLISH, ENGLISH[5], CHINESE[13], language="fr"), "chosen-few-words", 9, "fr"),
]


def run(folder: Path, text: str, records: list[dict[str, Any]]) -> Path:
    shard = folder / "a.jsonl"
    shard.write_text("".join(json.dumps(record) + "\n" for record in records))
    run_recipe(write_recipe(folder, text), [shard], folder / "out")
    verify_run(str(folder / "out"))
    return folder / "out"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = PAIRS.format(stated="", language=IDENTIFIED)
    return run(tmp_path_factory.mktemp("languages"), text, [entry for entry, *_ in ENTRIES])


def test_each_side_has_the_threshold_of_its_language(output: Path) -> None:
    ledger = sorted(rows(output), key=lambda row: row["offset"])
    found = [(row["rule"], row["threshold"], row["language"]) for row in ledger]
    assert found == [tuple(told) for _, *told in ENTRIES]
    assert [row["stated_language"] for row in ledger] == [None] * 8 + ["fr"] * 2


def test_what_is_published_has_its_language(output: Path) -> None:
    languages = Counter(row["language"] for row in rows(output, "corpus"))
    assert languages == {"en": 2, "zh": 2, "fr": 1}
    statistics = json.loads((output / "statistics.json").read_text())
    kept = {name: counts["kept"]["documents"] for name, counts in statistics["languages"].items()}
    assert kept == {"en": 2, "zh": 2, "fr": 1}
    assert {name: counts["pairs"] for name, counts in statistics["hygiene"]["length_bias"]["after"]["languages"].items()
            } == kept  # fmt: skip
    assert set(statistics["hygiene"]["split"]["languages"]) == set(kept)


def test_those_near_a_threshold_are_near_that_of_their_side(output: Path) -> None:
    found = nearest(FinishedRun(str(output)), "chosen-few-words", 20, Wanted())
    by_offset = {row["id"]: row["offset"] for row in rows(output)}
    told = [(row["measured"], row["limit"]) for row in sorted(found, key=lambda row: by_offset[row["id"]])]
    assert told == [(15, 9), (5, 9), (19, 12), (13, 12), (10, 9), (13, 12), (8, 12), (19, 12), (15, 9), (5, 9)]


def test_without_a_language_stage_what_is_stated_holds(tmp_path: Path) -> None:
    text = PAIRS.format(stated=", language: en", language="")
    output = run(tmp_path, text, [ENTRIES[0][0], {**ENTRIES[2][0], "language": "zh"}, ENTRIES[1][0]])
    ledger = sorted(rows(output), key=lambda row: row["offset"])
    assert [(row["rule"], row["language"]) for row in ledger] == [
        (None, "en"),
        (None, "zh"),
        ("chosen-few-words", "en"),
    ]
    assert "stated_language" not in ledger[0]


def test_before_the_language_stage_what_is_stated_holds(tmp_path: Path) -> None:
    text = PAIRS.format(stated="", language=IDENTIFIED)
    output = run(tmp_path, text, [ENTRIES[0][0], {**ENTRIES[0][0], "language": "eo"}])
    ledger = sorted(rows(output), key=lambda row: row["offset"])
    assert [(row["rule"], row["threshold"]) for row in ledger] == [(None, None), ("too-long", 3)]


@pytest.mark.parametrize(
    ("recipe", "inputs"),
    [
        ("preferences", {"preferences/dpo-en-demo.json.gz": "en", "preferences/dpo-zh-demo.json.gz": "zh"}),
        ("instructions", {"sft/alpaca-en-demo.json.gz": "en", "sft/alpaca-zh-demo.json.gz": "zh"}),
    ],
)
def test_packaged_recipes_know_the_language_of_real_entries(
    recipe: str, inputs: dict[str, str], real_data: Path, tmp_path: Path
) -> None:
    run_recipe(Path(recipe), [real_data / name for name in inputs], tmp_path / "out")
    corpus = rows(tmp_path / "out", "corpus")
    assert all(row["language"] for row in corpus)
    for name, code in inputs.items():
        languages = [row["language"] for row in corpus if row["source"] == Path(name).name]
        assert len(languages) > 250 and languages.count(code) > 0.9 * len(languages)
