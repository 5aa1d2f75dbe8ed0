"""Benchmark items planted in real pages are found, and nothing is found where nobody planted."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from curation.decontamination import Cut, DecontaminationParameters, Finding, Index, index_of, search
from tests.decontamination import planted, twin
from tests.decontamination.test_search import compare

SAMPLE = 60
DEFAULTS = DecontaminationParameters(benchmarks={"b": "b"})  # type: ignore[dict-item]
CUT = Cut(DEFAULTS.ngram, DEFAULTS.unspaced_ngram, DEFAULTS.min_words, DEFAULTS.max_items)
LEAST = DEFAULTS.min_overlap["default"] or 1.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def index(real_data: Path) -> Index:
    return index_of(planted.benchmarks(real_data), CUT)


@pytest.fixture(scope="module")
def pages(real_data: Path) -> list[str]:
    return planted.pages(real_data)


def found_in(texts: list[str], index: Index) -> list[Finding]:
    found = search(pa.array(texts, pa.large_string()), index, DEFAULTS.min_ngrams)
    return [found.get(row, Finding()) for row in range(len(texts))]


def copies(
    real_data: Path, pages: list[str], name: str, change: Callable[[str, random.Random], str]
) -> list[tuple[int, str, int, int]]:
    """Items' numbers, pages with an altered copy of one, and where it begins and ends."""
    rng = random.Random(3)
    items = dict(planted.benchmarks(real_data))[name].items
    chosen = []
    for number in rng.sample(range(len(items)), SAMPLE):
        copy = change(items[number][0], rng)
        page, place = planted.plant(rng.choice(pages), copy, rng)
        chosen.append((number, page, place, place + len(copy)))
    return chosen


@pytest.mark.parametrize("change", [planted.whole, planted.shouted, planted.full_width, planted.lettered])
@pytest.mark.parametrize("name", planted.FILES)
def test_whole_copies_are_found_however_they_are_written(
    real_data: Path, pages: list[str], index: Index, name: str, change: Callable[[str, random.Random], str]
) -> None:
    planted_copies = copies(real_data, pages, name, change)
    findings = found_in([page for _, page, *_ in planted_copies], index)
    assert min(finding.ratio for finding in findings) > 0.6
    right = [finding.item == f"{name}:{number}" for (number, *_), finding in zip(planted_copies, findings, strict=True)]
    assert sum(right) >= 0.9 * SAMPLE  # some items of a benchmark have the same text
    for (_, _, start, end), finding in zip(planted_copies, findings, strict=True):
        assert start <= finding.start < finding.end <= end


@pytest.mark.parametrize(("name", "least"), [("gsm8k", 0.9), ("humaneval", 0.9), ("cmmlu", 0.75), ("agieval", 0.9)])
def test_most_copies_of_three_fifths_are_found(
    real_data: Path, pages: list[str], index: Index, name: str, least: float
) -> None:
    findings = found_in([page for _, page, *_ in copies(real_data, pages, name, planted.truncated)], index)
    assert sum(finding.ratio >= LEAST for finding in findings) >= least * SAMPLE


@pytest.mark.parametrize("distance", [8, 13])
@pytest.mark.parametrize("name", planted.FILES)
def test_near_misses_are_not_found(real_data: Path, pages: list[str], index: Index, name: str, distance: int) -> None:
    texts = [page for _, page, *_ in copies(real_data, pages, name, planted.one_word_in(distance))]
    assert max(finding.ratio for finding in found_in(texts, index)) < LEAST


def test_two_items_in_one_page(real_data: Path, pages: list[str], index: Index) -> None:
    english, chinese = (
        copies(real_data, pages, "gsm8k", planted.whole),
        copies(real_data, pages, "cmmlu", planted.whole),
    )
    cmmlu = dict(planted.benchmarks(real_data))["cmmlu"].items
    texts = [f"{page}\n\n{cmmlu[number][0]}" for (_, page, *_), (number, *_) in zip(english, chinese, strict=True)]
    findings = found_in(texts, index)
    alone = found_in([page for _, page, *_ in english], index)
    assert {finding.ratio for finding in findings} == {1.0}
    assert all(finding.item and finding.item.startswith("cmmlu:") for finding in findings)
    assert all(both.ngrams > one.ngrams for both, one in zip(findings, alone, strict=True))


def test_nothing_is_invented_in_clean_text(real_data: Path, index: Index) -> None:
    """What real text shares with an item is little, and really there."""
    texts = planted.clean_texts(real_data)
    found = search(pa.array(texts, pa.large_string()), index, DEFAULTS.min_ngrams)
    assert max(finding.ratio for finding in found.values()) < LEAST / 2
    assert len(found) < len(texts) / 1000
    items = dict(planted.benchmarks(real_data))
    for row, finding in found.items():
        if finding.item:
            name, number = finding.item.split(":")
            shared = [word[0] for word in twin.words(texts[row][finding.start : finding.end])]
            size = CUT.unspaced_ngram
            own = [" ".join(word[0] for word in twin.words(text)) for text in items[name].items[int(number)]]
            for start in range(len(shared) - size + 1):
                gram = " ".join(shared[start : start + size])
                assert any(gram in text for text in own), (finding, gram)


def test_real_texts_agree_with_the_twin(real_data: Path, pages: list[str]) -> None:
    """Pages with planted items, every column, against sets of tuples."""
    rng = random.Random(9)
    chosen = {name: rng.sample(range(len(b.items)), 25) for name, b in planted.benchmarks(real_data)}
    items = {
        (name, place): list(benchmark.items[number])
        for name, benchmark in planted.benchmarks(real_data)
        for place, number in enumerate(chosen[name])
    }
    changes = [planted.whole, planted.truncated, planted.shouted, planted.full_width, planted.one_word_in(40)]
    texts = [
        planted.plant(rng.choice(pages), rng.choice(changes)(text, rng), rng)[0]
        for its_texts in items.values()
        for text in its_texts[:1]
    ]
    compare(items, texts + rng.sample(pages, 40), CUT, DEFAULTS.min_ngrams)
