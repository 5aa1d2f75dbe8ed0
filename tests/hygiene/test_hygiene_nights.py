"""A second night with the first as its memory: what repeats, what contradicts, what merely resembles."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.index import prepare_earlier
from pipelines.recipe import load_recipe
from pipelines.verify import verify_run
from tests.hygiene.sets import RECALL, agrees, entries_of, entry_of, policies, recipe, records, run, shards_of
from tests.hygiene.twin import Entry, Policies, hygiene
from tests.support.corpus import chinese, english, write_jsonl
from tests.support.runs import rows, run_recipe, tree, write_recipe

FAST, ALL = 4, 40
SEEDS = [*range(FAST), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(FAST, ALL))]
Record = dict[str, Any]


def dataset(output: Path) -> str:
    """Name and version of what a run published."""
    name = json.loads((output / "run.json").read_text())["recipe"]["name"]
    return f"{name}@{json.loads((output / 'manifest.json').read_text())['key']}"


def published(output: Path, found: list[Record], first: int = 0) -> list[Entry]:
    """The entries that a run kept, in the order of its files."""
    names = {row["id"]: row["record_id"] for row in rows(output)}
    by_name = {record["id"]: record for record in found}
    ids = [row.get("pair_id") or row["id"] for row in rows(output, "corpus")]
    return [entry_of(by_name[names[id_]], id_, dataset=dataset(output), order=first + place)
            for place, id_ in enumerate(ids)]  # fmt: skip


def night(
    folder: Path, kind: str, found: list[Record], chosen: Policies, name: str, *earlier: Path, files: int = 2
) -> list[dict[str, Any]]:
    """A run that remembers others."""
    made = recipe(folder, kind, chosen, *earlier, name=name)
    prepare_earlier(load_recipe(made))
    ledger = run(made, shards_of(folder / f"{name}-shards", found, files), folder / name)
    verify_run(str(folder / name))
    return ledger


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["preferences", "instructions"])
def test_three_nights_as_by_brute_force(kind: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"nights-{kind}-{seed}")
    found = records(rng, kind, 75)
    first, second, third = found[:25], found[25:50], found[50:]
    night(tmp_path, kind, first, Policies(), "one")
    earlier = published(tmp_path / "one", found)
    chosen = policies(rng, seed)
    ledger = night(tmp_path, kind, second, chosen, "two", tmp_path / "one")
    agrees(ledger, hygiene([*earlier, *entries_of(ledger, found)], chosen))
    earlier += published(tmp_path / "two", found, len(earlier))
    ledger = night(tmp_path, kind, third, chosen, "three", tmp_path / "one", tmp_path / "two")
    agrees(ledger, hygiene([*earlier, *entries_of(ledger, found)], chosen))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_corpus_of_pages_as_by_brute_force(seed: int, tmp_path: Path) -> None:
    """Pages have no sides: they join prompts and overlap with them, and nothing repeats or contradicts them."""
    rng = random.Random(f"pages-{seed}")
    found, chosen = records(rng, "preferences", 40), policies(rng, seed)
    pages = crawl(tmp_path, [turn["content"] for record in found[::3] for turn in record["prompt"]])
    earlier = [Entry(row["id"], {"prompt": [("user", row["text"])]}, dataset=dataset(pages), order=place)
               for place, row in enumerate(rows(pages, "corpus"))]  # fmt: skip
    ledger = night(tmp_path, "preferences", found, chosen, "pairs", pages)
    agrees(ledger, hygiene([*earlier, *entries_of(ledger, found)], chosen, same_kind=False))
    assert any(row["overlap_dataset"] == dataset(pages) for row in ledger)


def crawl(folder: Path, texts: list[str]) -> Path:
    """A corpus of pages, published by a run."""
    section = yaml.safe_dump({"deduplication": {"recall": RECALL}})
    made = write_recipe(folder, f"name: pages\nstages: [{{stage: extraction}}]\n{section}", "pages.yaml")
    shard = write_jsonl(folder / "pages.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    run_recipe(made, [shard], folder / "pages")
    return folder / "pages"


def pair(name: str, prompt: str, chosen: str, rejected: str) -> Record:
    return {"id": name, "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}]}  # fmt: skip


def sides(number: int) -> tuple[str, str, str]:
    """Texts long enough that a word at the end changes little."""
    text = english if number % 2 else chinese
    return text(number), text(1000 + number), text(2000 + number)


def edited(text: str) -> str:
    return text + " finis"


FIRST = [pair(f"first{number}", *sides(number)) for number in range(8)]
SECOND = [
    pair("again", *sides(0)),
    pair("nearly again", *(edited(text) for text in sides(1))),
    pair("swapped", sides(2)[0], sides(2)[2], sides(2)[1]),
    pair("nearly swapped", *(edited(text) for text in (sides(3)[0], sides(3)[2], sides(3)[1]))),
    pair("another answer", sides(4)[0], *sides(104)[1:]),
    pair("nearly its prompt", edited(sides(5)[0]), *sides(105)[1:]),
    pair("new", *sides(106)),
]


def fates(ledger: list[dict[str, Any]]) -> dict[str, str | None]:
    return {row["record_id"]: row["rule"] for row in ledger}


def witnesses(folder: Path, ledger: list[dict[str, Any]], column: str) -> dict[str, str | None]:
    names = {row["id"]: row["record_id"] for row in rows(folder / "one")} | {None: None}
    return {row["record_id"]: names[row[column]] for row in ledger}


@pytest.mark.parametrize("conflicts", ["majority", "drop-both", "keep-margin"])
def test_what_repeats_or_contradicts_the_first_night_goes(conflicts: str, tmp_path: Path) -> None:
    night(tmp_path, "preferences", FIRST, Policies(), "one")
    ledger = night(tmp_path, "preferences", SECOND, Policies(conflicts=conflicts), "two", tmp_path / "one")
    assert fates(ledger) == {
        "again": "exact", "nearly again": "near", "swapped": "label-conflict", "nearly swapped": "label-conflict",
        "another answer": None, "nearly its prompt": None, "new": None,
    }  # fmt: skip
    order = ["again", "nearly again", "swapped", "nearly swapped", "another answer", "nearly its prompt"]
    meant = {name: f"first{number}" for number, name in enumerate(order)} | {"new": None}
    assert witnesses(tmp_path, ledger, "overlap") == meant
    gone = {name: meant[name] if fates(ledger)[name] else None for name in meant}
    assert witnesses(tmp_path, ledger, "witness") == gone
    said = {row["record_id"]: row["witness_dataset"] for row in ledger}
    assert said == {name: dataset(tmp_path / "one") if gone[name] else None for name in gone}
    assert all(row["overlap_dataset"] == dataset(tmp_path / "one") for row in ledger if row["record_id"] != "new")
    contradicted = witnesses(tmp_path, ledger, "contradicts")
    assert {name for name in meant if contradicted[name]} == {"swapped", "nearly swapped"}


def test_prompts_that_were_there_before_still_belong_together(tmp_path: Path) -> None:
    prompts = [english(1), edited(english(1))]
    first = [pair(f"first{number}", prompt, *sides(10 + number)[1:]) for number, prompt in enumerate(prompts)]
    night(tmp_path, "preferences", first, Policies(), "one")
    second = [pair(f"second{number}", prompt, *sides(20 + number)[1:]) for number, prompt in enumerate(prompts)]
    ledger = night(tmp_path, "preferences", second, Policies(), "two", tmp_path / "one")
    assert [row["cluster_size"] for row in ledger] == [2, 2]


def test_a_conflict_with_the_first_night_may_stay(tmp_path: Path) -> None:
    night(tmp_path, "preferences", FIRST, Policies(), "one")
    ledger = night(tmp_path, "preferences", SECOND, Policies(conflicts="keep"), "two", tmp_path / "one")
    assert fates(ledger)["swapped"] is None and fates(ledger)["nearly swapped"] is None
    assert witnesses(tmp_path, ledger, "contradicts")["swapped"] == "first2"


def test_overlapping_prompts_may_go(tmp_path: Path) -> None:
    night(tmp_path, "preferences", FIRST, Policies(), "one")
    ledger = night(tmp_path, "preferences", SECOND, Policies(overlap="drop"), "two", tmp_path / "one")
    assert fates(ledger) == {row["record_id"]: "prompt-overlap" for row in ledger} | {"new": None}
    gone = [row for row in ledger if row["rule"]]
    assert all(row["witness"] == row["overlap"] and row["value"] == row["overlap_similarity"] > 0.8 for row in gone)
    assert all(row["threshold"] == 0.8 and row["stage"] == "hygiene" for row in gone)


def test_instructions_remember_too(tmp_path: Path) -> None:
    def said(name: str, prompt: str, response: str) -> Record:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        return {"id": name, "messages": turns}

    night(tmp_path, "instructions", [said(f"first{n}", *sides(n)[:2]) for n in range(3)], Policies(), "one")
    second = [said("again", *sides(0)[:2]), said("nearly", *map(edited, sides(1)[:2])), said("else", *sides(2)[::2])]
    ledger = night(tmp_path, "instructions", second, Policies(), "two", tmp_path / "one")
    assert fates(ledger) == {"again": "exact", "nearly": "near", "else": None}
    assert witnesses(tmp_path, ledger, "overlap") == {"again": "first0", "nearly": "first1", "else": "first2"}


def test_a_night_does_not_change_when_it_runs_again(tmp_path: Path) -> None:
    night(tmp_path, "preferences", FIRST, Policies(), "one")
    chosen = Policies(share="0.3")
    night(tmp_path, "preferences", SECOND, chosen, "two", tmp_path / "one")
    before = tree(tmp_path / "two")
    shards = sorted((tmp_path / "two-shards").iterdir())
    assert run_recipe(tmp_path / "two.yaml", shards, tmp_path / "two").did_nothing
    assert tree(tmp_path / "two") == before
    run_recipe(tmp_path / "two.yaml", shards, tmp_path / "again", workers=2)
    assert tree(tmp_path / "again") == before
