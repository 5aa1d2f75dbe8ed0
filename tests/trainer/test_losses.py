"""Losses and advantages against hand-worked figures and naive twins."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainer.align.advantage import (
    KlController,
    generalised_advantages,
    group_advantages,
    token_rewards,
    whitened,
)
from trainer.align.losses import (
    calibration_error,
    clipped_surrogate,
    dpo_loss,
    fit_temperature,
    k3_divergence,
    ranking_loss,
    value_loss,
)
from trainer.kernels import loss as kernel
from trainer.kernels.loss import (
    IGNORED,
    linear_cross_entropy,
    linear_cross_entropy_naive,
    token_log_probabilities,
)

F64 = torch.float64


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@pytest.mark.parametrize("part", [1, 7, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunked_cross_entropy_is_the_naive_one(part: int, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "PART_LOGITS", part * 11)
    targets = torch.tensor([3, IGNORED, 0, 10, 4, IGNORED, 9, 1])
    weights = drawn(3, 8).abs() if weighted else None
    found = []
    for function in (linear_cross_entropy, linear_cross_entropy_naive):
        hidden, weight = drawn(1, 8, 5).requires_grad_(), drawn(2, 11, 5).requires_grad_()
        loss = function(hidden, weight, targets, weights)
        (0.37 * loss).backward()
        found.append((loss.detach(), hidden.grad, weight.grad))
    for ours, naive in zip(*found, strict=True):
        torch.testing.assert_close(ours, naive, rtol=1e-12, atol=1e-12)
    assert not found[0][1][[1, 5]].any()


def test_log_probabilities_of_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "PART_LOGITS", 22)
    hidden, weight = drawn(1, 6, 5).requires_grad_(), drawn(2, 11, 5).requires_grad_()
    targets = torch.tensor([3, IGNORED, 0, 10, 4, 1])
    found = token_log_probabilities(hidden, weight, targets, temperature=0.7)
    wanted = torch.log_softmax(hidden @ weight.T / 0.7, dim=-1)
    for row, target in enumerate(targets.tolist()):
        assert math.isclose(float(found[row]), float(wanted[row, target]) if target >= 0 else 0.0, abs_tol=1e-12)
    grads = torch.autograd.grad(found.sum(), (hidden, weight))
    there = targets >= 0
    naive = torch.autograd.grad(wanted[there].gather(1, targets[there][:, None]).sum(), (hidden, weight))
    for ours, other in zip(grads, naive, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-12)


def test_ranking_loss_by_hand() -> None:
    chosen, rejected = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])
    assert math.isclose(float(ranking_loss(chosen, rejected)), math.log1p(math.exp(-1)) + math.log(2), rel_tol=1e-6)
    halved = ranking_loss(chosen, rejected, temperature=0.5, weight_P=torch.tensor([1.0, 0.0]))
    assert math.isclose(float(halved), math.log1p(math.exp(-2)), rel_tol=1e-6)
    behind = ranking_loss(chosen, rejected, margin_P=torch.tensor([1.0, 0.0]))
    assert math.isclose(float(behind), 2 * math.log(2), rel_tol=1e-6)
    both = torch.tensor([[2.0], [1.0]], requires_grad=True)
    ranking_loss(both[0], both[1]).backward()
    assert math.isclose(float(both.grad.sum()), 0.0, abs_tol=1e-7)  # a pair pulls its responses apart and no more


@given(st.integers(0, 1000), st.sampled_from([0.25, 1.0, 4.0]))
def test_temperature_of_differences_that_are_log_odds(seed: int, scale: float) -> None:
    odds = 2 * drawn(seed, 4000)
    won = torch.rand(4000, generator=torch.Generator().manual_seed(seed + 1), dtype=F64) < torch.sigmoid(odds)
    difference = torch.where(won, odds, -odds) * scale
    assert fit_temperature(difference) == pytest.approx(scale, rel=0.25)
    fitted = fit_temperature(difference)
    assert calibration_error(difference, fitted) < 0.04
    if scale == 4.0:
        assert calibration_error(difference, 1.0) > calibration_error(difference, fitted)


def test_calibration_error_by_hand() -> None:
    even = torch.tensor([1e-12, -1e-12] * 50)
    assert calibration_error(even) < 1e-6  # one half sure, right half of the time
    sure = torch.tensor([10.0, -10.0] * 50)
    assert calibration_error(sure) == pytest.approx(0.5, abs=1e-3)
    assert fit_temperature(-torch.rand(10)) > 1e3  # what is always wrong gets no confidence at all


def test_surrogate_by_hand() -> None:
    old = torch.zeros(1, 4)
    new = torch.tensor([[math.log(1.5), math.log(1.5), math.log(0.5), 5.0]])
    advantage = torch.tensor([[1.0, -1.0, -1.0, 9.0]])
    mask = torch.tensor([[True, True, True, False]])
    found = clipped_surrogate(new, old, advantage, mask, clip=0.2)
    assert float(found.loss) == pytest.approx(-1.2 + 1.5 + 0.8, rel=1e-6)
    assert int(found.clipped) == 2
    kl = sum(r - 1 - math.log(r) for r in (1.5, 1.5, 0.5))
    assert float(found.kl) == pytest.approx(kl, rel=1e-6)
    start = new.clone().requires_grad_()
    clipped_surrogate(start, start.detach(), advantage, mask, 0.2).loss.backward()
    assert start.grad.tolist() == [[-1.0, 1.0, 1.0, 0.0]]  # at ratio 1 it is the policy gradient; padding has none


def test_value_loss_by_hand() -> None:
    new, old, wanted = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    mask = torch.tensor([[True, False]])
    assert float(value_loss(new, old, wanted, mask, None)) == 0.5
    assert float(value_loss(new, old, wanted, mask, 0.2)) == pytest.approx(0.5 * 1.8**2)


def test_dpo_by_hand() -> None:
    zero = torch.zeros(3)
    loss, ahead = dpo_loss(zero, zero, zero, zero, beta=0.1)
    assert float(loss) == pytest.approx(3 * math.log(2)) and not ahead.any()
    loss, ahead = dpo_loss(torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([1.0]), 0.5)
    assert float(ahead) == pytest.approx(1.5) and float(loss) == pytest.approx(math.log1p(math.exp(-1.5)))


def test_k3_is_never_negative_and_means_kl() -> None:
    p = torch.softmax(drawn(1, 6), 0)
    q = torch.softmax(drawn(2, 6), 0)
    each = torch.stack([k3_divergence(a.reshape(1, 1), b.reshape(1, 1), torch.ones(1, 1, dtype=torch.bool))
                        for a, b in zip(p.log(), q.log(), strict=True)])  # fmt: skip
    assert (each >= 0).all()
    assert float((p * each).sum()) == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-9)


def naive_advantages(rewards: list[float], values: list[float], gamma: float, smoothing: float) -> list[float]:
    """By the sum of the definition, token by token."""
    deltas = [r + gamma * (values[t + 1] if t + 1 < len(values) else 0.0) - values[t] for t, r in enumerate(rewards)]
    return [
        sum((gamma * smoothing) ** (later - t) * deltas[later] for later in range(t, len(deltas)))
        for t in range(len(deltas))
    ]


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from([1.0, 0.9]), st.sampled_from([0.0, 0.95, 1.0])
)
def test_generalised_advantages(lengths: list[int], gamma: float, smoothing: float) -> None:
    rows, longest = len(lengths), max(lengths)
    mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    rewards, values = drawn(1, rows, longest), drawn(2, rows, longest)
    found, returns = generalised_advantages(rewards, values, mask, gamma, smoothing)
    for row, length in enumerate(lengths):
        wanted = naive_advantages(rewards[row, :length].tolist(), values[row, :length].tolist(), gamma, smoothing)
        assert found[row, :length].tolist() == pytest.approx(wanted)
        assert returns[row, :length].tolist() == pytest.approx(
            (torch.tensor(wanted, dtype=F64) + values[row, :length]).tolist()
        )
        assert not found[row, length:].any() and not returns[row, length:].any()


def test_token_rewards_by_hand() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    new, reference = torch.full((2, 3), -1.0), torch.full((2, 3), -3.0)
    found = token_rewards(torch.tensor([5.0, 7.0]), new, reference, mask, beta=0.1)
    assert torch.allclose(found, torch.tensor([[-0.2, 4.8, 0.0], [-0.2, -0.2, 6.8]]))


def test_whitened() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    found = whitened(drawn(1, 2, 3), mask)
    inside = found[mask]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-9) and float((inside**2).mean()) == pytest.approx(
        1, rel=1e-5
    )
    assert not found[~mask].any()


def test_group_advantages_by_hand() -> None:
    score, group = torch.tensor([1.0, 3.0, 5.0, 5.0]), torch.tensor([0, 0, 1, 1])
    assert group_advantages(score, group, scale=False).tolist() == [-1.0, 1.0, 0.0, 0.0]
    assert group_advantages(score, group).tolist() == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=1e-4)


def test_the_controller_moves_towards_its_target_within_bounds() -> None:
    controller = KlController(0.05, target=2.0, horizon=100, low=0.01, high=0.1)
    controller.update(2.0, 10)
    assert controller.coefficient == 0.05
    controller.update(9.0, 10)
    assert controller.coefficient == pytest.approx(0.05 * 1.02)
    for _ in range(1000):
        controller.update(9.0, 10)
    assert controller.coefficient == 0.1
    for _ in range(1000):
        controller.update(0.0, 10)
    assert controller.coefficient == 0.01
    fixed = KlController(0.05, None, 100, 0.01, 0.1)
    fixed.update(9.0, 10)
    assert fixed.coefficient == 0.05
