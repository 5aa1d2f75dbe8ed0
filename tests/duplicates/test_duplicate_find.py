"""All steps in a row against brute force over all pairs."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import oracle
from curation.duplicates.bands import Bands
from curation.duplicates.find import find_duplicates
from curation.duplicates.keep import EXACT, NEAR, Decisions, rank_by_length

THRESHOLD = Fraction(4, 5)
# One row each: a pair above 0.8 is overlooked with a chance of 0.2^48, so results must equal brute force.
EVERY_PAIR = Bands(48, 1)


def check_against_truth(texts: list[str], decisions: Decisions, rank: np.ndarray, threshold: Fraction) -> None:
    """Kept documents and witnesses are those of the greedy pass over all true pairs."""
    truth = oracle.all_pairs(texts, threshold)
    assert decisions.kept.tolist() == oracle.greedy(truth, rank).tolist()
    sets = [oracle.shingles(text) for text in texts]
    same_words = {}
    for row in np.argsort(rank).tolist():
        same_words.setdefault(tuple(oracle.words(texts[row])) or min(sets[row]), []).append(row)
    first = {row: rows[0] for rows in same_words.values() for row in rows}
    for row, kept in enumerate(decisions.kept.tolist()):
        if kept:
            assert (decisions.witness[row], decisions.kind[row], decisions.union[row]) == (-1, 0, 0)
            continue
        if decisions.kept[first[row]]:
            expected = first[row]
        else:
            before = [other for other in np.flatnonzero(decisions.kept) if rank[other] < rank[first[row]]]
            expected = max(before, key=lambda other: (_similarity(sets, other, row), -rank[other]))
        witness = int(decisions.witness[row])
        assert witness == expected
        assert decisions.kind[row] == (EXACT if decisions.kept[first[row]] else NEAR)
        assert decisions.intersection[row] == len(sets[witness] & sets[row])
        assert decisions.union[row] == len(sets[witness] | sets[row])
    assert decisions.multiplicity.tolist() == [
        sum(first[other] == first[row] for other in range(len(texts))) for row in range(len(texts))
    ]


def _similarity(sets: list[set[tuple[str, ...]]], a: int, b: int) -> Fraction:
    return Fraction(len(sets[a] & sets[b]), len(sets[a] | sets[b]))


@st.composite
def corpora(draw: st.DrawFn) -> list[str]:
    """Texts with edits that leave them near the threshold, chains of edits, copies, short and empty texts."""
    random = Random(draw(st.integers(0, 2**32)))
    vocabulary = [
        *(f"w{number}" for number in range(40)),
        "é",
        "e\u0301",
        "東",
        "京",
        "ไ",
        "ПРИВЕТ",
        "привет",
        "ﬁ",
        "fi",
    ]
    texts: list[list[str]] = []
    for _ in range(draw(st.integers(1, 14))):
        kind = random.choice(["new", "edit", "edit", "edit", "edit", "cut", "copy", "short"])
        if kind == "new" or not texts:
            texts.append(random.choices(vocabulary, k=random.randint(5, 120)))
        elif kind == "short":
            texts.append(random.choices([*vocabulary, "?", ""], k=random.randint(0, 4)))
        else:
            words = list(random.choice(texts))
            for _ in range(random.choice([0, 1, 1, 2, 3]) if kind == "edit" and words else 0):
                words[random.randrange(len(words))] = random.choice(vocabulary)
            texts.append(words[: random.randint(len(words) * 3 // 4, len(words))] if kind == "cut" else words)
    return [random.choice([" ", ", "]).join(words) for words in texts]


@settings(max_examples=100, deadline=None)
@given(corpora(), st.sampled_from([1, 2, 3, 64]), st.sampled_from([THRESHOLD, Fraction(1, 2)]), st.data())
def test_equals_brute_force(texts: list[str], limit: int, threshold: Fraction, data: st.DataObject) -> None:
    rank = np.array(data.draw(st.permutations(range(len(texts)))))
    column = pa.array(texts, pa.large_string())
    options = {"threshold": threshold, "rank": rank, "bands": EVERY_PAIR}
    decisions = find_duplicates(column, large_bucket=limit, **options)
    check_against_truth(texts, decisions, rank, threshold)
    whole = find_duplicates(column, large_bucket=10**6, **options)
    for name in ("kept", "kind", "witness", "intersection", "union", "multiplicity", "represents"):
        assert (getattr(decisions, name) == getattr(whole, name)).all(), name


def _numbered(first: int, last: int) -> str:
    return " ".join(f"w{number}" for number in range(first, last))


def test_a_chain_keeps_both_ends() -> None:
    """a ~ b ~ c at 90/102 each, a and c at 84/108: c is not removed by way of b."""
    a, b, c = _numbered(0, 100), _numbered(6, 106), _numbered(12, 112)
    decisions = find_duplicates(pa.array([a, b, c]), rank=np.arange(3), bands=EVERY_PAIR)
    assert decisions.kept.tolist() == [True, False, True]
    assert (decisions.witness[1], decisions.intersection[1], decisions.union[1]) == (0, 90, 102)
    assert decisions.component.tolist() == [0, 0, 0] and decisions.represents.tolist() == [2, 0, 1]
    middle_first = find_duplicates(pa.array([a, b, c]), rank=np.array([1, 0, 2]), bands=EVERY_PAIR)
    assert middle_first.kept.tolist() == [False, True, False]


def test_exactly_the_threshold_stays() -> None:
    texts = pa.array([_numbered(0, 9), _numbered(0, 8)])  # four of five shingles
    assert find_duplicates(texts, bands=EVERY_PAIR).kept.all()
    assert find_duplicates(texts, bands=EVERY_PAIR, threshold="0.799999").kept.tolist() == [True, False]


def test_empty_and_short_texts_go_only_when_equal() -> None:
    texts = ["", "  ", "word", "Word!", "two words", "one two three four", "one two three five", "...", "…", "!"]
    decisions = find_duplicates(pa.array(texts), pa.array([f"{row:02}" for row in range(len(texts))]))
    # "  " is longer than "", "Word!" than "word"; "…" becomes "..." and is shorter.
    assert np.flatnonzero(~decisions.kept).tolist() == [0, 2, 8]
    assert decisions.witness[[0, 2, 8]].tolist() == [1, 3, 7]
    assert decisions.kind[[0, 2, 8]].tolist() == [EXACT] * 3
    assert find_duplicates(pa.array([], pa.string())).kept.size == 0


def test_pinned_documents_stay_and_are_witnesses() -> None:
    a, near, far = _numbered(0, 100), _numbered(2, 102), _numbered(500, 600)
    texts = pa.array([a, near, a, near, a, far, far])
    pinned = np.array([True, True, True, False, False, False, False])
    decisions = find_duplicates(texts, rank=np.arange(7), pinned=pinned, bands=EVERY_PAIR)
    assert decisions.kept.tolist() == [True, True, True, False, False, True, False]
    assert decisions.witness.tolist() == [-1, -1, -1, 1, 0, -1, 5]


def test_a_crowd_in_one_bucket_is_decided_as_pair_by_pair() -> None:
    """Large buckets whose leaders are removed elsewhere: several rounds, the same outcome."""
    random = Random(11)
    base = [f"w{number}" for number in range(150)]
    texts = []
    for _ in range(400):
        words = list(base)
        for _ in range(random.randint(0, 6)):
            words[random.randrange(150)] = f"x{random.randrange(30)}"
        texts.append(" ".join(words))
    column = pa.array(texts)
    by_limit = [find_duplicates(column, large_bucket=limit) for limit in (1, 8, 64, 10**6)]
    for decisions in by_limit:
        assert (decisions.kept == by_limit[-1].kept).all()
        assert (decisions.witness == by_limit[-1].witness).all()
    crowd = oracle.all_pairs(texts, THRESHOLD)
    assert oracle.judge(crowd, by_limit[0].kept).orphans == 0
    assert 1 < by_limit[0].kept.sum() < 300


def test_the_order_of_rows_does_not_matter() -> None:
    random = Random(5)
    texts, ids = [], []
    for family in range(30):
        words = [f"f{family}w{number}" for number in range(80)]
        for version in range(6):
            words[random.randrange(80)] = f"v{version}"
            texts.append(" ".join(words))
            ids.append(f"{family}-{version}")
    decisions = find_duplicates(pa.array(texts), pa.array(ids))
    order = list(range(len(texts)))
    random.shuffle(order)
    shuffled = find_duplicates(pa.array([texts[row] for row in order]), pa.array([ids[row] for row in order]))
    back = np.argsort(order)
    for field in fields(Decisions):
        before, after = getattr(decisions, field.name), getattr(shuffled, field.name)[back]
        if field.name in ("witness", "component"):
            after = np.where(after < 0, -1, np.array(order)[after])
        assert (before == after).all(), field.name
    assert (~decisions.kept).sum() > 20


@pytest.mark.parametrize("name", ["articles", "licenses", "coolshell", "short-answers", "tang-poems"])
def test_real_texts(name: str, real_data: Path) -> None:
    """Every pair above 0.8 is resolved, nothing is orphaned, and the outcome is that of brute force."""
    documents = list(oracle.read_documents(real_data / "neardup" / f"{name}.jsonl.gz"))
    if name == "coolshell":  # long, in Chinese: enough of it for the time that a test has
        documents = documents[:300]
    ids, texts = ([document[side] for document in documents] for side in (0, 1))
    column = pa.array(texts, pa.large_string())
    decisions = find_duplicates(column, pa.array(ids))
    truth = oracle.all_pairs(texts, THRESHOLD)
    judgement = oracle.judge(truth, decisions.kept)
    assert judgement.pairs > 0 and judgement.surviving == 0 and judgement.orphans == 0
    rank = rank_by_length(column, pa.array(ids))
    assert (decisions.kept == oracle.greedy(truth, rank)).all()
    columns = (truth.left, truth.right, truth.intersection, truth.union)
    pairs = {(a, b): counts for a, b, *counts in zip(*(column.tolist() for column in columns), strict=True)}
    for row in np.flatnonzero(~decisions.kept).tolist():
        witness = int(decisions.witness[row])
        assert decisions.kept[witness]
        found = [int(decisions.intersection[row]), int(decisions.union[row])]
        assert found == pairs[min(row, witness), max(row, witness)]
