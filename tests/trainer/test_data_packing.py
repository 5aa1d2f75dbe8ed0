"""Packing: no token lost, no document crossed, chunks respected, rows full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.packing import Placed, pack
from trainer.errors import DataError


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, int, int | None, float]:
    chunk = draw(st.integers(1, 40))
    tokens = chunk * draw(st.integers(1, 9))
    lengths = draw(st.lists(st.integers(0, draw(st.sampled_from([3, chunk, tokens, 5 * tokens]))), max_size=40))
    return (
        np.array(lengths, np.int64),
        tokens,
        draw(st.sampled_from([chunk, None])),
        draw(st.sampled_from([0.5, 0.99, 1.0])),
    )


def check(lengths: np.ndarray, tokens: int, chunk: int | None, placed: Placed) -> None:
    """All that holds of any packing, said without the packing's own words."""
    chunk = chunk or tokens
    taken = np.zeros((placed.rows, tokens), bool)
    found: list[list[tuple[int, int]]] = [[] for _ in lengths]
    pieces = list(zip(*(column.tolist() for column in placed[:5]), strict=True))
    assert pieces == sorted(pieces)
    for row, place, document, start, length in pieces:
        assert length > 0 and place + length <= tokens
        assert place % chunk == 0 or place // chunk == (place + length - 1) // chunk
        assert not taken[row, place : place + length].any()
        taken[row, place : place + length] = True
        found[document].append((start, length))
    for document, parts in enumerate(found):
        at = 0
        for start, length in sorted(parts):
            assert start == at
            at += length
        assert at == lengths[document]
    assert taken.any(axis=1).all()


@given(windows())
def test_every_token_stands_once(window: tuple[np.ndarray, int, int | None, float]) -> None:
    lengths, tokens, chunk, fill = window
    placed = pack(lengths, tokens, chunk, fill)
    check(lengths, tokens, chunk, placed)
    total, size = int(lengths.sum()), chunk or tokens
    # All rows but the last are full of chunks, and chunks are as full as was asked for, to the last one.
    chunks = -(-total // size)
    assert placed.rows <= -(-max(chunks, int(np.ceil(total / (fill * size)))) // (tokens // size))


@given(windows(), st.randoms(use_true_random=False))
def test_the_lengths_alone_decide(window: tuple[np.ndarray, int, int | None, float], rng: object) -> None:
    lengths, tokens, chunk, fill = window
    first, second = (pack(array, tokens, chunk, fill) for array in (lengths, lengths.astype(np.uint32)))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("chunk", [512, None])
@pytest.mark.parametrize("shape", ["natural", "all the same", "a little over a chunk", "long"])
def test_rows_are_full_whatever_the_lengths(shape: str, chunk: int | None) -> None:
    rng = np.random.default_rng(1)
    lengths = {
        "natural": rng.lognormal(6, 1.2, 3000).astype(np.int64) + 2,
        "all the same": np.full(3000, 2458),
        "a little over a chunk": np.full(6000, 530),
        "long": rng.integers(20_000, 200_000, 60),
    }[shape]
    placed = pack(lengths, 4096, chunk)
    check(lengths, 4096, chunk, placed)
    assert lengths.sum() / (placed.rows * 4096) >= 0.99


def test_nothing_is_cut_that_fits() -> None:
    lengths = np.random.default_rng(1).lognormal(5, 1, 3000).astype(np.int64) + 2
    placed = pack(lengths[lengths <= 4096], 4096, 512)
    pieces = np.bincount(placed.document)
    assert (pieces > 1).mean() < 0.01
    assert lengths.sum() / (placed.rows * 4096) >= 0.99


def test_a_document_that_fills_its_chunks_and_a_rest_shares_the_last() -> None:
    placed = pack(np.array([25, 4, 10]), 30, 10, 0.5)
    assert list(zip(*(column.tolist() for column in placed[:5]), strict=True)) == [
        (0, 0, 0, 0, 25), (0, 25, 1, 0, 4), (1, 0, 2, 0, 10),
    ]  # fmt: skip


def test_rows_that_are_no_whole_chunks_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be cut into chunks of 7"):
        pack(np.array([3]), 20, 7)
