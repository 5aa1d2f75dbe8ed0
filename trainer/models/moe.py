"""A mixture of experts: router, dispatch, experts, balance, and the prediction of routing.

Shapes: T tokens (of all rows), D width, E experts, K experts a token, S = T·K pairs of a token and an expert, sorted by
expert and then by token, F hidden width of an expert.

Token choice, dropless: each token goes to exactly K experts (Shazeer et al., 2017, arXiv 1701.06538; top-2 as in
GShard, Lepikhin et al., 2020, arXiv 2006.16668), the pairs are sorted by expert and each expert multiplies its run of
rows (Gale et al., 2022, arXiv 2211.15841).  No token looks at another one: what it gets depends on itself only.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.models.common import Linear, RMSNorm, residual

SHORT = 4  # rows from which on a product on a CPU has the same bits in each row, however many there are
BIAS_GAIN = 30.0
"""What a unit of bias adds to its expert's logit: learning rates suit weights of hundredths, logits are larger."""


class Routing(NamedTuple):
    """What a router decides about each token."""

    logits_TE: Tensor
    experts_TK: Tensor
    """Chosen experts, in growing order."""
    weights_TK: Tensor
    """Their shares of the output: the softmax over all experts, renormalised over the chosen ones."""


class Router(nn.Module):
    """Top-k of a linear layer in fp32 (at least), with a balancing bias that counts for the choice alone."""

    def __init__(self, width: int, experts: int, active: int, *, biased: bool = False) -> None:
        super().__init__()
        self.active = active
        self.gate = Linear(width, experts)
        self.bias = nn.Parameter(torch.zeros(experts)) if biased else None

    def reset(self, generator: torch.Generator) -> None:
        """Every expert starts with the same chance."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x_TD: Tensor, guess: Guess | None = None) -> Routing:
        logits_TE = self.gate(x_TD.to(torch.promote_types(x_TD.dtype, torch.float32)))
        scores_TE = logits_TE.detach()
        if self.bias is not None:
            scores_TE = scores_TE + BIAS_GAIN * self.bias.detach()
        experts_TK = top(scores_TE, self.active) if guess is None else top_of(scores_TE, guess.experts_TK)
        return Routing(logits_TE, experts_TK, logits_TE.gather(-1, experts_TK).softmax(-1))


def top(scores_TE: Tensor, active: int) -> Tensor:
    """The ``active`` best experts of every token, in growing order (T, K); of equal ones the first."""
    best: list[Tensor] = []
    for _ in range(active):
        best.append(scores_TE.argmax(-1, keepdim=True))
        scores_TE = scores_TE.scatter(-1, best[-1], -math.inf)
    return torch.cat(best, -1).sort(-1).values


def top_of(scores_TE: Tensor, guessed_TK: Tensor) -> Tensor:
    """``top``, exactly, where a guess is at hand: to check it is less work than to search, which is left for misses."""
    others_T = scores_TE.scatter(-1, guessed_TK, -math.inf).amax(-1)
    wrong_M = (scores_TE.gather(-1, guessed_TK).amin(-1) <= others_T).nonzero()[:, 0]
    return guessed_TK.index_copy(0, wrong_M, top(scores_TE[wrong_M], guessed_TK.shape[1]))


class Plan(NamedTuple):
    """Where every pair of a token and an expert goes."""

    token_S: Tensor
    """The token of each pair, in sorted order."""
    slot_S: Tensor
    """K · token + the number of the expert among the token's own."""
    place_TK: Tensor
    """The inverse of ``slot_S``."""
    ends_E: Tensor
    """Where each expert's run of pairs ends (int32)."""


class Guess(NamedTuple):
    """Experts expected before their router has spoken, and their pairs in order."""

    experts_TK: Tensor
    keys_S: Tensor


def dispatch(experts_TK: Tensor, experts: int) -> Plan:
    """Sort the pairs by expert, then by token."""
    return _plan(_keys(experts_TK).flatten().sort().values, experts_TK, experts)


def prepare(experts_TK: Tensor) -> Guess:
    """Sort guessed pairs ahead of time."""
    return Guess(experts_TK, _keys(experts_TK).flatten().sort().values)


def repair(guess: Guess, experts_TK: Tensor, experts: int) -> Plan:
    """``dispatch(experts_TK)``, exactly, from a guess: pairs of wrong tokens are taken out, the right ones merged in.

    A plan depends on the set of pairs alone, so a right guess needs no sorting and a wrong one sorts only its misses.
    """
    right_T = (experts_TK == guess.experts_TK).all(-1)
    kept = guess.keys_S[right_T[guess.keys_S % experts_TK.numel() // experts_TK.shape[1]]]
    moved = _keys(experts_TK)[~right_T].flatten().sort().values
    keys_S = torch.empty_like(guess.keys_S)
    at_moved = torch.arange(len(moved), device=moved.device) + torch.searchsorted(kept, moved)
    taken_S = torch.ones_like(keys_S, dtype=torch.bool).index_fill(0, at_moved, False)
    keys_S[at_moved], keys_S[taken_S] = moved, kept
    return _plan(keys_S, experts_TK, experts)


def _keys(experts_TK: Tensor) -> Tensor:
    """Pairs as single numbers whose order is by expert, then by token (T, K)."""
    pairs = experts_TK.numel()
    return experts_TK * pairs + torch.arange(pairs, device=experts_TK.device).view_as(experts_TK)


def _plan(keys_S: Tensor, experts_TK: Tensor, experts: int) -> Plan:
    pairs, active = experts_TK.numel(), experts_TK.shape[1]
    slot_S, steps_S = keys_S % pairs, torch.arange(pairs, device=keys_S.device)
    place_TK = torch.empty_like(slot_S).scatter(0, slot_S, steps_S).view_as(experts_TK)
    starts_E = pairs * torch.arange(1, experts + 1, device=keys_S.device)
    return Plan(slot_S // active, slot_S, place_TK, torch.searchsorted(keys_S, starts_E).to(torch.int32))


class _Rows(torch.autograd.Function):
    """``x[index]`` whose gradient is a gather too: row i of ``x`` was taken to the places ``inverse[i]``.

    No atomic additions: the same bits every time.
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, index_M: Tensor, inverse_NJ: Tensor) -> Tensor:
        ctx.save_for_backward(inverse_NJ)
        return x_ND[index_M]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (inverse_NJ,) = ctx.saved_tensors
        return grads[0][inverse_NJ].sum(1), None, None


class Experts(nn.Module):
    """SwiGLU experts (Shazeer, 2020, arXiv 2002.05202) over sorted rows; gate and up are one product."""

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.gate_up_EDF = nn.Parameter(torch.empty(experts, width, 2 * hidden))
        self.down_EFD = nn.Parameter(torch.empty(experts, hidden, width))

    def reset(self, generator: torch.Generator) -> None:
        """As ``init_weights`` fills matrices; on the CPU and in fp32, so that every device starts alike."""
        branches = 2 * getattr(self, "residual_layers", 0.5)
        for weight, scale in ((self.gate_up_EDF, 1.0), (self.down_EFD, branches**-0.5)):
            deviation = min(0.02, weight.shape[1] ** -0.5) * scale
            with torch.no_grad():
                weight.copy_(torch.empty(weight.shape).normal_(0.0, deviation, generator=generator))

    def forward(self, x_TD: Tensor, weights_TK: Tensor, plan: Plan) -> Tensor:
        tokens, active = weights_TK.shape
        x_SD = _Rows.apply(x_TD, plan.token_S, plan.place_TK)
        gate_SF, up_SF = grouped(x_SD, self.gate_up_EDF.to(x_SD.dtype), plan.ends_E).chunk(2, dim=-1)
        out_SD = grouped(F.silu(gate_SF) * up_SF, self.down_EFD.to(x_SD.dtype), plan.ends_E)
        out_TKD = _Rows.apply(out_SD, plan.place_TK.flatten(), plan.slot_S[:, None]).view(tokens, active, -1)
        return (out_TKD * weights_TK[..., None]).sum(1).to(x_TD.dtype)

    def steady(self, x_TD: Tensor, weights_TK: Tensor, plan: Plan) -> Tensor:
        """``forward`` without gradients whose rows do not depend on each other by a single bit.

        On a CPU a run of 1 to 3 rows is multiplied by another kernel, which rounds otherwise, than longer ones: such
        runs are filled up to 4.
        """
        pairs_S = torch.arange(len(plan.token_S), device=x_TD.device)
        sizes_E = plan.ends_E.diff(prepend=plan.ends_E.new_zeros(1))
        ends_E = torch.where(sizes_E > 0, sizes_E.clamp(min=SHORT), 0).cumsum(0, dtype=torch.int32)
        expert_S = torch.searchsorted(plan.ends_E, pairs_S.to(torch.int32), right=True)
        place_S = pairs_S + ((ends_E - sizes_E.clamp(min=SHORT)) - (plan.ends_E - sizes_E))[expert_S]
        token_M = place_S.new_zeros(int(ends_E[-1])).index_copy(0, place_S, plan.token_S)
        gate_MF, up_MF = grouped(x_TD[token_M], self.gate_up_EDF.to(x_TD.dtype), ends_E).chunk(2, dim=-1)
        out_MD = grouped(F.silu(gate_MF) * up_MF, self.down_EFD.to(x_TD.dtype), ends_E)
        out_TKD = out_MD[place_S[plan.place_TK]]
        return (out_TKD * weights_TK[..., None]).sum(1).to(x_TD.dtype)


def grouped(x_SD: Tensor, w_EDF: Tensor, ends_E: Tensor) -> Tensor:
    """Each run of rows times the matrix of its expert (S, F): one kernel where there is one, else a loop."""
    if has_kernel(x_SD, w_EDF):
        return F.grouped_mm(x_SD, w_EDF, offs=ends_E)
    return grouped_loop(x_SD, w_EDF, ends_E)


def has_kernel(x_SD: Tensor, w_EDF: Tensor) -> bool:
    """Whether ``grouped_mm`` takes these: rows of whole 16 bytes, and a type that the device's kernel knows."""
    release = tuple(int(part) for part in torch.__version__.split(".")[:2])
    whole = all(width * x_SD.dtype.itemsize % 16 == 0 for width in w_EDF.shape[1:])
    if not whole or not hasattr(F, "grouped_mm"):
        return False
    if x_SD.device.type == "cpu":
        return release >= (2, 13) and x_SD.dtype in (torch.float32, torch.bfloat16)
    return bool(x_SD.dtype == torch.bfloat16)


def grouped_loop(x_SD: Tensor, w_EDF: Tensor, ends_E: Tensor) -> Tensor:
    """``grouped`` one expert at a time, to the same bits."""
    ends = ends_E.tolist()
    runs = zip([0, *ends[:-1]], ends, w_EDF.unbind(0), strict=True)
    return torch.cat([x_SD[start:end] @ w_DF for start, end, w_DF in runs if end > start])


class MoE(nn.Module):
    """Router and experts."""

    def __init__(
        self, width: int, hidden: int, experts: int, active: int, layers: int = 1, *, biased: bool = False
    ) -> None:
        super().__init__()
        self.router = Router(width, experts, active, biased=biased)
        self.experts = residual(Experts(width, hidden, experts), layers)

    def forward(
        self, x_TD: Tensor, guess: Guess | None = None, *, steady: bool = False
    ) -> tuple[Tensor, Routing, Plan]:
        """The output, and how it came about; it is the same with any ``guess``.

        ``steady`` asks, for inference on a CPU, that rows do not depend on each other by a single bit.
        """
        routing, plan = self.route(x_TD, guess)
        experts = self.experts.steady if steady and x_TD.device.type == "cpu" else self.experts
        return experts(x_TD, routing.weights_TK, plan), routing, plan

    def route(self, x_TD: Tensor, guess: Guess | None = None) -> tuple[Routing, Plan]:
        """What the experts wait for; ``guess`` changes only how much is left to do."""
        if guess is None or x_TD.is_meta:  # without values there is nothing to compare a guess with
            routing = self.router(x_TD)
            return routing, dispatch(routing.experts_TK, routing.logits_TE.shape[-1])
        routing = self.router(x_TD, guess)
        return routing, repair(guess, routing.experts_TK, routing.logits_TE.shape[-1])


def moe_naive(moe: MoE, x_TD: Tensor) -> Tensor:
    """The definition, one token at a time."""
    out = []
    for x_D in x_TD:
        logits_E = moe.router.gate.weight @ x_D
        scores = (logits_E if moe.router.bias is None else logits_E + BIAS_GAIN * moe.router.bias).tolist()
        chosen = sorted(range(len(scores)), key=scores.__getitem__)[-moe.router.active :]
        shares_E = logits_E.softmax(0)
        out_D = torch.zeros_like(x_D)
        for e in chosen:
            gate_F, up_F = (x_D @ moe.experts.gate_up_EDF[e]).chunk(2)
            out_D = out_D + shares_E[e] / shares_E[chosen].sum() * (F.silu(gate_F) * up_F @ moe.experts.down_EFD[e])
        out.append(out_D)
    return torch.stack(out)


class Predictor(nn.Module):
    """Guesses a router's choice from the input of an earlier block.

    It learns from a loss of its own; what it reads is detached, so that the model never feels it.
    """

    def __init__(self, width: int, hidden: int, experts: int) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.inner = Linear(width, hidden)
        self.outer = Linear(hidden, experts)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Logits (T, E)."""
        logits_TE: Tensor = self.outer(F.silu(self.inner(self.norm(x_TD.detach()))))
        return logits_TE


def load(experts_TK: Tensor, experts: int, counted_T: Tensor | None) -> Tensor:
    """Share of each expert among the pairs of the tokens that count (E,)."""
    taken_TE = torch.zeros(len(experts_TK), experts, device=experts_TK.device).scatter(1, experts_TK, 1.0)
    if counted_T is not None:
        taken_TE = taken_TE * counted_T[:, None]
    share_E = taken_TE.sum(0)
    return share_E / share_E.sum().clamp_min(1.0)


def mean(values_T: Tensor, counted_T: Tensor | None) -> Tensor:
    """Mean over the tokens that count, along the first dimension."""
    if counted_T is None:
        return values_T.mean(0)
    weights_T = counted_T.to(values_T.dtype)
    return torch.tensordot(weights_T, values_T, dims=1) / weights_T.sum().clamp_min(1.0)


def balance_loss(routing: Routing, share_E: Tensor, counted_T: Tensor | None) -> Tensor:
    """E · Σ f·p, 1 when the load is even (Fedus et al., 2021, arXiv 2101.03961, eq. 4; GShard's auxiliary loss)."""
    chance_E = mean(routing.logits_TE.softmax(-1), counted_T)
    return len(share_E) * (share_E.to(chance_E.dtype) * chance_E).sum()


def z_loss(routing: Routing, counted_T: Tensor | None) -> Tensor:
    """Mean of the squared log-partition, which keeps the logits small (Zoph et al., 2022, arXiv 2202.08906, eq. 5)."""
    return mean(routing.logits_TE.logsumexp(-1).square(), counted_T)


def bias_loss(bias_E: Tensor, share_E: Tensor) -> Tensor:
    """A loss whose gradient by the bias is the relative overload of each expert, and nothing else's gradient.

    Under Adam it moves the biases by the sign of the overload, which is the balancing without an auxiliary loss of
    Wang et al., 2024 (arXiv 2408.15664), with no state besides the optimizer's: gradients that are accumulated or
    averaged over devices give the load of the whole batch.
    """
    return (bias_E * (len(share_E) * share_E - 1.0).to(bias_E.dtype)).sum()


def predictor_loss(logits_TE: Tensor, experts_TK: Tensor, counted_T: Tensor | None) -> Tensor:
    """Cross-entropy of the guess with the chosen set, each of its experts in equal parts."""
    wide = torch.promote_types(logits_TE.dtype, torch.float32)
    return -mean(logits_TE.log_softmax(-1, dtype=wide).gather(-1, experts_TK).mean(-1), counted_T)


def recall(guessed_TK: Tensor, experts_TK: Tensor, counted_T: Tensor | None) -> Tensor:
    """Share of the chosen experts that were guessed."""
    found_TK = (experts_TK[:, :, None] == guessed_TK[:, None, :]).any(-1)
    return mean(found_TK.float().mean(-1), counted_T)


def entropy(routing: Routing, counted_T: Tensor | None) -> Tensor:
    """Mean entropy of the router's softmax, as a share of log E."""
    shares_TE = routing.logits_TE.detach().softmax(-1)
    return mean(torch.special.entr(shares_TE).sum(-1), counted_T) / math.log(shares_TE.shape[-1])
