"""What is found, against sets of tuples."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.decontamination import index as indexes
from curation.decontamination.benchmark import Benchmark
from curation.decontamination.index import Cut, Index, index_of
from curation.decontamination.kernel import BLOCK
from curation.decontamination.search import Finding, search, search_text
from tests.decontamination.test_words import ALPHABETS
from tests.decontamination.twin import Items, Twin

SMALL = Cut(ngram=3, unspaced_ngram=4, min_words=2, max_items=2)


def index_from(items: Items, cut: Cut) -> Index:
    names = sorted({name for name, _ in items})
    named = {name: [tuple(texts) for (of, _), texts in sorted(items.items()) if of == name] for name in names}
    return index_of(tuple((name, Benchmark(name, tuple(its))) for name, its in named.items()), cut)


def compare(items: Items, texts: list[str], cut: Cut, min_ngrams: int) -> list[Finding]:
    index, twin = index_from(items, cut), Twin(items, cut)
    found = search(pa.array(texts, pa.large_string()), index, min_ngrams)
    findings = [found.get(row, Finding()) for row in range(len(texts))]
    assert findings == [twin.find(text, min_ngrams) for text in texts]
    return findings


@st.composite
def cases(draw: st.DrawFn) -> tuple[Items, list[str]]:
    """Few different words, so that n-grams meet; documents partly put together from items."""
    if draw(st.booleans()):
        vocabulary = st.sampled_from(["ab", "Cd", "ef", "1", "é", "水", "火，", "e\u0301", "a", "B"])
        text = st.lists(vocabulary, max_size=14).map(" ".join)
    else:
        text = st.text(draw(st.sampled_from(ALPHABETS)), max_size=30)
    items: Items = {}
    for name in ("b", "a"):
        for number in range(draw(st.integers(1, 3))):
            items[name, number] = draw(st.lists(text, min_size=1, max_size=2))
    pieces = st.sampled_from([piece for texts in items.values() for piece in texts])
    return items, draw(st.lists(st.lists(text | pieces, max_size=4).map(" ".join), max_size=4))


@given(cases(), st.integers(1, 3), st.integers(1, 3), st.integers(2, 5))
def test_twin(case: tuple[Items, list[str]], min_ngrams: int, max_items: int, unspaced: int) -> None:
    items, texts = case
    compare(items, texts, Cut(3, unspaced, 2, max_items), min_ngrams)


@given(cases())
def test_no_hash_decides(case: tuple[Items, list[str]]) -> None:
    """All words have one of two hashes, so that nearly everything collides, and nothing else is found."""
    items, texts = case
    twin = Twin(items, SMALL)
    with pytest.MonkeyPatch.context() as patch:
        hashes = lambda words: np.array([len(word) & 1 for word in words], np.uint64)  # noqa: E731
        patch.setattr(indexes, "vocabulary_hashes", hashes)
        index = index_from(items, SMALL)
    assert [search_text(text, index, 1) for text in texts] == [twin.find(text, 1) for text in texts]


def test_blocks_and_far_places() -> None:
    """An item across the border of two blocks of words, at every distance from it; one at the very end."""
    cut = Cut(13, 16, 8, 10)
    english = " ".join(f"word{number}" for number in range(20))
    chinese = "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉"
    items: Items = {("en", 0): [english], ("zh", 0): [chinese]}
    texts = [f"{'xy ' * (BLOCK - 30 + shift)}{english} tail. {chinese}" for shift in range(60)]
    texts += [f"{'水' * (BLOCK - 30 + shift)}{chinese}" for shift in range(60)]
    texts += [english, chinese, f"{english}.", "xy " * (3 * BLOCK) + english]
    findings = compare(items, texts, cut, 2)
    assert {finding.ratio for finding in findings} == {1.0}
    for text, finding in zip(texts, findings, strict=True):
        assert text[finding.start : finding.end] in (english, chinese)


def test_texts_that_need_normalising() -> None:
    """An n-gram in a text with decomposed letters, in composed ones, and with marks out of order."""
    item = "le café près de l’hôtel était fermé depuis déjà trois années entières après l’été"
    apart = item.replace("é", "e\u0301").replace("è", "e\u0300").replace("ô", "o\u0302")
    findings = compare({("fr", 0): [item]}, [item, f"ΩΩ {apart} x", item.upper(), f"q\u0307\u0323 {item}"], SMALL, 1)
    assert [finding.ratio for finding in findings] == [1.0] * 4


def test_short_items_are_found_whole_only() -> None:
    cut = Cut(13, 16, 8, 10)
    item = "one two three four five six seven eight nine"
    items: Items = {("b", 0): [item], ("b", 1): ["too few words here to look for"]}
    near = item.replace("nine", "ten")
    findings = compare(items, [f"so: {item}!", near, "too few words here to look for"], cut, 2)
    assert [finding.ratio for finding in findings] == [1.0, 0.0, 0.0]
    assert findings[0] == Finding(1.0, 1, "b:0", 4, 4 + len(item))
    assert index_from(items, cut).silent == [("b", 1)]


def test_smallest_name_and_number_among_equals() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    items: Items = {("b", 0): [text], ("a", 10): [text], ("a", 9): [text]}
    items |= {("a", number): [f"item {number} is about something else"] for number in range(9)}
    assert compare(items, [text], Cut(13, 16, 8, 10), 1)[0].item == "a:9"


def test_what_many_items_share_is_not_looked_for() -> None:
    shared = "choose the one of the following answers that you think is right and write it down"
    items: Items = {("b", number): [f"{shared} q{number} r{number} s{number} " * 1] for number in range(4)}
    findings = compare(items, [shared, f"{shared} q2 r2 s2"], Cut(13, 16, 8, 3), 1)
    assert [(finding.ratio, finding.item) for finding in findings] == [(0.0, None), (1.0, "b:2")]


def test_nothing_and_nulls() -> None:
    index = index_from({("b", 0): ["one two three four"]}, SMALL)
    assert search(pa.array([], pa.large_string()), index, 1) == {}
    found = search(pa.array([None, "", "one two three four", None], pa.large_string()), index, 1)
    assert found == {2: Finding(1.0, 2, "b:0", 0, 18)}
    assert search(pa.array(["x", "one two three", "y"], pa.string()).slice(1), index, 1)[0].ratio == 0.5


@pytest.mark.slow
def test_every_character_reads_alike() -> None:
    """The compiled reading and the one that keeps places cut the same words around each character."""
    codes = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co", "Lo")]
    codes += [*range(0x1100, 0x1200), *range(0x3131, 0x3190), *range(0xF900, 0xFB00), *range(0xAC00, 0xAC40)]
    texts = [f"q{number}q{chr(code)}r{number} {chr(code)}s{number}" for number, code in enumerate(codes)]
    items: Items = {("b", number): [text] for number, text in enumerate(texts)}
    found = search(pa.array(texts, pa.large_string()), index_from(items, Cut(64, 64, 2, 1)), 1)
    assert [hex(code) for row, code in enumerate(codes) if row not in found or found[row].ratio < 1] == []
    assert [row for row, text in enumerate(texts) if text[found[row].start : found[row].end] != text] == []
