"""Real preference data, read as plainly as possible."""

from __future__ import annotations

import gzip
import json
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple


class Pair(NamedTuple):
    prompt: str
    chosen: str
    rejected: str
    ranking: int = -1


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / "preferences" / name, "rt", encoding="utf-8") as file:
        text = file.read()
    return [json.loads(line) for line in text.splitlines()] if ".jsonl" in name else json.loads(text)


def _hh(folder: Path) -> list[Pair]:
    """Dialogues that differ in the last turn only."""
    pairs = []
    for record in records(folder, "hh-rlhf-harmless-test.jsonl.gz"):
        (prompt, turn, chosen), (other, _, rejected) = (
            record[side].rpartition("\n\nAssistant:") for side in ("chosen", "rejected")
        )
        if prompt == other:
            pairs.append(Pair(prompt + turn, chosen.strip(), rejected.strip()))
    return pairs


def _dpo(folder: Path, language: str) -> list[Pair]:
    found = records(folder, f"dpo-{language}-demo.json.gz")
    prompts = ["\n".join(turn["value"] for turn in record["conversations"]) for record in found]
    sides = [(record["chosen"]["value"], record["rejected"]["value"]) for record in found]
    return [Pair(prompt, *both) for prompt, both in zip(prompts, sides, strict=True)]


def _oasst(folder: Path) -> list[Pair]:
    return [
        Pair("\n".join([*map(str, record["history"]), record["instruction"], record["input"]]), *two, ranking)
        for ranking, record in enumerate(records(folder, "openassistant-ranked-zh.json.gz"))
        for two in combinations(record["output"], 2)
    ]


def _pandalm(folder: Path) -> list[Pair]:
    """Each annotator's vote that is no tie is a pair."""
    pairs = []
    for record in records(folder, "pandalm-human-en.json.gz"):
        both = (str(record["response1"]), str(record["response2"]))  # one is a bare ``true``
        for number in (1, 2, 3):
            label = int(record[f"annotator{number}"])
            if label:
                pairs.append(Pair(f"{record['instruction']}\n{record['input']}", both[label - 1], both[2 - label]))
    return pairs


def _autoj(folder: Path) -> list[Pair]:
    found = [record for record in records(folder, "autoj-pairwise-en.jsonl.gz") if record["label"] != 2]
    sides = [(f"response {1 + record['label']}", f"response {2 - record['label']}") for record in found]
    return [
        Pair(record["prompt"], record[chosen], record[rejected])
        for record, (chosen, rejected) in zip(found, sides, strict=True)
    ]


def real_pairs(folder: Path, kind: str) -> list[Pair]:
    """The pairs of one file: ``hh``, ``dpo-en``, ``dpo-zh``, ``oasst``, ``pandalm`` or ``autoj``."""
    if kind.startswith("dpo"):
        return _dpo(folder, kind[4:])
    return {"hh": _hh, "oasst": _oasst, "pandalm": _pandalm, "autoj": _autoj}[kind](folder)


def all_pairs(folder: Path) -> list[Pair]:
    """Those that name no conflict of their own."""
    return [pair for kind in ("hh", "dpo-en", "dpo-zh", "oasst") for pair in real_pairs(folder, kind)]
