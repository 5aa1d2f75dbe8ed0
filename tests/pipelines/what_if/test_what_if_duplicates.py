"""Duplicates decided again from evidence, against a plain greedy pass over all pairs there are."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.what_if import greedy
from pipelines.what_if.codes import Codes
from pipelines.what_if.duplicates import settle_duplicates
from pipelines.what_if.evidence import Evidence

KEPT, EXACT, NEAR, UNKNOWN, DROPPED = range(5)
CODES = Codes(KEPT, EXACT, NEAR, UNKNOWN, {})
Pairs = set[frozenset[int]]


@dataclass(frozen=True)
class World:
    """Documents in the order of staying, the first ``pinned`` of earlier corpora; ``text`` and ``family`` of each."""

    text: list[int]
    family: list[int]
    pinned: int
    pairs: Pairs
    seen: Pairs

    @property
    def documents(self) -> range:
        return range(len(self.text))


def plain_greedy(world: World, documents: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for document in documents:
        kept = [other for other in documents if other < document and found[other] == KEPT]
        if document < world.pinned:
            found[document] = KEPT
        elif any(world.text[other] == world.text[document] for other in kept):
            found[document] = EXACT
        else:
            near = any(frozenset((world.text[other], world.text[document])) in world.pairs for other in kept)
            found[document] = NEAR if near else KEPT
    return found


@st.composite
def worlds(draw: st.DrawFn, families: int = 2) -> World:
    texts = draw(st.integers(1, 8))
    text = draw(st.lists(st.integers(0, texts - 1), min_size=1, max_size=14))
    every = [frozenset(pair) for pair in combinations(range(texts), 2)]
    pairs = set(draw(st.lists(st.sampled_from(every), unique=True, max_size=12))) if every else set()
    family = draw(st.lists(st.integers(0, families), min_size=texts, max_size=texts))
    seen = set(draw(st.lists(st.sampled_from(every), unique=True, max_size=3))) if every else set()
    return World(text, [family[t] for t in text], draw(st.integers(0, min(3, len(text)))), pairs, seen)


def evidence_of(world: World, before: dict[int, int]) -> Evidence:
    """What a run stores: all pairs but those in a family whose first document was not kept and no small bucket saw."""
    head = [world.text.index(text) for text in world.text]
    heads = [d for d in world.documents if head[d] == d or d < world.pinned]
    known = [
        (a, b)
        for a, b in combinations(heads, 2)
        if b >= world.pinned and head[b] == b and (pair := frozenset((world.text[a], world.text[b]))) in world.pairs
        and (world.family[a] != world.family[b] or not world.family[a] or before[a] == KEPT or pair in world.seen)
    ]  # fmt: skip
    family = [0 for _ in world.documents]
    for name in set(world.family) - {0}:
        members = [d for d in heads if world.family[d] == name]
        removed = [d for d in members if before[d] != KEPT]
        for document in members:
            if removed and document >= removed[0] and head[document] == document:
                family[document] = name
    component = list(world.documents)
    joined = [*known, *((head[d], d) for d in world.documents)]
    joined += [(a, b) for a, b in combinations(heads, 2) if family[a] and family[a] == family[b]]
    for _ in world.documents:
        for a, b in joined:
            component[a] = component[b] = min(component[a], component[b])
    concerned = sorted({d for pair in known for d in pair} | {d for d in world.documents if family[d]}
                       | {d for d in world.documents if world.text.count(world.text[d]) > 1})  # fmt: skip
    place = {document: at for at, document in enumerate(concerned)}
    numbers = [
        np.array([place[d] for d in column], np.uint32)
        for column in (
            [head[d] for d in concerned],
            [component[d] for d in concerned],
            [a for a, _ in known],
            [b for _, b in known],
        )
    ]
    rows = np.array([d if d >= world.pinned else -1 for d in concerned], np.int64)
    families = np.array([family[d] for d in concerned], np.uint32)
    return Evidence(rows, numbers[0], families, numbers[1], numbers[2], numbers[3])


def check(world: World, gone: set[int]) -> None:
    before = plain_greedy(world, list(world.documents))
    left = [d for d in world.documents if d < world.pinned or d not in gone]
    truth = plain_greedy(world, left)
    codes = np.array([before[d] for d in world.documents], np.int16)
    after = np.array([codes[d] if d in left else DROPPED for d in world.documents], np.int16)
    settle_duplicates(evidence_of(world, before), codes, after, CODES)
    found = {d: int(after[d]) for d in left if d >= world.pinned}
    unknown = {d for d, code in found.items() if code == UNKNOWN}
    assert all((found[d] == KEPT) == (truth[d] == KEPT) for d in found.keys() - unknown)
    if not unknown:
        assert found == {d: truth[d] for d in found}
    assert all(after[d] == DROPPED for d in world.documents if d not in left)
    # Who is undetermined has a family or a neighbour that has one, and only where a kept document goes.
    assert not unknown or (any(world.family) and any(before[d] == KEPT for d in gone))


@pytest.mark.parametrize("rounds", [0, 1, 16])
@settings(max_examples=200)
@given(world=worlds(), data=st.data())
def test_what_is_determined_is_right(rounds: int, world: World, data: st.DataObject) -> None:
    own = list(range(world.pinned, len(world.text)))
    gone = set(data.draw(st.lists(st.sampled_from(own), unique=True))) if own else set()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(greedy, "ROUNDS", rounds)
        check(world, gone)


def test_what_is_determined_is_right_in_thousands_of_crowded_worlds() -> None:
    """Long families, many copies, many pairs, few documents that go: where what is not known spreads furthest."""
    rng = random.Random(1)
    for _ in range(6000):
        texts, count, pinned = rng.randint(5, 9), rng.randint(8, 16), rng.choice([0, 0, 1])
        text = [rng.randrange(texts) for _ in range(count)]
        every = [frozenset(pair) for pair in combinations(range(texts), 2)]
        density, inside = rng.choice([0.3, 0.5]), rng.choice([0.5, 0.9])
        pairs = {pair for pair in every if rng.random() < density}
        family = [int(rng.random() < inside) for _ in range(texts)]
        seen = {pair for pair in every if rng.random() < 0.2}
        world = World(text, [family[t] for t in text], pinned, pairs, seen)
        check(world, {d for d in range(pinned, count) if rng.random() < 0.3})


@settings(max_examples=200)
@given(world=worlds(families=0), data=st.data())
def test_without_large_families_all_is_determined(world: World, data: st.DataObject) -> None:
    own = list(range(world.pinned, len(world.text)))
    check(world, set(data.draw(st.lists(st.sampled_from(own), unique=True))) if own else set())


def test_a_copy_that_stands_for_its_text_comes_behind_whom_it_never_met() -> None:
    """0 removes 1; 1 was never compared with 2, which 3 removed; 1's copy 4 comes behind 2."""
    pairs = {frozenset((0, 1)), frozenset((1, 2)), frozenset((3, 2))}
    world = World([3, 0, 1, 2, 1], [0, 0, 1, 1, 1], 0, pairs, set())
    check(world, {0, 1, 2})
    check(world, {0, 1})


def test_a_text_that_moves_back_behind_two() -> None:
    """4 is removed by 3; both go, and 4's copy 6 now comes behind 5, which it resembles and never met."""
    pairs = {frozenset((0, 1)), frozenset((3, 4)), frozenset((4, 5))}
    check(World([0, 1, 2, 3, 4, 5, 4], [0, 1, 1, 0, 1, 1, 1], 0, pairs, set()), {3, 4})


def test_long_chains() -> None:
    """Each document repeats the next: every second one stays, however they are decided."""
    count = 5001
    first = np.arange(count - 1)
    none = np.zeros(count, np.int64)
    families = greedy.Families(none, np.arange(count), none == 0)
    state = greedy.keep_again(first, first + 1, none > 0, families)
    assert state.tolist() == [number % 2 for number in range(count)]
