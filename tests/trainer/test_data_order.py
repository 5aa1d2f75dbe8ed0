"""Keyed permutations and mixtures: every document, exactly as often as was said."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.mixture import Group, Mixture, mixture
from trainer.data.order import Order, Permutation
from trainer.errors import DataError


def test_a_permutation_of_every_small_range_and_back() -> None:
    for size in [*range(1, 200), 255, 256, 257, 1000, 4097]:
        everything = np.arange(size)
        permutation = Permutation(size, (size, 1))
        image = permutation(everything)
        assert np.array_equal(np.sort(image), everything), size
        assert np.array_equal(permutation.inverse(image), everything), size


@given(size=st.integers(1, 1 << 62), seed=st.integers(-(2**63), 2**63), data=st.data())
def test_inverse_of_a_range_of_any_size(size: int, seed: int, data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=20)), np.int64)
    permutation = Permutation(size, (seed,))
    image = permutation(index)
    assert ((image >= 0) & (image < size)).all()
    assert np.array_equal(permutation.inverse(image), index)


def test_the_order_is_the_same_on_every_machine() -> None:
    assert Permutation(10, (7, 0))(np.arange(10)).tolist() == [8, 7, 3, 2, 0, 5, 1, 9, 6, 4]
    assert Permutation(10**12, (1, 2, 3))(np.arange(4)).tolist() == [
        749745196821,
        911367923598,
        930052881322,
        742894464673,
    ]


@pytest.mark.parametrize("size", [3, 4])
def test_all_permutations_of_few_come_equally_often(size: int) -> None:
    keys = 480
    found = Counter(tuple(Permutation(size, (key,))(np.arange(size)).tolist()) for key in range(keys))
    cells = {3: 6, 4: 24}[size]
    assert len(found) == cells
    statistic = sum((count - keys / cells) ** 2 / (keys / cells) for count in found.values())
    assert statistic < {3: 20.5, 4: 49.7}[size]  # chi squared, one in a thousand


def test_places_are_uniform_and_neighbours_part() -> None:
    size = 1000
    images = np.stack([Permutation(size, (key,))(np.arange(size)) for key in range(300)])
    for place in (0, 1, 499, 999):
        counts = np.bincount(images[:, place] // 100, minlength=10)
        assert ((counts - 30) ** 2 / 30).sum() < 27.9  # nine degrees of freedom
    gaps = np.abs(np.diff(images, axis=1))
    assert abs(gaps.mean() - size / 3) < 5  # of independent uniform places
    assert abs(np.corrcoef(images[:-1].ravel(), images[1:].ravel())[0, 1]) < 0.01


def test_epochs_are_orders_of_their_own() -> None:
    order = Order(50, 3)
    epochs = order.at(np.arange(200)).reshape(4, 50)
    assert all(np.array_equal(np.sort(epoch), np.arange(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert np.array_equal(order.at(np.array([137, 3])), [epochs[2, 37], epochs[0, 3]])


def test_nothing_has_no_order() -> None:
    with pytest.raises(DataError, match="0 members"):
        Order(0, 1)


@given(
    groups=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 40)), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_groups_are_taken_as_often_as_they_say(groups: list[tuple[int, int]], seed: int) -> None:
    firsts = np.cumsum([0, *(size for size, _ in groups)])
    made = [Group(np.arange(first, first + size), taken) for first, (size, taken) in zip(firsts, groups, strict=False)]
    if not any(taken for _, taken in groups):
        with pytest.raises(DataError, match="no documents"):
            Mixture(made, seed)
        return
    mixed, epochs = Mixture(made, seed), 5
    found = mixed.at(np.arange(epochs * mixed.size)).reshape(epochs, -1)
    for group in made:
        weight = Fraction(group.taken, len(group.members))
        for member in group.members:
            counts = (found == member).sum(axis=1)
            for count in counts:  # of each epoch
                assert weight - 1 < count < weight + 1
            for first in range(epochs):  # and of several that follow each other
                assert abs(counts[first:].sum() - weight * (epochs - first)) < 1


def test_weights_multiply_and_fractions_take_turns() -> None:
    languages = (np.array([0] * 40 + [1] * 40), ["en", "zh"])
    domains = (np.array([0, 1] * 40), ["news", "shop"])
    mixed = mixture(
        np.arange(100, 180), 1, {"language": languages, "domain": domains},
        {"language": {"zh": 2}, "domain": {"shop": 0.25}},
    )  # fmt: skip
    assert mixed.size == 20 + 5 + 40 + 10
    found = mixed.at(np.arange(4 * mixed.size)).reshape(4, -1)
    for epoch in found:
        counts = Counter(epoch.tolist())
        assert all(counts[100 + n] == 1 for n in range(0, 40, 2))
        assert all(counts[100 + n] == 2 for n in range(40, 80, 2))
        assert sum(counts[100 + n] for n in range(1, 40, 2)) == 5
    assert all((found == 100 + n).sum() == 1 for n in range(1, 40, 2))  # each in one of four epochs
    assert not np.array_equal(found[0], found[1])


def test_weights_of_what_is_not_there_are_refused() -> None:
    labels = {"language": (np.array([0, 1]), ["en", "zh"])}
    rows = np.arange(2)
    with pytest.raises(DataError, match="no document has the language 'eng', did you mean 'en'"):
        mixture(rows, 1, labels, {"language": {"eng": 2}})
    with pytest.raises(DataError, match="there are: en, zh"):
        mixture(rows, 1, labels, {"language": {"fr": 2}})
    with pytest.raises(DataError, match="not by 'source'"):
        mixture(rows, 1, labels, {"source": {"a": 2}})
    with pytest.raises(DataError, match="0 or more"):
        mixture(rows, 1, labels, {"language": {"en": -1}})
    with pytest.raises(DataError, match="come to nothing"):
        mixture(rows, 1, labels, {"language": {"en": 0, "zh": 0}})


def test_documents_without_a_label_weigh_one() -> None:
    mixed = mixture(np.arange(4), 1, {"domain": (np.array([0, -1, -1, 0]), ["a"])}, {"domain": {"a": 3}})
    assert Counter(mixed.at(np.arange(mixed.size)).tolist()) == {0: 3, 1: 1, 2: 1, 3: 3}
