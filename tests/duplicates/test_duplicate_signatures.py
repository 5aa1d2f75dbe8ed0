"""Signatures against datasketch, bands against their formula."""

from __future__ import annotations

import math
from fractions import Fraction

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.duplicates.bands import Bands, agreements, bands_for, fingerprints, least_agreement
from curation.duplicates.shingles import shingle_sets
from curation.duplicates.signature import Scheme, minima_of, permutations, signatures
from curation.errors import InputError

_TEXTS = [
    "the quick brown fox jumps over the lazy dog and runs away from here",
    "the quick brown fox jumps over the lazy dog and runs away from there",
    "短い文章です。とても短い。",
    "cafe\u0301 au lait, s'il vous plai\u0302t; deux croissants et un jus",
    "",
    "one",
    " ".join(f"word{number * number}" for number in range(5000)),
]


def sketched(hashes: np.ndarray, count: int, seed: int, scheme: Scheme) -> datasketch.MinHash:
    """datasketch's sketch of given hashes."""
    minhash = datasketch.MinHash(num_perm=count, seed=seed, scheme=scheme, hashfunc=lambda value: value)
    mask = 0xFFFFFFFF if scheme == "affine32" else 0xFFFFFFFFFFFFFFFF
    minhash.update_batch([value & mask for value in hashes.tolist()])
    return minhash


@pytest.mark.parametrize("scheme", ["affine32", "affine64"])
@pytest.mark.parametrize(("count", "seed"), [(126, 1), (128, 42), (1, 7), (37, 0)])
def test_equal_to_datasketch_bit_for_bit(scheme: Scheme, count: int, seed: int) -> None:
    column = pa.array(_TEXTS)
    ours, sets = signatures(column, scheme=scheme, num_perm=count, seed=seed).minima, shingle_sets(column)
    for row in range(len(_TEXTS)):
        theirs = sketched(sets[row], count, seed, scheme)
        assert ours.dtype == theirs.hashvalues.dtype
        assert (ours[row] == theirs.hashvalues).all()
    multipliers, addends = permutations(count, seed, scheme)
    assert (np.array(theirs.permutations) == np.array([multipliers, addends])).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=40),
    st.integers(1, 200),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["affine32", "affine64"]),
)
def test_minima_of_any_hashes(values: list[int], count: int, seed: int, scheme: Scheme) -> None:
    hashes = np.array(values, np.uint64)
    assert (minima_of(hashes, count, seed, scheme) == sketched(hashes, count, seed, scheme).hashvalues).all()


def test_there_and_back_through_a_datasketch_index() -> None:
    rows = signatures(pa.array(_TEXTS), num_perm=128).minima
    index = datasketch.MinHashLSH(threshold=0.5, num_perm=128)
    for row, values in enumerate(rows):
        index.insert(row, datasketch.MinHash(hashvalues=values, seed=1, scheme="affine32"))
    found = index.query(datasketch.MinHash(hashvalues=rows[0], seed=1, scheme="affine32"))
    assert set(found) == {0, 1}
    lean = datasketch.LeanMinHash(datasketch.MinHash(hashvalues=rows[0], seed=1, scheme="affine32"))
    buffer = bytearray(lean.bytesize())
    lean.serialize(buffer)
    assert (datasketch.LeanMinHash.deserialize(buffer).hashvalues == rows[0]).all()


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InputError, match="legacy"):
        permutations(16, scheme="legacy")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one"):
        permutations(0)
    with pytest.raises(InputError, match="definition"):
        signatures(pa.array(["a"]), "char-5gram/1")


def test_bands_have_the_published_chances() -> None:
    """The table of §2.4: FineWeb's 14 x 8 and the default."""
    assert round(Bands(14, 8).probability(0.8), 3) == 0.924
    assert round(Bands().probability(0.8), 3) == 0.998
    assert round(Bands().probability(0.5), 3) == 0.282


def test_bands_for_a_recall_are_the_fewest() -> None:
    assert bands_for(Fraction(4, 5)) == Bands(21, 6)
    for threshold, recall, noise in [(0.8, 0.9998, 0.1), (0.9, 0.999, 0.05), (0.7, 0.99, 0.2)]:
        chosen = bands_for(threshold, recall, noise)
        fitting = [
            bands * rows
            for rows in range(1, 40)
            for bands in range(1, 1000)
            if 1 - (1 - threshold**rows) ** bands >= recall and 1 - (1 - (threshold / 2) ** rows) ** bands <= noise
        ]
        assert chosen.permutations == min(fitting)
    with pytest.raises(InputError, match="noise"):
        bands_for(0.1, 0.9999, 0.001)
    with pytest.raises(InputError, match="between 0 and 1"):
        bands_for(1)


def test_fingerprints_are_equal_where_bands_are() -> None:
    generator = np.random.default_rng(1)
    minima = generator.integers(0, 2, (60, 8)).astype(np.uint32)
    prints = fingerprints(minima, Bands(4, 2))
    equal_bands = (minima[:, None].reshape(60, 1, 4, 2) == minima.reshape(1, 60, 4, 2)).all(axis=3)
    assert ((prints[:, None] == prints[None]) == equal_bands).all()
    assert len(np.unique(prints)) == sum(len(np.unique(minima[:, 2 * b : 2 * b + 2], axis=0)) for b in range(4))
    with pytest.raises(ValueError, match="cannot be cut"):
        fingerprints(minima, Bands(5, 2))


def test_agreement_rejects_within_its_risk() -> None:
    least = least_agreement(0.8, 126, 3e-5)
    chances = [math.comb(126, k) * 0.8**k * 0.2 ** (126 - k) for k in range(127)]
    assert sum(chances[:least]) <= 3e-5 < sum(chances[: least + 1])
    minima = np.array([[1, 2, 3], [1, 5, 3], [7, 8, 9]], np.uint32)
    assert agreements(minima, np.array([0, 0, 1]), np.array([1, 2, 1])).tolist() == [2, 0, 3]
