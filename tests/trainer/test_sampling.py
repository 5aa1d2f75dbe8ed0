"""Drawing tokens: the counter is SplitMix64, draws follow the softmax, restrictions are what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.config import from_dict
from trainer.errors import ConfigError
from trainer.infer.sampling import Sampling, choose, gumbel, log_probabilities, nth, restricted, row_seeds

quick = settings(max_examples=60, deadline=None)
MASK = (1 << 64) - 1


def splitmix(state: int, count: int) -> list[int]:
    """As its authors wrote it: a state that grows, and a finaliser."""
    out = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        out.append(z ^ (z >> 31))
    return out


def test_the_counter_gives_the_published_numbers() -> None:
    """Those of the reference program for the seed 1234567."""
    numbers = nth(torch.tensor(1234567), torch.arange(5))
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [int(n) & MASK for n in numbers] == expected


@quick
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(1, 40))
def test_the_counter_is_splitmix(seed: int, count: int) -> None:
    numbers = nth(torch.tensor(seed), torch.arange(count))
    assert [int(n) & MASK for n in numbers] == splitmix(seed & MASK, count)


def test_seeds_of_rows_take_in_one_after_the_other() -> None:
    seeds = row_seeds(-5, [0, 7, (1 << 64) - 1], [2, 0, 1])
    for got, (key, sample) in zip(seeds.tolist(), ((0, 2), (7, 0)), strict=False):
        inner = splitmix(-5 & MASK, key + 1)[-1]
        assert got & MASK == splitmix(inner, sample + 1)[-1]
    assert len(set(row_seeds(1, [k for k in range(50) for _ in range(50)], list(range(50)) * 50).tolist())) == 2500


def uniform(noise: Tensor) -> np.ndarray:
    return torch.exp(-torch.exp(-noise)).numpy()


def chi_square(counts: np.ndarray) -> float:
    """Deviations from evenness, in standard deviations of the statistic."""
    expected = counts.sum() / counts.size
    degrees = counts.size - 1
    return float((((counts - expected) ** 2 / expected).sum() - degrees) / math.sqrt(2 * degrees))


@pytest.mark.parametrize("neighbour", ["seed", "key", "sample", "position", "entry"])
def test_noise_is_even_and_neighbours_know_nothing_of_each_other(neighbour: str) -> None:
    """Counts of pairs in a grid of 16 by 16: even, within 5 deviations."""
    shifts = {name: int(name == neighbour) for name in ("seed", "key", "sample", "position", "entry")}
    pairs = []
    for on in (0, 1):
        shift = {name: on * by for name, by in shifts.items()}
        keys = [key + shift["key"] for key in range(10) for _ in range(10)]
        samples = [sample + shift["sample"] for _ in range(10) for sample in range(10)]
        seeds = row_seeds(3 + shift["seed"], keys, samples)
        noise = gumbel(seeds, torch.arange(100) % 7 * 2 + shift["position"], 1001)
        pairs.append(uniform(noise)[:, shift["entry"] : 1000 + shift["entry"]].ravel())
    first, second = ((16 * each).astype(int) for each in pairs)
    assert abs(chi_square(np.bincount(first, minlength=16))) < 5
    assert abs(chi_square(np.bincount(16 * first + second, minlength=256))) < 5


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 0.5, -4.0, 1.0])
    count = 40_000
    for sampling in (Sampling(), Sampling(temperature=0.5), Sampling(temperature=1.7, top_k=4), Sampling(top_p=0.8)):
        seeds = row_seeds(11, list(range(count)), [0] * count)
        drawn = choose(logits.expand(count, -1), sampling, seeds, torch.full((count,), 3))
        chances = restricted_naive(logits / sampling.temperature, sampling.top_k, sampling.top_p)
        counts = np.bincount(drawn.numpy(), minlength=6)
        for entry, chance in enumerate(chances):
            deviation = math.sqrt(count * chance * (1 - chance))
            assert abs(counts[entry] - count * chance) <= 5 * deviation, (sampling, entry)


def restricted_naive(logits: Tensor, top_k: int | None, top_p: float) -> list[float]:
    """Chances after both restrictions, one entry at a time."""
    order = sorted(range(len(logits)), key=lambda entry: (-float(logits[entry]), entry))[: top_k or len(logits)]
    weights = [math.exp(float(logits[entry]) - float(logits.max())) for entry in order]
    total, kept, reached = sum(weights), [], 0.0
    for entry, weight in zip(order, weights, strict=True):
        if kept and reached >= top_p:
            break
        kept.append((entry, weight))
        reached += weight / total
    chances = [0.0] * len(logits)
    for entry, weight in kept:
        chances[entry] = weight / sum(w for _, w in kept)
    return chances


@quick
@given(
    st.lists(st.sampled_from([-3.0, -1.0, 0.0, 0.25, 2.0, 2.5]), min_size=1, max_size=12),
    st.none() | st.integers(1, 13),
    st.sampled_from([0.0, 0.11, 0.37, 0.5001, 0.83, 0.97, 1.0]),
)
def test_restrictions_are_what_they_say(logits: list[float], top_k: int | None, top_p: float) -> None:
    """Ties abound: of equal entries the first stay."""
    logits_1V = torch.tensor([logits], dtype=torch.float64)
    chances = restricted(logits_1V, top_k, top_p).softmax(-1)[0]
    expected = restricted_naive(logits_1V[0], top_k, top_p)
    torch.testing.assert_close(chances, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_greedy_takes_the_first_of_the_greatest() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0], [5.0, 5.0, 1.0], [-1.0, -2.0, -0.5]])
    zeros = torch.zeros(3, dtype=torch.int64)
    assert choose(logits, Sampling(temperature=0), zeros, zeros).tolist() == [1, 0, 2]


def test_a_draw_does_not_know_its_neighbours() -> None:
    logits = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))
    seeds, positions = row_seeds(4, list(range(9)), [1] * 9), torch.arange(9)
    together = choose(logits, Sampling(top_p=0.9), seeds, positions)
    for row in range(9):
        one = slice(row, row + 1)
        assert choose(logits[one], Sampling(top_p=0.9), seeds[one], positions[one]) == together[row]
    assert not torch.equal(
        choose(logits, Sampling(), seeds, positions), choose(logits, Sampling(), seeds, positions + 1)
    )


def test_log_probabilities_are_of_the_whole_softmax() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])
    got = log_probabilities(logits, torch.tensor([1, 0]))
    torch.testing.assert_close(got, torch.tensor([0.75, 0.5]).log())


@pytest.mark.parametrize(
    "given", [{"temperature": -0.1}, {"temperature": 3}, {"top_p": 1.5}, {"top_k": 0}, {"new_tokens": 0}]
)
def test_what_is_out_of_range_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"/{next(iter(given))}"):
        from_dict(Sampling, given)
