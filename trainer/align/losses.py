"""Losses of alignment, each a sum over what has a loss, so that the caller divides by the number of the whole step.

Shapes: P pairs, B responses, T tokens of a response.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def ranking_loss(
    chosen_P: Tensor, rejected_P: Tensor, temperature: Tensor | float = 1.0, margin_P: Tensor | None = None,
    weight_P: Tensor | None = None, centring: float = 0.0,
) -> Tensor:  # fmt: skip
    """-log sigmoid((chosen - rejected - margin) / temperature), summed (Bradley and Terry, 1952; Ouyang et al., 2022).

    Args:
        temperature: above 0; fitted on what is held out it makes the difference a calibrated log-odds (Guo et al., On
            calibration of modern neural networks, 2017).
        margin_P: by how much the chosen one should be ahead.
        weight_P: 1 / C(k, 2) for the pairs of a ranking of k, so that each ranking counts once.
        centring: of the squared sum of both rewards, which keeps them around 0 (Eisenstein et al., 2023).
    """
    ahead_P = chosen_P - rejected_P if margin_P is None else chosen_P - rejected_P - margin_P
    loss_P = -F.logsigmoid(ahead_P / temperature) + centring * (chosen_P + rejected_P) ** 2
    return (loss_P if weight_P is None else loss_P * weight_P).sum()


def fit_temperature(difference_P: Tensor) -> float:
    """The temperature that makes differences of rewards on held-out pairs the best log-odds, by bisection.

    The likelihood of ``sigmoid(d / T)`` is log-concave in 1/T, so the zero of its slope is the maximum.
    """
    d_P = difference_P.double()

    def slope(inverse: float) -> float:
        return float((d_P * torch.sigmoid(-d_P * inverse)).sum())

    low, high = 1e-4, 1e4
    if slope(low) <= 0:
        return 1 / low  # length of differences says nothing, or the wrong thing
    if slope(high) > 0:
        return 1 / high
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return 1 / low


def calibration_error(difference_P: Tensor, temperature: float = 1.0, bins: int = 10) -> float:
    """Expected calibration error of ``sigmoid(d / T)`` as the probability that the chosen one is better.

    Each pair is taken as the model sees it, the response with the higher reward first: its confidence is above one
    half, and it is right if that one was chosen (Naeini et al., 2015; bins of equal counts).
    """
    confidence_P = torch.sigmoid(difference_P.double().abs() / temperature)
    right_P = (difference_P > 0).double() + 0.5 * (difference_P == 0).double()
    order = confidence_P.argsort(stable=True)
    error = 0.0
    for part in order.tensor_split(min(bins, max(1, order.numel()))):
        if part.numel():
            error += abs(float((confidence_P[part] - right_P[part]).mean())) * part.numel() / order.numel()
    return error


class Surrogate(NamedTuple):
    """PPO's loss and what it says of the step.

    Attributes:
        loss: summed.
        clipped: number of tokens whose ratio was clipped.
        kl: sum over tokens of the estimate of KL(old, new) that is never negative (Schulman's k3).
    """

    loss: Tensor
    clipped: Tensor
    kl: Tensor


def clipped_surrogate(new_BT: Tensor, old_BT: Tensor, advantage_BT: Tensor, mask_BT: Tensor, clip: float) -> Surrogate:
    """PPO (Schulman et al., 2017): -min(r A, clip(r, 1 - c, 1 + c) A) for every token of a response, summed.

    Args:
        new_BT, old_BT: log-probabilities of the tokens under the present policy and the one that drew them.
        mask_BT: which are tokens of responses.
    """
    log_ratio_BT = torch.where(mask_BT, new_BT - old_BT, 0.0)
    ratio_BT = log_ratio_BT.exp()
    plain_BT = -advantage_BT * ratio_BT
    clipped_BT = -advantage_BT * ratio_BT.clamp(1 - clip, 1 + clip)
    loss_BT = torch.where(mask_BT, torch.maximum(plain_BT, clipped_BT), 0.0)
    with torch.no_grad():
        kl_BT = torch.where(mask_BT, ratio_BT - 1 - log_ratio_BT, 0.0)
        clipped = (mask_BT & (clipped_BT > plain_BT)).sum()
    return Surrogate(loss_BT.sum(), clipped, kl_BT.sum())


def value_loss(new_BT: Tensor, old_BT: Tensor, return_BT: Tensor, mask_BT: Tensor, clip: float | None) -> Tensor:
    """Half the squared error of values, summed; clipped around the old ones, the larger of both counts."""
    error_BT = (new_BT - return_BT) ** 2
    if clip is not None:
        near_BT = old_BT + (new_BT - old_BT).clamp(-clip, clip)
        error_BT = torch.maximum(error_BT, (near_BT - return_BT) ** 2)
    return 0.5 * torch.where(mask_BT, error_BT, 0.0).sum()


def dpo_loss(
    chosen_P: Tensor, rejected_P: Tensor, chosen_reference_P: Tensor, rejected_reference_P: Tensor, beta: float,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Direct preference optimization (Rafailov et al., 2023), summed; and the implicit reward differences.

    Args:
        chosen_P …: log-probabilities of whole responses, under the policy and under the reference.
        beta: strength of the tie to the reference.
        smoothing: share of labels that are wrong (conservative DPO: Mitchell, 2023).
    """
    ahead_P = beta * ((chosen_P - chosen_reference_P) - (rejected_P - rejected_reference_P))
    loss_P = -(1 - smoothing) * F.logsigmoid(ahead_P) - smoothing * F.logsigmoid(-ahead_P)
    return loss_P.sum(), ahead_P.detach()


def k3_divergence(new_BT: Tensor, reference_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """KL(new, reference) of tokens drawn from new: exp(d) - 1 - d with d = reference - new, summed (Schulman, 2020)."""
    d_BT = torch.where(mask_BT, reference_BT - new_BT, 0.0)
    return torch.where(mask_BT, d_BT.exp() - 1 - d_BT, 0.0).sum()
