"""Faults planted in real sets are found, all of them, and nothing is found that nobody planted.

``pytest -rP`` prints the tables.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.index import prepare_earlier
from pipelines.recipe import load_recipe
from pipelines.verify import verify_run
from tests.hygiene.faults import (
    Finding,
    Planted,
    Record,
    edited,
    is_long,
    real_instructions,
    real_preferences,
    respelled,
    same,
)
from tests.hygiene.sets import RECALL, STAGES
from tests.support.corpus import write_jsonl
from tests.support.runs import rows, run_recipe, write_recipe

PREFERENCES = {"fast": (["dpo-en", "dpo-zh"], 3), "all": (["hh", "dpo-en", "dpo-zh", "oasst"], 7)}
INSTRUCTIONS = {
    "fast": (["alpaca-en-demo.json.gz", "alpaca-zh-demo.json.gz"], 4),
    "all": (
        [
            "alpaca-en-demo.json.gz",
            "alpaca-zh-demo.json.gz",
            "alpaca-en-00000-15323.json.gz",
            "alpaca-zh-00000-09407.json.gz",
        ],
        8,
    ),
}
SIZES = ["fast", pytest.param("all", marks=pytest.mark.slow)]


class Mill:
    """Runs over files of records, in one folder."""

    def __init__(self, folder: Path, kind: str, data: Path) -> None:
        self.folder, self.kind, self.data = folder, kind, data

    def recipe(self, name: str, earlier: Iterable[Path] = (), **more: Any) -> Path:
        named = {"gsm8k": f"{self.data}/benchmarks/gsm8k-test.jsonl.gz",
                 "cmmlu": f"{self.data}/benchmarks/cmmlu-zh.jsonl.gz"}  # fmt: skip
        looked_at = ["prompt", *(["chosen", "rejected"] if self.kind == "preferences" else ["response"])]
        stages = [*yaml.safe_load(STAGES[self.kind]),
                  {"stage": "decontamination", "sides": looked_at, "benchmarks": named}]  # fmt: skip
        hygiene = {"recall": RECALL, "held_out": {"shards": ["held.jsonl"]}, "earlier": [str(e) for e in earlier]}
        said = {"name": name, "entries": {"kind": self.kind}, "stages": stages, "hygiene": hygiene | more}
        path = write_recipe(self.folder, yaml.safe_dump(said), f"{name}.yaml")
        prepare_earlier(load_recipe(path))
        return path

    def run(self, name: str, files: dict[str, list[Record]], *earlier: Path, **more: Any) -> list[dict[str, Any]]:
        folder = self.folder / f"{name}-files"
        folder.mkdir()
        shards = [write_jsonl(folder / f"{file}.jsonl", [*records]) for file, records in files.items()]
        run_recipe(self.recipe(name, earlier, **more), shards, self.folder / name)
        verify_run(str(self.folder / name))
        return rows(self.folder / name)

    def pages(self, texts: list[str]) -> Path:
        section = f"stages: [{{stage: extraction}}]\ndeduplication: {{recall: {RECALL}}}\n"
        path = write_recipe(self.folder, f"name: pages\n{section}", "pages.yaml")
        shard = write_jsonl(self.folder / "pages.jsonl", [{"id": str(n), "text": t} for n, t in enumerate(texts)])
        run_recipe(path, [shard], self.folder / "pages")
        assert len(rows(self.folder / "pages", "corpus")) == len(texts)
        return self.folder / "pages"


def findings(ledger: list[dict[str, Any]]) -> set[Finding]:
    """What a run says is wrong, as kinds and records."""
    by_id = {row["id"]: row for row in ledger}
    found: set[Finding] = set()
    for row in ledger:
        name, earlier = row["record_id"], "earlier-" if row["witness_dataset"] else ""
        if row["rule"] in ("exact", "near") or (earlier and row["rule"] == "label-conflict"):
            other = [] if earlier else [by_id[row["witness"]]["record_id"]]
            found.add((earlier + row["rule"], frozenset([name, *other])))
        elif row["contradiction"]:
            found.add((row["contradiction"], frozenset(walk(row, by_id))))
        if row["rule"] == "held-out-leak":
            found.add(("held-out-leak", frozenset([name])))
        if row["overlap"]:
            found.add((f"overlap:{row['overlap_dataset'].split('@')[0]}", frozenset([name])))
        if row["stage"] == "decontamination":
            found.add(("contaminated", frozenset([name])))
    return found


def walk(row: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> list[str]:
    """Records that one contradicts, from one to the next."""
    seen: list[str] = []
    while row["record_id"] not in seen:
        seen.append(row["record_id"])
        row = by_id[row["contradicts"]]
    return seen


def cut_off(found: list[Record]) -> dict[str, list[Record]]:
    """By file: both languages, and every tenth held out."""
    files: dict[str, list[Record]] = {"en": [], "zh": [], "held": []}
    for number, record in enumerate(found):
        files["held" if number % 10 == 9 else record["language"]].append(record)
    return files


def hosts_of(ledger: list[dict[str, Any]], files: dict[str, list[Record]], rng: random.Random) -> dict[str, list]:
    """Long records that are alone and about which nothing was found."""
    alone = {row["record_id"] for row in ledger if row["verdict"] == "kept" and row["cluster_size"] == 1}
    hosts = {name: [r for r in files[name] if r["id"] in alone and is_long(r)] for name in ("en", "zh")}
    for found in hosts.values():
        rng.shuffle(found)
    return hosts


def judged(planted: Planted, before: set[Finding], after: set[Finding]) -> list[tuple[str, int, int]]:
    """Of each fault how many were planted and how many of them found; nothing else may be new."""
    expected = {finding for found in planted.expected.values() for finding in found}
    invented = after - before - expected
    assert not invented, sorted(map(str, invented))[:5]
    return [(fault, len(found), sum(finding in after for finding in found))
            for fault, found in sorted(planted.expected.items())]  # fmt: skip


def table(planted: Planted, before: set[Finding], after: set[Finding]) -> None:
    """Print precision and recall by fault and by kind, and hold both to 1."""
    print(f"\n{'fault':44} planted found recall")
    for fault, count, found in judged(planted, before, after):
        print(f"{fault:44} {count:7} {found:5} {found / count:6.3f}")
        assert found == count, (fault, [f for f in planted.expected[fault] if f not in after][:3])
    expected = {finding for found in planted.expected.values() for finding in found}
    kinds = Counter(kind for kind, _ in after)
    print(f"\n{'kind':44} findings of them there before, planted, neither; precision")
    for kind, count in sorted(kinds.items()):
        own = sum(finding[0] == kind and finding in before for finding in after)
        right = sum(finding[0] == kind and finding in expected for finding in after)
        print(f"{kind:44} {count:8} {own:8} {right:8} {count - own - right:8} {right / (count - own or 1):9.3f}")
        assert own + right == count


@pytest.mark.parametrize("size", SIZES)
def test_faults_in_real_pairs(size: str, real_data: Path, tmp_path: Path) -> None:
    kinds, each = PREFERENCES[size]
    rng, mill = random.Random(size), Mill(tmp_path, "preferences", real_data)
    files = cut_off(real_preferences(real_data, kinds))
    clean = mill.run("clean", files | {"planted": []})
    planted = Planted(rng, hosts_of(clean, files, rng), each)
    planted.copies("copy in another spelling", "exact", respelled)
    planted.copies("near-copy of each side", "near", edited)
    planted.swaps("labels swapped", same)
    planted.swaps("labels swapped, each side edited", edited)
    planted.cycles()
    planted.leaks("prompt in the held-out file", same)
    planted.leaks("near prompt in the held-out file", edited)
    planted.overlaps("prompt in an earlier set", respelled)
    planted.overlaps("near prompt in an earlier set", edited)
    planted.overlaps_with_pages("prompt is an earlier page", same)
    planted.overlaps_with_pages("prompt is near an earlier page", edited)
    planted.repetitions_of_earlier("repeats an earlier pair", "exact", respelled)
    planted.repetitions_of_earlier("nearly repeats an earlier pair", "near", edited)
    planted.swaps_of_earlier("contradicts an earlier pair", same)
    planted.swaps_of_earlier("contradicts an edited earlier pair", edited)
    planted.contaminations(real_data)
    look(mill, planted, files, clean)


@pytest.mark.parametrize("size", SIZES)
def test_faults_in_real_instructions(size: str, real_data: Path, tmp_path: Path) -> None:
    names, each = INSTRUCTIONS[size]
    rng, mill = random.Random(size), Mill(tmp_path, "instructions", real_data)
    files = cut_off(real_instructions(real_data, names))
    clean = mill.run("clean", files | {"planted": []})
    planted = Planted(rng, hosts_of(clean, files, rng), each)
    planted.copies("copy in another spelling", "exact", respelled)
    planted.copies("near-copy of each side", "near", edited)
    planted.leaks("prompt in the held-out file", same)
    planted.leaks("near prompt in the held-out file", edited)
    planted.overlaps("prompt in an earlier set", respelled)
    planted.overlaps("near prompt in an earlier set", edited)
    planted.overlaps_with_pages("prompt is an earlier page", same)
    planted.overlaps_with_pages("prompt is near an earlier page", edited)
    planted.repetitions_of_earlier("repeats an earlier one", "exact", respelled)
    planted.repetitions_of_earlier("nearly repeats an earlier one", "near", edited)
    planted.contaminations(real_data)
    look(mill, planted, files, clean)


def look(mill: Mill, planted: Planted, files: dict[str, list[Record]], clean: list[dict[str, Any]]) -> None:
    """Run over the set with its faults, and compare with what was found without them."""
    memory = mill.run("memory", {"memory": planted.records["memory"]})
    assert all(row["verdict"] == "kept" for row in memory)
    pages = mill.pages(planted.pages)
    # Behind all that was there before: ids tell of a record's place, and the order of equals goes by ids.
    held = files["held"] + planted.records["held"]
    faulty = files | {"held": held, "planted": planted.records["planted"]}
    after = mill.run("faulty", faulty, mill.folder / "memory", pages)
    table(planted, findings(clean), findings(after))


def longer(record: Record) -> bool:
    return len(record["chosen"].split()) > len(record["rejected"].split())


@pytest.mark.parametrize("band", [("0.45", "0.55"), ("0.5", "0.5")])
def test_a_length_bias_in_real_pairs(band: tuple[str, str], real_data: Path, tmp_path: Path) -> None:
    """Each language is brought into the band, with the fewest that go."""
    rng, mill = random.Random(3), Mill(tmp_path, "preferences", real_data)
    found = real_preferences(real_data, ["hh", "dpo-zh"])
    english = [record for record in found if record["language"] == "en"]
    biased = [record for record in english if longer(record) or rng.random() < 0.3][:500]
    chinese = [record for record in found if record["language"] == "zh"]
    plain = mill.run("plain", {"en": biased, "zh": chinese}, held_out=None)
    balanced = mill.run("balanced", {"en": biased, "zh": chinese}, held_out=None, length_balance=list(band))
    before = {row["id"]: row for row in plain if row["verdict"] == "kept"}
    gone = {row["id"]: row for row in balanced if row["rule"] == "length-balance"}
    low, high = map(Fraction, band)
    print(f"\n{'language':10} pairs  longer wins  gone  longer wins afterwards")
    for language in ("en", "zh"):
        own = [row for row in before.values() if row["language"] == language]
        away = [row for row in own if row["id"] in gone]
        left = [row for row in own if row["id"] not in gone]
        was, now = share(own), share(left)
        print(f"{language:10} {len(own):5} {float(was):12.3f} {len(away):5} {float(now):12.3f}")
        assert low <= now <= high
        assert bool(away) == (not low <= was <= high)
        for sign in {(row["length_difference"] > 0) - (row["length_difference"] < 0) for row in away}:
            assert sign == (1 if was > high else -1)
        if away:
            assert not low <= share([*left, away[0]]) <= high  # one fewer would not do
    assert {row["id"] for row in balanced if row["verdict"] == "kept"} == set(before) - set(gone)


def share(found: list[dict[str, Any]]) -> Fraction:
    """How often the longer answer was chosen, ties one half."""
    longer = sum(row["length_difference"] > 0 for row in found)
    return Fraction(2 * longer + sum(row["length_difference"] == 0 for row in found), 2 * len(found))
