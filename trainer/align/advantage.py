"""What a token of a response was worth.  Shapes: B responses, T tokens; responses are padded on the right."""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(score_B: Tensor, new_BT: Tensor, reference_BT: Tensor, mask_BT: Tensor, beta: float) -> Tensor:
    """-beta (log pi - log pi_reference) for each token, and the score on the last one (Ziegler et al., 2019).

    Args:
        mask_BT: tokens of the responses, each row a run of at least one.
    """
    rewards_BT = torch.where(mask_BT, -beta * (new_BT - reference_BT), 0.0)
    last_B = mask_BT.long().cumsum(1).argmax(1)
    return rewards_BT.scatter_add(1, last_B[:, None], score_B[:, None].to(rewards_BT.dtype))


def generalised_advantages(
    rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float, smoothing: float
) -> tuple[Tensor, Tensor]:
    """GAE (Schulman et al., 2016): advantages and returns, 0 outside of the responses.

    ``A_t = d_t + gamma lambda A_{t+1}``, ``d_t = r_t + gamma V_{t+1} - V_t``; behind the last token nothing follows.
    """
    advantages_BT = torch.zeros_like(rewards_BT)
    running_B, following_B = torch.zeros_like(rewards_BT[:, 0]), torch.zeros_like(rewards_BT[:, 0])
    for t in range(rewards_BT.shape[1] - 1, -1, -1):
        there_B = mask_BT[:, t]
        delta_B = rewards_BT[:, t] + gamma * following_B - values_BT[:, t]
        running_B = torch.where(there_B, delta_B + gamma * smoothing * running_B, 0.0)
        following_B = torch.where(there_B, values_BT[:, t], 0.0)
        advantages_BT[:, t] = running_B
    return advantages_BT, torch.where(mask_BT, advantages_BT + values_BT, 0.0)


def whitened(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over all tokens of responses; 0 outside of them."""
    count = mask_BT.sum().clamp(min=1)
    mean = torch.where(mask_BT, values_BT, 0.0).sum() / count
    variance = torch.where(mask_BT, (values_BT - mean) ** 2, 0.0).sum() / count
    return torch.where(mask_BT, (values_BT - mean) * torch.rsqrt(variance + 1e-8), 0.0)


def group_advantages(score_B: Tensor, group_B: Tensor, scale: bool = True) -> Tensor:
    """Scores less the mean of the responses to the same prompt, by their deviation (GRPO: Shao et al., 2024).

    Args:
        group_B: number of the prompt, from 0.
        scale: without it only the mean is taken off (Liu et al., Understanding R1-zero-like training, 2025).
    """
    groups = int(group_B.max()) + 1
    sizes = torch.bincount(group_B, minlength=groups).to(score_B.dtype)
    mean = torch.zeros(groups, dtype=score_B.dtype, device=score_B.device).index_add_(0, group_B, score_B) / sizes
    off_B = score_B - mean[group_B]
    if not scale:
        return off_B
    variance = torch.zeros_like(mean).index_add_(0, group_B, off_B**2) / sizes
    return off_B / (variance.sqrt()[group_B] + 1e-6)


class KlController:
    """The coefficient of KL: fixed, or moved so that the divergence comes to a target (Ziegler et al., 2019).

    Args:
        coefficient: at the start.
        target: wanted divergence of a response, in nats; None for a fixed coefficient.
        horizon: responses in which it may double or halve, roughly.
        low, high: bounds that it never leaves.
    """

    def __init__(self, coefficient: float, target: float | None, horizon: int, low: float, high: float) -> None:
        self.coefficient, self.target, self.horizon, self.low, self.high = coefficient, target, horizon, low, high

    def update(self, divergence: float, responses: int) -> None:
        """After some responses with a mean divergence."""
        if self.target is None:
            return
        error = min(max(divergence / self.target - 1, -0.2), 0.2)
        moved = self.coefficient * (1 + error * responses / self.horizon)
        self.coefficient = min(max(moved, self.low), self.high)
