"""Word units: counted by hand, and by a twin."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings

from curation.duplicates.folding import UNSPACED
from curation.text.units import count_units
from tests.rules.helpers import texts

SOLO = {
    code
    for ranges in UNSPACED.values()
    for item in ranges.split()
    for code in range(int(item.partition("-")[0], 16), int(item.rpartition("-")[2], 16) + 1)
}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("  \n", 0),
        ("Hello, world!", 2),
        ("don't 3.5 a_b", 6),
        ("我们ok的2020年", 6),
        ("cafe\u0301 cafe", 2),
        ("...---", 0),
        ("한국어 말", 2),
    ],
)
def test_known_counts(text: str, count: int) -> None:
    assert count_units(pa.array([text], pa.large_string())).tolist() == [count]


def test_nulls_slices_and_small_strings() -> None:
    array = pa.array(["skipped", None, "one two", "三"], pa.string()).slice(1)
    assert count_units(array).tolist() == [0, 2, 1]
    assert count_units(pa.array([], pa.large_string())).tolist() == []


def naive(text: str) -> int:
    count, inside = 0, False
    for character in text:
        category = unicodedata.category(character)
        solo = ord(character) in SOLO and category[0] in "LMN"
        part = category[0] in "LM" or category == "Nd"
        count += solo or (part and not inside)
        inside = part and not solo
    return count


@given(texts())
@settings(max_examples=200, deadline=None)
def test_units_equal_those_of_the_twin(text: str) -> None:
    assert count_units(pa.array([text], pa.large_string())).tolist() == [naive(text)]
