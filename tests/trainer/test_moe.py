"""Experts: definition, dispatch and its repair, balance, and what is told about them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.lively import lively
from trainer.models import moe

quick = settings(max_examples=20, deadline=None)


def inputs(tokens: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def choices(tokens: int, experts: int, active: int, seed: int) -> Tensor:
    """Any sets of experts (T, K)."""
    return moe.top(torch.rand(tokens, experts, generator=torch.Generator().manual_seed(seed)), active)


sizes = st.tuples(st.integers(1, 12), st.integers(3, 9), st.integers(1, 3), st.integers(0, 999))


@quick
@given(sizes, st.booleans())
def test_experts_are_their_definition(size: tuple[int, int, int, int], biased: bool) -> None:
    tokens, experts, active, seed = size
    layer = lively(moe.MoE(6, 5, experts, active, biased=biased), seed)
    x = inputs(tokens, 6, seed).requires_grad_()
    given_guess = moe.prepare(choices(tokens, experts, active, seed))
    naive, weight = moe.moe_naive(layer, x), inputs(tokens, 6, seed + 1)
    wanted = [x, layer.router.gate.weight, layer.experts.gate_up_EDF, layer.experts.down_EFD]
    expected = torch.autograd.grad(naive, wanted, weight)
    for guess in (None, given_guess):
        ours = layer(x, guess)[0]
        torch.testing.assert_close(ours, naive, rtol=0, atol=1e-12)
        for a, b in zip(torch.autograd.grad(ours, wanted, weight), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@quick
@given(sizes)
def test_every_pair_is_dispatched_once(size: tuple[int, int, int, int]) -> None:
    tokens, experts, active, seed = size
    chosen = choices(tokens, experts, active, seed)
    plan = moe.dispatch(chosen, experts)
    assert plan.ends_E.dtype == torch.int32 and plan.ends_E[-1] == tokens * active
    done = []
    for expert, (start, end) in enumerate(zip([0, *plan.ends_E[:-1].tolist()], plan.ends_E.tolist(), strict=True)):
        run = plan.token_S[start:end].tolist()
        assert run == sorted(run)
        done += [(token, expert) for token in run]
    assert sorted(done) == [(token, expert) for token in range(tokens) for expert in chosen[token].tolist()]
    assert torch.equal(plan.slot_S[plan.place_TK.flatten()], torch.arange(tokens * active))
    assert torch.equal(plan.slot_S // active, plan.token_S)
    assert torch.equal(chosen.flatten()[plan.slot_S], torch.tensor([expert for _, expert in done]))


@quick
@given(sizes, st.floats(0, 1))
def test_a_repaired_guess_is_the_plan(size: tuple[int, int, int, int], right: float) -> None:
    tokens, experts, active, seed = size
    chosen, other = choices(tokens, experts, active, seed), choices(tokens, experts, active, seed + 1)
    guessed = torch.where(torch.rand(tokens, 1, generator=torch.Generator().manual_seed(seed)) < right, chosen, other)
    for guess in (guessed, chosen, other):
        repaired = moe.repair(moe.prepare(guess), chosen, experts)
        for ours, fresh in zip(repaired, moe.dispatch(chosen, experts), strict=True):
            assert torch.equal(ours, fresh) and ours.dtype == fresh.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_is_the_loop_to_the_bit(dtype: torch.dtype) -> None:
    ends = torch.tensor([0, 5, 5, 6, 17, 17], dtype=torch.int32)
    x, w = inputs(17, 16).to(dtype), inputs(6 * 16, 24, 1).view(6, 16, 24).to(dtype)
    results = []
    for product in (moe.grouped, moe.grouped_loop):
        a, b = x.clone().requires_grad_(), w.clone().requires_grad_()
        out = product(a, b, ends)
        out.backward(inputs(17, 24, 2).to(dtype))
        results.append((out, a.grad, b.grad))
    assert all(torch.equal(kernel, loop) for kernel, loop in zip(*results, strict=True))


def test_shapes_and_types_without_a_kernel_take_the_loop() -> None:
    w = torch.zeros(2, 16, 24)
    assert not moe.has_kernel(torch.zeros(3, 16).double(), w.double())
    assert not moe.has_kernel(torch.zeros(3, 5), torch.zeros(2, 5, 7))
    assert moe.has_kernel(torch.zeros(3, 16, device="meta", dtype=torch.bfloat16), w) == hasattr(F, "grouped_mm")


def test_a_token_gets_the_same_whoever_comes_along() -> None:
    layer, x = lively(moe.MoE(6, 5, 8, 2)), inputs(30, 6)
    together, routing, _ = layer(x)
    for some in (slice(0, 1), slice(7, 19), slice(29, 30)):
        torch.testing.assert_close(layer(x[some])[0], together[some], rtol=0, atol=1e-12)
    chance = routing.logits_TE.softmax(-1).gather(-1, routing.experts_TK)
    torch.testing.assert_close(routing.weights_TK, chance / chance.sum(-1, keepdim=True))


def test_the_bias_counts_for_the_choice_alone() -> None:
    layer, x = lively(moe.MoE(6, 5, 8, 2, biased=True)), inputs(30, 6)
    with torch.no_grad():
        layer.router.bias.copy_(torch.tensor([50.0, 40.0, 0, 0, 0, 0, 0, 0]))
    routing = layer.router(x)
    assert torch.equal(routing.experts_TK, torch.tensor([[0, 1]]).expand(30, 2))
    torch.testing.assert_close(routing.weights_TK, routing.logits_TE[:, :2].softmax(-1))


def test_losses_are_their_formulas_over_the_tokens_that_count() -> None:
    layer, x = lively(moe.MoE(6, 5, 8, 2)), inputs(30, 6)
    counted = torch.arange(30) < 20
    routing, few = layer.router(x), layer.router(x[:20])
    share = moe.load(routing.experts_TK, 8, counted)
    torch.testing.assert_close(share.double(), few.experts_TK.flatten().bincount(minlength=8) / 40, check_dtype=False)
    expected = 8 * (share * few.logits_TE.softmax(-1).mean(0)).sum()
    torch.testing.assert_close(moe.balance_loss(routing, share, counted), expected)
    torch.testing.assert_close(moe.z_loss(routing, counted), few.logits_TE.exp().sum(-1).log().square().mean())
    torch.testing.assert_close(moe.entropy(routing, counted), moe.entropy(few, None))
    logits = inputs(30, 8)
    both = [logits[t].log_softmax(-1)[e] for t in range(20) for e in few.experts_TK[t]]
    torch.testing.assert_close(moe.predictor_loss(logits, routing.experts_TK, counted), -torch.stack(both).mean())
    even = moe.Routing(torch.zeros(4, 8), torch.arange(8).view(4, 2), torch.full((4, 2), 0.5))
    torch.testing.assert_close(moe.balance_loss(even, moe.load(even.experts_TK, 8, None), None), torch.tensor(1.0))
    torch.testing.assert_close(moe.entropy(even, None), torch.tensor(1.0))


def test_the_balance_loss_is_felt_by_the_router_and_the_bias_loss_by_the_bias_alone() -> None:
    layer, x = lively(moe.MoE(6, 5, 8, 2, biased=True)), inputs(30, 6).requires_grad_()
    routing = layer.router(x)
    share = moe.load(routing.experts_TK, 8, None)
    felt = torch.autograd.grad(moe.balance_loss(routing, share, None), [x, layer.router.gate.weight], retain_graph=True)
    assert all(gradient.any() for gradient in felt)
    moe.bias_loss(layer.router.bias, share).backward()
    torch.testing.assert_close(layer.router.bias.grad, (8 * share - 1).double())
    assert x.grad is None and layer.router.gate.weight.grad is None


def test_biases_learn_to_even_the_load() -> None:
    layer, x = lively(moe.MoE(6, 5, 8, 2, biased=True)), inputs(600, 6)
    layer.router.reset(torch.Generator())
    optimizer = torch.optim.Adam([layer.router.bias], lr=0.002)
    loads = []
    for _ in range(80):
        share = moe.load(layer.router(x).experts_TK, 8, None)
        loads.append(float(share.max()) * 8)
        optimizer.zero_grad()
        moe.bias_loss(layer.router.bias, share).backward()
        optimizer.step()
    assert loads[0] > 1.25 and loads[-1] < 1.05


def test_recall_is_the_share_of_chosen_experts_that_were_guessed() -> None:
    chosen, guessed = torch.tensor([[0, 1], [2, 5], [3, 4]]), torch.tensor([[0, 1], [5, 6], [0, 1]])
    assert moe.recall(guessed, chosen, None) == 0.5
    assert moe.recall(guessed, chosen, torch.tensor([True, True, False])) == 0.75


def test_taking_rows_has_the_gradient_of_indexing() -> None:
    plan, x = moe.dispatch(choices(7, 5, 2, 0), 5), inputs(7, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: moe._Rows.apply(x, plan.token_S, plan.place_TK), [x])
    pairs = inputs(14, 3).requires_grad_()
    take = plan.place_TK.flatten(), plan.slot_S[:, None]
    assert torch.autograd.gradcheck(lambda x: moe._Rows.apply(x, *take), [pairs])


def test_a_predictor_reads_and_does_not_touch() -> None:
    predictor, x = lively(moe.Predictor(6, 4, 8)), inputs(9, 6).requires_grad_()
    assert (predictor(x).sum() + 0 * x.sum()).backward() is None
    assert not x.grad.any()
