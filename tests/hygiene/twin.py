"""A slow and obvious version of hygiene: lists, loops and brute force over one set that fits on a page."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.oracle import shingles, words
from curation.duplicates.signature import signatures
from curation.pair_sets.numbering import seeded_hash

Turn = tuple[str, str]
Ratio = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Entry:
    """An entry as it came in; ``dataset`` is that of an earlier corpus, ``order`` its place in it."""

    id: str
    sides: dict[str, list[Turn]]
    tools: str | None = None
    margin: float = math.nan
    language: str = "und"
    shard: str = ""
    dataset: str | None = None
    order: int = 0

    @property
    def earlier(self) -> bool:
        return self.dataset is not None

    @property
    def answers(self) -> list[str]:
        return [side for side in self.sides if side != "prompt"]

    def text(self, side: str) -> str:
        return "\n\n".join(content for _, content in self.sides[side])

    @cached_property
    def shingles(self) -> dict[str, set]:
        return {side: shingles(self.text(side)) for side in self.sides}

    @cached_property
    def exact(self) -> dict[str, Hashable]:
        """What is equal for spellings that differ in case, width and spaces."""
        found: dict[str, Hashable] = {
            side: tuple((role, folded(content)) for role, content in turns) for side, turns in self.sides.items()
        }
        return found | {"prompt": (found["prompt"], self.tools or None)}

    @cached_property
    def word_sequence(self) -> tuple[str, ...]:
        found = tuple(words(self.text("prompt")))
        return found or ("", folded_only(self.text("prompt")))

    def length(self, side: str) -> int:
        return unit_count(self.text(side))

    @cached_property
    def tokens(self) -> int:
        return unit_count("\n\n".join(self.text(side) for side in self.sides))

    @property
    def difference(self) -> int:
        return self.length("chosen") - self.length("rejected")


def folded_only(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def unit_count(text: str) -> int:
    """Words of a text as it stands: runs of letters, marks and digits, and each Han character."""
    count, inside = 0, False
    for character in text:
        han = unicodedata.name(character, "").startswith("CJK UNIFIED")
        letter = unicodedata.category(character)[0] in "LM" or unicodedata.category(character) == "Nd"
        count += han or (letter and not inside)
        inside = letter and not han
    return count


@dataclass
class Outcome:
    """What becomes of an entry; ``witness`` and ``contradicts`` are sets where several are right."""

    rule: str | None = None
    value: float | None = None
    threshold: float | None = None
    witness: frozenset[str] = frozenset()
    witness_dataset: str | None = None
    ratio: Ratio | None = None
    contradiction: str | None = None
    contradicts: frozenset[str] = frozenset()
    overlap: str | None = None
    overlap_dataset: str | None = None
    overlap_ratio: Ratio | None = None
    cluster: str | None = None
    cluster_size: int = 1
    copies: int = 1
    split: str | None = None

    @property
    def verdict(self) -> str:
        if self.rule is None:
            return "kept"
        return "duplicate" if self.rule in ("exact", "near") else "dropped"


@dataclass(frozen=True)
class Policies:
    """The hygiene section of a recipe."""

    threshold: Fraction = Fraction(4, 5)
    min_answer_words: int = 20
    duplicates: str = "drop"
    conflicts: str = "majority"
    margins: str = "sum"
    cycles: str = "keep-margin"
    overlap: str = "list"
    length_balance: tuple[str, str] | None = None
    share: str | None = None
    by_language: bool = False
    shards: tuple[str, ...] = ()
    seed: int = 1

    def section(self) -> dict[str, Any]:
        """As a recipe says it."""
        names = ("min_answer_words", "duplicates", "conflicts", "margins", "cycles", "overlap", "seed")
        found = {name: getattr(self, name) for name in names} | {"threshold": str(float(self.threshold))}
        if self.length_balance:
            found["length_balance"] = list(self.length_balance)
        if self.shards:
            found["held_out"] = {"shards": list(self.shards)}
        elif self.share:
            found["held_out"] = {"share": self.share, "seed": self.seed, "by_language": self.by_language}
        return found


class Joined:
    """Union-find over anything."""

    def __init__(self) -> None:
        self.parent: dict[Any, Any] = {}

    def root(self, item: Any) -> Any:
        while self.parent.setdefault(item, item) != item:
            item = self.parent[item]
        return item

    def join(self, one: Any, other: Any) -> None:
        self.parent[self.root(one)] = self.root(other)


def jaccard(one: set, other: set) -> Ratio:
    shared = len(one & other)
    return shared, len(one) + len(other) - shared


def above(ratio: Ratio, threshold: Fraction) -> bool:
    return ratio[0] * threshold.denominator > ratio[1] * threshold.numerator


@dataclass
class Hygiene:
    """One set and what is decided about it.

    ``order`` has all entries in the order of staying, those of earlier corpora first.
    """

    entries: Sequence[Entry]
    policies: Policies
    same_kind: bool = True  # whether earlier texts are entries of this kind, or documents
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    side_numbers: dict[tuple[str, str], Hashable] = field(default_factory=dict)
    component: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = sorted(self.entries, key=lambda e: (not e.earlier, e.order if e.earlier else -e.tokens, e.id))
        self.place = {entry.id: place for place, entry in enumerate(self.order)}
        self.own = [entry for entry in self.order if not entry.earlier]
        self.outcomes = {entry.id: Outcome() for entry in self.own}

    def decide(self) -> dict[str, Outcome]:
        self._clusters()
        self._overlaps()
        self._leaks()
        self._drop_overlaps()
        members = defaultdict(list)
        for entry in self.order:
            if entry.earlier and not self.same_kind:
                continue
            if entry.earlier or self.outcomes[entry.id].rule is None:
                members[self.component[entry.id]].append(entry)
        for cluster in members.values():
            self._copies(cluster)
            self._answers(cluster)
            if cluster[0].answers == ["chosen", "rejected"]:
                self._blurred(cluster)
                self._against_earlier(cluster)
                self._conflicts(cluster)
                self._cycles(cluster)
            self._repetitions(cluster)
        if self.policies.length_balance and self.own and self.own[0].answers == ["chosen", "rejected"]:
            self._balance()
        self._split()
        return self.outcomes

    # Prompts

    def _clusters(self) -> None:
        joined = Joined()
        for number, one in enumerate(self.order):
            joined.root(one.id)
            for other in self.order[:number]:
                if self._same_prompt(one, other):
                    joined.join(one.id, other.id)
        first: dict[Any, str] = {}
        for entry in self.order:
            self.component[entry.id] = first.setdefault(joined.root(entry.id), entry.id)
        sizes = Counter(self.component[entry.id] for entry in self.own)
        for entry in self.own:
            outcome, name = self.outcomes[entry.id], self.component[entry.id]
            outcome.cluster_size = sizes[name]
            outcome.cluster = name if sizes[name] > 1 else None

    def _same_prompt(self, one: Entry, other: Entry) -> bool:
        """Whether two entries join; two earlier texts are not compared with one another."""
        if one.earlier and other.earlier:
            return False
        like = above(jaccard(one.shingles["prompt"], other.shingles["prompt"]), self.policies.threshold)
        return like or one.word_sequence == other.word_sequence

    def _overlaps(self) -> None:
        earlier = [entry for entry in self.order if entry.earlier]
        for entry in self.own:
            best: tuple[Entry, Ratio] | None = None
            for other in earlier:
                ratio = jaccard(entry.shingles["prompt"], other.shingles["prompt"])
                equal = entry.word_sequence == other.word_sequence
                if not equal and not above(ratio, self.policies.threshold):
                    continue
                if equal:
                    best = (other, ratio)
                    break
                if best is None or Fraction(*ratio) > Fraction(*best[1]):
                    best = (other, ratio)
            if best:
                outcome = self.outcomes[entry.id]
                outcome.overlap, outcome.overlap_dataset = best[0].id, best[0].dataset
                outcome.overlap_ratio = best[1]

    def _leaks(self) -> None:
        held = defaultdict(list)
        for entry in self.own:
            if entry.shard in self.policies.shards:
                held[self.component[entry.id]].append(entry)
        for entry in self.own:
            inside = held[self.component[entry.id]]
            if inside and entry.shard not in self.policies.shards:
                self._go(entry, "held-out-leak", len(inside), [inside[0].id])

    def _drop_overlaps(self) -> None:
        for entry in self.own if self.policies.overlap == "drop" else ():
            outcome = self.outcomes[entry.id]
            if outcome.overlap and outcome.rule is None:
                assert outcome.overlap_ratio is not None
                self._go(entry, "prompt-overlap", outcome.overlap_ratio[0] / outcome.overlap_ratio[1],
                         [outcome.overlap], outcome.overlap_dataset)  # fmt: skip
                outcome.threshold, outcome.ratio = float(self.policies.threshold), outcome.overlap_ratio

    def _go(self, entry: Entry, rule: str, value: float, witness: Iterable[str], dataset: str | None = None) -> None:
        outcome = self.outcomes[entry.id]
        outcome.rule, outcome.value = rule, value
        outcome.witness, outcome.witness_dataset = frozenset(witness), dataset

    # Answers

    def _copies(self, cluster: list[Entry]) -> None:
        counts = Counter(tuple(entry.exact.values()) for entry in cluster if not entry.earlier)
        for entry in cluster:
            if not entry.earlier:
                self.outcomes[entry.id].copies = counts[tuple(entry.exact.values())]

    def _answers(self, cluster: list[Entry]) -> None:
        """Number all answers of a cluster: equal and near ones in chains, short ones by prompt and text."""
        joined = Joined()
        every = [(entry, side) for entry in cluster for side in entry.answers]
        longest: dict[Hashable, int] = defaultdict(int)  # spellings of one answer may differ in words
        for entry, side in every:
            longest[entry.exact[side]] = max(longest[entry.exact[side]], entry.length(side))
        long = [(e, side) for e, side in every if longest[e.exact[side]] >= self.policies.min_answer_words]
        for number, (entry, side) in enumerate(long):
            joined.root((entry.id, side))
            for other, other_side in long[:number]:
                like = above(jaccard(entry.shingles[side], other.shingles[other_side]), self.policies.threshold)
                if like or entry.exact[side] == other.exact[other_side]:
                    joined.join((entry.id, side), (other.id, other_side))
        for entry in cluster:
            for side in entry.answers:
                short = ("short", entry.exact["prompt"], entry.exact[side])
                is_long = (entry.id, side) in joined.parent
                self.side_numbers[entry.id, side] = ("long", joined.root((entry.id, side))) if is_long else short

    def _blurred(self, cluster: list[Entry]) -> None:
        """Where both answers count as one they are told apart by their turns."""
        for entry in cluster:
            if self.side_numbers[entry.id, "chosen"] == self.side_numbers[entry.id, "rejected"]:
                for side in entry.answers:
                    self.side_numbers[entry.id, side] = ("exactly", entry.exact[side])

    def _way(self, entry: Entry) -> tuple[Hashable, Hashable]:
        return self.side_numbers[entry.id, "chosen"], self.side_numbers[entry.id, "rejected"]

    def _ways(self, cluster: Iterable[Entry]) -> dict[tuple, list[Entry]]:
        ways: dict[tuple, list[Entry]] = defaultdict(list)
        for entry in cluster:
            ways[self._way(entry)].append(entry)
        return ways

    def _alive(self, cluster: list[Entry]) -> list[Entry]:
        return [entry for entry in cluster if not entry.earlier and self.outcomes[entry.id].rule is None]

    def _against_earlier(self, cluster: list[Entry]) -> None:
        said = self._ways(entry for entry in cluster if entry.earlier)
        for entry in self._alive(cluster):
            way = self._way(entry)
            opposite = said.get(way[::-1])
            if opposite and way not in said:
                self._contradicted(entry, "label-conflict", [opposite[0].id])
                if self.policies.conflicts != "keep":
                    self._go(entry, "label-conflict", 1.0, [opposite[0].id], opposite[0].dataset)

    def _contradicted(self, entry: Entry, kind: str, by: Iterable[str]) -> None:
        self.outcomes[entry.id].contradiction = kind
        self.outcomes[entry.id].contradicts = frozenset(by)

    def _conflicts(self, cluster: list[Entry]) -> None:
        ways = self._ways(self._alive(cluster))
        for way, members in ways.items():
            against = ways.get(way[::-1])
            if not against or way[0] == way[1]:
                continue
            stays = self._stronger(members, against)
            for entry in members:
                self._contradicted(entry, "label-conflict", [against[0].id])
                if not stays:
                    self._go(entry, "label-conflict", len(against) - len(members), [against[0].id])

    def _stronger(self, members: list[Entry], against: list[Entry]) -> bool:
        if self.policies.conflicts in ("keep", "drop-both"):
            return self.policies.conflicts == "keep"
        if self.policies.conflicts == "majority":
            return len(members) > len(against)
        return self._strength(members) > self._strength(against)

    def _strength(self, members: list[Entry]) -> float:
        margins = [entry.margin for entry in members]
        if any(math.isnan(margin) for margin in margins):
            return math.nan
        return sum(margins) if self.policies.margins == "sum" else max(margins)

    # Cycles

    def _cycles(self, cluster: list[Entry]) -> None:
        alive = self._alive(cluster)
        ways = self._ways(alive)
        edges = [entry for entry in alive if self._way(entry)[0] != self._way(entry)[1]
                 and self._way(entry)[::-1] not in ways]  # fmt: skip
        ends = {node: self._reachable(edges, node) for entry in edges for node in self._way(entry)}
        components = {}
        for entry in edges:
            tail, head = self._way(entry)
            if tail in ends[head]:
                components[entry.id] = frozenset(node for node in ends[head] if head in ends[node])
        for nodes in set(components.values()):
            self._component([entry for entry in edges if components.get(entry.id) == nodes], len(nodes))

    def _reachable(self, edges: Iterable[Entry], start: Hashable) -> set[Hashable]:
        edges, seen, todo = list(edges), {start}, [start]
        while todo:
            node = todo.pop()
            for entry in edges:
                tail, head = self._way(entry)
                if tail == node and head not in seen:
                    seen.add(head)
                    todo.append(head)
        return seen

    def _component(self, members: list[Entry], nodes: int) -> None:
        """Break one component, all of whose pairs are given in the order of staying."""
        whole = self.policies.cycles == "drop-component"
        weakest = self.policies.cycles == "keep-margin"
        if weakest and any(math.isnan(entry.margin) for entry in members):
            whole = True
        following = {entry.id: [self._following(members, entry)[0].id] for entry in members}
        gone = set(following) if whole else set()
        if weakest and not whole:
            taken: list[Entry] = []
            for entry in sorted(members, key=lambda e: (-e.margin, self.place[e.id])):
                tail, head = self._way(entry)
                if tail in self._reachable(taken, head):
                    gone.add(entry.id)
                    following[entry.id] = [other.id for other in self._following(taken, entry)
                                           if tail in self._reachable(taken, self._way(other)[1])]  # fmt: skip
                else:
                    taken.append(entry)
        for entry in members:
            if self.outcomes[entry.id].contradiction is None:
                self._contradicted(entry, "preference-cycle", following[entry.id])
            if entry.id in gone:
                self._go(entry, "preference-cycle", nodes, following[entry.id])

    def _following(self, edges: list[Entry], entry: Entry) -> list[Entry]:
        return [other for other in edges if self._way(other)[0] == self._way(entry)[1]]

    # Repetitions

    def _repetitions(self, cluster: list[Entry]) -> None:
        kept: list[Entry] = []
        for entry in cluster:
            if entry.earlier:
                kept.append(entry)
                continue
            if self.outcomes[entry.id].rule is not None:
                continue
            for other in kept:
                if self._repeats(entry, other):
                    self._repetition(entry, other)
                    break
            else:
                kept.append(entry)

    def _repeats(self, entry: Entry, other: Entry) -> bool:
        if any(self.side_numbers[entry.id, side] != self.side_numbers[other.id, side] for side in entry.answers):
            return False
        ratios = (jaccard(entry.shingles[side], other.shingles[side]) for side in entry.sides)
        return all(above(ratio, self.policies.threshold) for ratio in ratios)

    def _repetition(self, entry: Entry, other: Entry) -> None:
        if self.policies.duplicates == "keep":
            return
        ratios = [jaccard(entry.shingles[side], other.shingles[side]) for side in entry.sides]
        least = min(ratios, key=lambda ratio: Fraction(*ratio))
        equal = entry.exact == other.exact
        self._go(entry, "exact" if equal else "near", least[0] / least[1], [other.id], other.dataset)
        outcome = self.outcomes[entry.id]
        outcome.ratio, outcome.threshold = least, float(self.policies.threshold)

    # The set as a whole

    def _balance(self) -> None:
        assert self.policies.length_balance
        low, high = (Fraction(bound) for bound in self.policies.length_balance)
        gone: set[str] = set()
        for language in {entry.language for entry in self.own}:
            rows = [e for e in self.own if e.language == language and self.outcomes[e.id].rule is None]
            for sign, bound in ((1, high), (-1, 1 - low)):
                rows = list(self._balanced(rows, sign, bound, gone))
        for entry in self.own:
            outcome = self.outcomes[entry.id]
            if outcome.rule in ("exact", "near") and outcome.witness_dataset is None and outcome.witness <= gone:
                gone.add(entry.id)
        for entry in self.own:
            if entry.id in gone:
                self._go(entry, "length-balance", entry.difference, [])
                self.outcomes[entry.id].threshold = self.outcomes[entry.id].ratio = None

    def _balanced(self, rows: list[Entry], sign: int, bound: Fraction, gone: set[str]) -> Iterator[Entry]:
        """What is left once the longer (or shorter) side wins no oftener than that."""
        winning = sorted(
            (e for e in rows if sign * e.difference > 0), key=lambda e: (hash_of_id(e.id, self.policies.seed), e.id)
        )
        ties = sum(entry.difference == 0 for entry in rows)
        count = len(rows)
        dropped = 0
        while count > dropped and Fraction(2 * (len(winning) - dropped) + ties, 2 * (count - dropped)) > bound:
            gone.add(winning[dropped].id)
            dropped += 1
        return (entry for entry in rows if entry.id not in gone)

    def _split(self) -> None:
        if self.policies.shards:
            held = {entry.id for entry in self.own if entry.shard in self.policies.shards}
        elif self.policies.share:
            held = self._held_out(Fraction(self.policies.share))
        else:
            return
        for entry in self.own:
            self.outcomes[entry.id].split = "held-out" if entry.id in held else "train"

    def _held_out(self, share: Fraction) -> set[str]:
        members: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.own:
            members[self.component[entry.id]].append(entry)
        names = {name: min(hash_of_prompt(entry.text("prompt")) for entry in cluster)
                 for name, cluster in members.items()}  # fmt: skip
        rank = {name: seeded(names[name], self.policies.seed) for name in members}
        if not self.policies.by_language:
            chosen = [name for name in members if rank[name] < share * 2**64 // 1]
        else:
            chosen = []
            for language in {entry.language for entry in self.own}:
                homes = [name for name in members if home_of(members[name]) == language]
                room = int(share * sum(len(members[name]) for name in homes))
                for name in sorted(homes, key=lambda name: (rank[name], names[name])):
                    if len(members[name]) <= room:
                        room -= len(members[name])
                        chosen.append(name)
        return {entry.id for name in chosen for entry in members[name]}


def home_of(cluster: list[Entry]) -> str:
    counts = Counter(entry.language for entry in cluster)
    return min(counts, key=lambda language: (-counts[language], language))


def seeded(name: tuple[int, int], seed: int) -> int:
    return int(seeded_hash(np.array([name], np.uint64), seed)[0])


def hash_of_id(id_: str, seed: int) -> int:
    return seeded((int(id_[:16], 16), int(id_[16:], 16)), seed)


def hash_of_prompt(text: str) -> tuple[int, int]:
    """The 16 bytes of its hash, as two numbers with the big end first."""
    data = signatures(pa.array([text], pa.large_string()), "word-5gram/1", "affine32", 6, 1).text_hash[0].tobytes()
    return int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")


def hygiene(entries: Sequence[Entry], policies: Policies, same_kind: bool = True) -> dict[str, Outcome]:
    """What becomes of the entries of this run, by id."""
    return Hygiene(entries, policies, same_kind).decide()
