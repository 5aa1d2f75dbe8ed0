"""Small sets in which much falls together: near-copies in chains, swapped labels, cycles, other spellings."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.hygiene.twin import Entry, Outcome, Policies, hygiene
from tests.support.corpus import write_jsonl
from tests.support.runs import rows, run_recipe, write_recipe

ENGLISH = ["mill", "wheel", "grain", "stone", "river", "flour", "barley", "oats", "sack", "cart", "road", "1½"]
HAN = list("天地人水火山石田土木禾米竹草花鸟鱼虫云雨风雪")
SHORT = {
    "en": ["yes", "no", "42", "a sack of flour", "?!", "👍 👍"],
    "zh": ["是", "否", "四十二", "一袋面粉", "？！", "👍"],
}
LENGTHS = (3, 5, 12, 19, 20, 21, 30, 60, 64)
STAGES = {
    "preferences": "[{stage: pair, max_jaccard: null, min_margin: null, max_equal_responses: null}]",
    "instructions": "[{stage: instruction}]",
}
RECALL = 0.9999999  # these sets are compared with all pairs, so no candidate may be missing


class Words:
    """Texts of one language from few words."""

    def __init__(self, rng: random.Random, language: str) -> None:
        self.rng, self.language = rng, language
        self.vocabulary, self.between = (ENGLISH, " ") if language == "en" else (HAN, "")

    def fresh(self) -> list[str]:
        return self.rng.choices(self.vocabulary, k=self.rng.choice(LENGTHS))

    def edited(self, words: list[str]) -> list[str]:
        """One word replaced, at an end or anywhere."""
        copy = list(words)
        copy[self.rng.choice([0, -1, self.rng.randrange(len(copy))])] = self.rng.choice(self.vocabulary)
        return copy

    def chain(self, most: int) -> list[str]:
        """Versions of one text, each made of the one before."""
        versions = [self.fresh()]
        for _ in range(self.rng.randrange(most)):
            versions.append(self.edited(versions[-1]))
        return [self.between.join(version) for version in versions]

    def spelled(self, text: str) -> str:
        """Mostly as it is; else in another case or width, with other spaces, or with a mark behind it."""
        wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
        ways: list[Callable[[str], str]] = [
            str.upper, lambda t: t.translate(wide), lambda t: t.replace(" ", "  "), lambda t: f" {t}\n",
            lambda t: t + ".", lambda t: unicodedata.normalize("NFKC", t),
        ]  # fmt: skip
        return self.rng.choice(ways)(text) if self.rng.random() < 0.15 else text


def records(rng: random.Random, kind: str, count: int) -> list[dict[str, Any]]:
    """Records of a few families of prompts, in both languages."""
    families = [_family(Words(rng, rng.choice(["en", "zh"]))) for _ in range(rng.randint(1, 5))]
    return [_record(rng, kind, number, *rng.choice(families)) for number in range(count)]


def _family(words: Words) -> tuple[Words, list[str], list[str]]:
    prompts = words.chain(4) if words.rng.random() < 0.85 else [words.rng.choice(SHORT[words.language])]
    answers = [answer for _ in range(words.rng.randint(1, 3)) for answer in words.chain(4)]
    return words, prompts, answers + words.rng.sample(SHORT[words.language], 2)


def _record(
    rng: random.Random, kind: str, number: int, words: Words, prompts: list[str], answers: list[str]
) -> dict[str, Any]:
    prompt = [{"role": "user", "content": words.spelled(rng.choice(prompts))}]
    if rng.random() < 0.1:
        prompt.insert(0, {"role": "system", "content": rng.choice(["be brief", "简短"])})
    both = [[{"role": "assistant", "content": words.spelled(text)}] for text in rng.sample(answers, 2)]
    record: dict[str, Any] = {"id": f"r{number}"}
    if rng.random() < 0.9:
        record["language"] = words.language
    if rng.random() < 0.05:
        record["tools"] = [{"name": "grind"}]
    if kind == "instructions":
        return record | {"messages": prompt + both[0]}
    if rng.random() < 0.85:
        record["margin"] = rng.choice([0, 0.5, 1, 1, 2, 2.5])
    return record | {"prompt": prompt, "chosen": both[0], "rejected": both[1]}


def policies(rng: random.Random, number: int) -> Policies:
    """Every policy in turn, the rest at random."""
    split: dict[str, Any] = rng.choice([
        {}, {"share": "0.3"}, {"share": "0.3"}, {"share": "0.4", "by_language": True}, {"shards": ("s2.jsonl",)},
    ])  # fmt: skip
    return Policies(
        min_answer_words=rng.choice([20, 20, 20, 0, 4]),
        duplicates=rng.choice(["drop", "drop", "drop", "keep"]),
        conflicts=("majority", "drop-both", "keep-margin", "keep")[number % 4],
        cycles=("keep-margin", "drop-component", "keep")[number % 3],
        margins=rng.choice(["sum", "max"]),
        overlap=rng.choice(["list", "drop"]),
        length_balance=rng.choice([None, None, ("0.45", "0.55"), ("0.5", "0.5")]),
        seed=rng.choice([1, 7]),
        **split,
    )


def recipe(folder: Path, kind: str, policies: Policies, *earlier: Path, name: str = "set", **more: Any) -> Path:
    """A recipe file."""
    section = policies.section() | {"recall": RECALL, "earlier": [str(path) for path in earlier]} | more
    text = f"name: {name}\nentries: {{kind: {kind}}}\nstages: {STAGES[kind]}\n"
    text += yaml.safe_dump({"hygiene": section, "limits": {"max_quarantined_share": 1}})
    return write_recipe(folder, text, f"{name}.yaml")


def shards_of(folder: Path, found: list[dict[str, Any]], count: int) -> list[Path]:
    """The records in turn over some files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write_jsonl(folder / f"s{number}.jsonl", [*found[number::count]]) for number in range(count)]


def run(recipe: Path, shards: list[Path], output: Path, **more: Any) -> list[dict[str, Any]]:
    """The ledger of a run."""
    run_recipe(recipe, shards, output, **more)
    return rows(output)


def entries_of(ledger: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[Entry]:
    """What came as far as the comparison, from the records themselves."""
    by_name = {record["id"]: record for record in found}
    return [entry_of(by_name[row["record_id"]], row["id"], shard=row["shard"]) for row in compared(ledger)]


def compared(ledger: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in ledger if row["stage"] in (None, "hygiene")]


def entry_of(record: dict[str, Any], id_: str, **more: Any) -> Entry:
    def turns(messages: list[dict[str, str]]) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in messages]

    if "messages" in record:
        sides = {"prompt": turns(record["messages"][:-1]), "response": turns(record["messages"][-1:])}
    else:
        sides = {side: turns(record[side]) for side in ("prompt", "chosen", "rejected")}
    tools = record.get("tools")
    margin = record.get("margin")
    return Entry(
        id=id_,
        sides=sides,
        tools=json.dumps(tools) if tools else None,
        margin=math.nan if margin is None else margin,
        language=record.get("language") or "und",
        **more,
    )


def agrees(ledger: list[dict[str, Any]], expected: dict[str, Outcome]) -> None:
    """Every column of every row that hygiene decided about."""
    found = compared(ledger)
    assert {row["id"] for row in found} == set(expected)
    for row in found:
        outcome = expected[row["id"]]
        said = {name: row[name] for name in (
            "verdict", "rule", "value", "threshold", "witness_dataset", "contradiction", "overlap", "overlap_dataset",
            "cluster", "cluster_size", "copies", "split",
        )}  # fmt: skip
        wanted = {name: getattr(outcome, name) for name in said}
        differs = {name: (said[name], wanted[name]) for name in said if said[name] != wanted[name]}
        assert not differs, (row["record_id"], outcome.rule, differs)
        assert row["witness"] in (outcome.witness or {None}), (row["record_id"], row["witness"], outcome)
        assert row["contradicts"] in (outcome.contradicts or {None}), (row["record_id"], row["contradicts"], outcome)
        overlap = outcome.overlap_ratio
        assert row["overlap_similarity"] == (overlap[0] / overlap[1] if overlap else None)
        if outcome.verdict == "duplicate":
            assert (row["shared_shingles"], row["all_shingles"]) == outcome.ratio


def check(ledger: list[dict[str, Any]], found: list[dict[str, Any]], policies: Policies) -> dict[str, Outcome]:
    """Compare a run with the twin."""
    expected = hygiene(entries_of(ledger, found), policies)
    agrees(ledger, expected)
    return expected
