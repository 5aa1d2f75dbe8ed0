from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.domain.packing import STEP, pack

windows = st.integers(8, 200).flatmap(
    lambda max_tokens: st.tuples(
        st.lists(st.integers(1, max_tokens), max_size=120), st.just(max_tokens), st.integers(8, 2000)
    )
)


@given(windows)
def test_every_document_once_within_the_budget(window: tuple[list[int], int, int]) -> None:
    lengths, max_tokens, budget = window
    passes = list(pack(np.array(lengths, np.int64), max_tokens, budget))
    packed = [row for batch in passes for row in batch.documents.tolist()]
    assert sorted(packed) == list(range(len(lengths)))
    for batch in passes:
        assert 1 <= len(batch.documents) <= batch.height
        assert batch.height * batch.width <= budget or batch.height == 1
        assert batch.width <= max_tokens
        assert max(lengths[row] for row in batch.documents) <= batch.width
        assert len(batch.rows) == batch.height
        assert set(batch.rows.tolist()) == set(batch.documents.tolist())
    assert [batch.width for batch in passes] == sorted((batch.width for batch in passes), reverse=True)


@given(windows, st.integers(0, 2**32))
def test_shape_and_padding_follow_from_the_length_alone(window: tuple[list[int], int, int], seed: int) -> None:
    lengths, max_tokens, budget = window
    others = np.random.default_rng(seed).permutation(lengths).astype(np.int64)[: len(lengths) // 2]
    shapes: dict[int, set[tuple[int, int, bool]]] = {}
    for some in (np.array(lengths, np.int64), others):
        for batch in pack(some, max_tokens, budget):
            padded = bool((some[batch.documents] < batch.width).any())
            for row in batch.documents:
                shapes.setdefault(int(some[row]), set()).add((batch.height, batch.width, padded))
    assert all(len(of_length) == 1 for of_length in shapes.values())


def test_by_hand() -> None:
    # Widths: 31 -> 32; 32 -> 64 (never without padding, unless all tokens are filled); 100 fills all tokens.
    assert STEP == 32
    found = [
        (batch.documents.tolist(), batch.height, batch.width)
        for batch in pack(np.array([31, 100, 32, 1, 95, 99, 2, 100]), 100, 200)
    ]
    assert found == [([1, 7], 2, 100), ([5], 2, 100), ([4], 2, 96), ([2], 3, 64), ([0, 3, 6], 6, 32)]
    # Two rows of 96 do not fit: those texts have a width of their own.
    passes = list(pack(np.array([31, 100, 32, 1, 95, 90, 2, 100]), 100, 128))
    found = [(batch.documents.tolist(), batch.height, batch.width) for batch in passes]
    assert found == [
        ([1], 1, 100),
        ([7], 1, 100),
        ([4], 1, 95),
        ([5], 1, 90),
        ([2], 2, 64),
        ([0, 3, 6], 4, 32),
    ]
    assert passes[-1].rows.tolist() == [0, 3, 6, 0]


def test_nothing_to_pack() -> None:
    assert list(pack(np.zeros(0, np.int64), 512, 1024)) == []
