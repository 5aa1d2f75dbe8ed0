"""Known faults in copies of real sets, and what was found of them."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.oracle import shingles
from curation.decontamination.benchmark import read_benchmark
from tests.hygiene.twin import above, jaccard, unit_count
from tests.pair_sets.real import real_pairs
from tests.support.corpus import HAN

Record = dict[str, Any]
Finding = tuple[str, frozenset[str]]  # a kind, and the records that it is about
LIMIT = Fraction(4, 5)
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
SPEAKER = re.compile(r"\n\n(Human|Assistant):")
WORD = re.compile(r"[\u4e00-\u9fff]|[A-Za-z]+")


@lru_cache(maxsize=1 << 16)
def cut(text: str) -> frozenset:
    return frozenset(shingles(text))


def alike(one: str, other: str) -> bool:
    return above(jaccard(set(cut(one)), set(cut(other))), LIMIT)


def real_preferences(data: Path, kinds: Iterable[str]) -> list[Record]:
    """Pairs of real files as plain records; a dialogue is one text, without the marks of who speaks."""
    return [
        {"id": f"{kind}-{number}", "prompt": SPEAKER.sub("\n", pair.prompt).strip(),
         "chosen": pair.chosen, "rejected": pair.rejected,
         "language": "zh" if kind in ("dpo-zh", "oasst") else "en"}
        for kind in kinds for number, pair in enumerate(real_pairs(data, kind))
    ]  # fmt: skip


def real_instructions(data: Path, names: Iterable[str]) -> list[Record]:
    found = []
    for name in names:
        with gzip.open(data / "sft" / name, "rt", encoding="utf-8") as file:
            for number, record in enumerate(json.load(file)):
                prompt = f"{record['instruction']}\n{record.get('input', '')}".strip()
                found.append({"id": f"{name}-{number}", "prompt": prompt, "completion": record["output"],
                              "language": "zh" if "-zh" in name else "en"})  # fmt: skip
    return found


def sides(record: Record) -> list[str]:
    return [side for side in ("prompt", "chosen", "rejected", "completion") if side in record]


def is_long(record: Record) -> bool:
    """Long enough that a few words more or less keep a side what it is, with answers far from each other."""
    answers = [record[side] for side in sides(record)[1:]]
    lengths = all(unit_count(answer) >= 40 for answer in answers) and unit_count(record["prompt"]) >= 20
    return lengths and not (len(answers) == 2 and jaccard(set(cut(answers[0])), set(cut(answers[1])))[0] > 5)


def edited(text: str, rng: random.Random) -> str:
    """Up to three words replaced, anywhere, so that the similarity is above the threshold by the definition."""
    for count in (3, 3, 3, 2, 2, 1, 1, 1):
        places = set(rng.sample(range(len(WORD.findall(text))), count))
        number = iter(range(1 << 30))

        def replaced(found: re.Match[str], number: Iterator[int] = number, places: set[int] = places) -> str:
            other = rng.choice(HAN) if len(found.group()) == 1 and not found.group().isascii() else "quern"
            return other if next(number) in places else found.group()

        copy = WORD.sub(replaced, text)
        if copy != text and alike(copy, text):
            return copy
    copy = text + (" 磨坊" if WORD.findall(text)[-1] > "z" else " quern")
    assert alike(copy, text)
    return copy


def respelled(text: str, rng: random.Random) -> str:
    """Another case or width, other spaces."""
    text = rng.choice([str.upper, lambda t: t.translate(WIDE), str.title])(text)
    return "  " + re.sub(r"\s", lambda _: rng.choice([" ", "\n", "\u3000", "\t "]), text) + "\n"


def same(text: str, rng: random.Random) -> str:
    return text


Change = Callable[[str, random.Random], str]


@dataclass
class Planted:
    """A set with faults.

    Attributes:
        records: by file; those of ``memory`` and ``pages`` are published before.
        expected: what must be found, by the name of the fault.
    """

    rng: random.Random
    hosts: dict[str, list[Record]]
    each: int
    records: dict[str, list[Record]] = field(default_factory=lambda: {"planted": [], "held": [], "memory": []})
    pages: list[str] = field(default_factory=list)
    expected: dict[str, list[Finding]] = field(default_factory=dict)

    def _taken(self, fault: str) -> Iterator[tuple[str, Record]]:
        """So many hosts of each language that no other fault has."""
        for language, hosts in self.hosts.items():
            for _ in range(self.each):
                yield f"{fault} ({language})", hosts.pop()

    def _add(self, file: str, host: Record, fault: str, **values: str) -> str:
        name = f"{host['id']}-{fault}-{len(self.records[file])}"
        self.records[file].append(host | {"id": name} | values)
        return name

    def _expect(self, fault: str, kind: str, *names: str) -> None:
        self.expected.setdefault(fault, []).append((kind, frozenset(names)))

    def copies(self, name: str, kind: str, change: Change) -> None:
        for fault, host in self._taken(name):
            copy = {side: change(host[side], self.rng) for side in sides(host)}
            self._expect(fault, kind, host["id"], self._add("planted", host, kind, **copy))

    def swaps(self, name: str, change: Change) -> None:
        for fault, host in self._taken(name):
            copy = {side: change(host[side], self.rng) for side in sides(host)}
            copy["chosen"], copy["rejected"] = copy["rejected"], copy["chosen"]
            self._expect(fault, "label-conflict", host["id"], self._add("planted", host, "swap", **copy))

    def cycles(self) -> None:
        for (fault, host), answer in zip(self._taken("cycle of three"), self._other_answers(), strict=False):
            second = self._add("planted", host, "cycle", chosen=host["rejected"], rejected=answer)
            third = self._add("planted", host, "cycle", chosen=answer, rejected=host["chosen"])
            self._expect(fault, "preference-cycle", host["id"], second, third)

    def _other_answers(self) -> Iterator[str]:
        """Long answers that stand elsewhere in the set."""
        while True:
            record = self.rng.choice(self.hosts["en"] + self.hosts["zh"])
            yield record[sides(record)[1]]

    def _unlike(self, host: Record, change: Change) -> Record:
        """The prompt of a record, with other answers."""
        answers = {side: answer for side, answer in zip(sides(host)[1:], self._other_answers(), strict=False)}
        if len(set(answers.values())) < len(answers):
            return self._unlike(host, change)
        return answers | {"prompt": change(host["prompt"], self.rng)}

    def leaks(self, name: str, change: Change) -> None:
        for fault, host in self._taken(name):
            self._expect(fault, "held-out-leak", host["id"])
            self._add("held", host, "leak", **self._unlike(host, change))

    def overlaps(self, name: str, change: Change) -> None:
        for fault, host in self._taken(name):
            self._expect(fault, "overlap:memory", host["id"])
            self._add("memory", host, "overlap", **self._unlike(host, change))

    def overlaps_with_pages(self, name: str, change: Change) -> None:
        for fault, host in self._taken(name):
            self._expect(fault, "overlap:pages", host["id"])
            self.pages.append(change(host["prompt"], self.rng))

    def repetitions_of_earlier(self, name: str, kind: str, change: Change) -> None:
        for fault, host in self._taken(name):
            self._add("memory", host, "earlier", **{side: change(host[side], self.rng) for side in sides(host)})
            self._expect(fault, f"earlier-{kind}", host["id"])
            self._expect(f"their prompts {fault[-4:]}", "overlap:memory", host["id"])

    def swaps_of_earlier(self, name: str, change: Change) -> None:
        for fault, host in self._taken(name):
            copy = {side: change(host[side], self.rng) for side in sides(host)}
            copy["chosen"], copy["rejected"] = copy["rejected"], copy["chosen"]
            self._add("memory", host, "earlier", **copy)
            self._expect(fault, "earlier-label-conflict", host["id"])
            self._expect(f"their prompts {fault[-4:]}", "overlap:memory", host["id"])

    def contaminations(self, data: Path) -> None:
        """An item in any side of a record."""
        for language, name, file in (("en", "gsm8k", "gsm8k-test"), ("zh", "cmmlu", "cmmlu-zh")):
            items = read_benchmark(name, data / "benchmarks" / f"{file}.jsonl.gz").items
            texts = [texts[0] for texts in items if unit_count(texts[0]) >= 24]
            for number, item in enumerate(self.rng.sample(texts, self.each)):
                host = self.hosts[language].pop()
                side = sides(host)[number % len(sides(host))]
                copy = self._add("planted", host, "item", **{side: f"{host[side]}\n{respelled(item, self.rng)}"})
                self._expect(f"item of {name} in a side ({language})", "contaminated", copy)
