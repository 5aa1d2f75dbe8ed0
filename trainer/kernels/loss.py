"""Cross-entropy of a linear layer, a part of the tokens at a time: the logits of all of them never exist at once.

Shapes: N tokens, D width, V vocabulary.

The gradient with respect to hidden states and weight is computed together with the loss, as each part's logits are
there (the idea of Liger-Kernel's fused linear cross entropy; Hsu et al., 2024).  Memory is one part of the logits, in
fp32, whatever N is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100
PART_LOGITS = 1 << 24  # logits that are there at once


def linear_cross_entropy(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, weights_N: Tensor | None = None
) -> Tensor:
    """Sum of the losses of all tokens, fp32; divide by the number of them that is right for the whole step.

    Args:
        targets_N: ``int64``; ``IGNORED`` has no loss and no gradient.
        weights_N: of each token's loss; 1 without them.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden_ND, weight_VD, targets_N, weights_N)
    return loss


def linear_cross_entropy_naive(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, weights_N: Tensor | None = None
) -> Tensor:
    """The same with all logits."""
    logits_NV = F.linear(hidden_ND, weight_VD.to(hidden_ND.dtype)).to(_wide(hidden_ND.dtype))
    losses_N = F.cross_entropy(logits_NV, targets_N, ignore_index=IGNORED, reduction="none")
    return (losses_N if weights_N is None else losses_N * weights_N).sum()


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class _LinearCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, weights_N: Tensor | None) -> Tensor:
        wide = _wide(hidden_ND.dtype)
        cast_VD = weight_VD.to(hidden_ND.dtype)
        count = max(1, PART_LOGITS // weight_VD.shape[0])
        loss = torch.zeros((), dtype=wide, device=hidden_ND.device)
        grad_ND = torch.empty_like(hidden_ND)
        grad_VD = torch.zeros_like(weight_VD, dtype=_wide(weight_VD.dtype))
        for first in range(0, hidden_ND.shape[0], count):
            part = slice(first, first + count)
            logits_nV = F.linear(hidden_ND[part], cast_VD).to(wide)
            there_n = targets_N[part] != IGNORED
            targets_n = torch.where(there_n, targets_N[part], 0)[:, None]
            factor_n = there_n.to(wide) if weights_N is None else there_n * weights_N[part].to(wide)
            logsum_n = torch.logsumexp(logits_nV, dim=-1)
            loss += ((logsum_n - logits_nV.gather(1, targets_n)[:, 0]) * factor_n).sum()
            slope_nV = torch.exp(logits_nV - logsum_n[:, None])
            slope_nV.scatter_add_(1, targets_n, torch.full_like(targets_n, -1, dtype=wide))
            slope_nV = (slope_nV * factor_n[:, None]).to(hidden_ND.dtype)
            grad_ND[part] = slope_nV @ cast_VD
            grad_VD += (slope_nV.T @ hidden_ND[part]).to(grad_VD.dtype)
        ctx.save_for_backward(grad_ND, grad_VD.to(weight_VD.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad_ND, grad_VD = ctx.saved_tensors
        return grad_ND * slope.to(grad_ND.dtype), grad_VD * slope.to(grad_VD.dtype), None, None


def token_log_probabilities(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probability of each target, fp32, 0 where it is ``IGNORED``; with a gradient, a part of the tokens at a time.

    A part's logits are computed again for its gradient instead of being kept.
    """
    count = max(1, PART_LOGITS // weight_VD.shape[0])
    parts = [
        torch.utils.checkpoint.checkpoint(
            _log_probabilities, hidden_ND[first : first + count], weight_VD, targets_N[first : first + count],
            temperature, use_reentrant=False,
        )
        for first in range(0, hidden_ND.shape[0], count)
    ]  # fmt: skip
    return torch.cat(parts) if parts else hidden_ND.new_zeros(0, dtype=_wide(hidden_ND.dtype))


def _log_probabilities(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, temperature: float) -> Tensor:
    logits_NV = F.linear(hidden_ND, weight_VD.to(hidden_ND.dtype)).to(_wide(hidden_ND.dtype)) / temperature
    there_N = targets_N != IGNORED
    chosen_N = logits_NV.gather(1, torch.where(there_N, targets_N, 0)[:, None])[:, 0]
    return torch.where(there_N, chosen_N - torch.logsumexp(logits_NV, dim=-1), 0.0)
