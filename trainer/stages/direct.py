"""Direct preference optimization: a policy from pairs, without a reward model and without drawing answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainer.align.losses import dpo_loss
from trainer.data.pairs import PairBatch
from trainer.kernels.loss import token_log_probabilities
from trainer.models.accounting import training_flops
from trainer.ranges import Checked, Range
from trainer.train.loop import Loss


@dataclass(frozen=True, kw_only=True)
class DirectConfig(Checked):
    """Strength of the pairs against the model that it started from.

    Attributes:
        beta: tie to that model.
        smoothing: share of labels that are thought to be wrong.
    """

    beta: float = field(default=0.1, metadata={"range": Range(0.01, 1.0, "as published work uses it")})
    smoothing: float = field(default=0.0, metadata={"limit": Range(0, 0.5, "a share of wrong labels")})


class Direct:
    """DPO over pairs; the reference is the model as it was at the start."""

    def __init__(
        self, model: nn.Module, reference: nn.Module, config: DirectConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.model, self.reference, self.config, self.device, self.dtype = model, reference, config, device, dtype
        reference.requires_grad_(False)

    def weight(self, batch: PairBatch) -> float:
        """Pairs."""
        return float(batch.chosen_P.numel())

    def loss(self, batch: PairBatch) -> Loss:
        """Of one batch."""
        own_S, losses = self._log_probabilities(self.model, batch)
        with torch.no_grad():
            reference_S, _ = self._log_probabilities(self.reference, batch)
        chosen_P, rejected_P = batch.chosen_P.to(self.device), batch.rejected_P.to(self.device)
        total, ahead_P = dpo_loss(
            own_S[chosen_P], own_S[rejected_P], reference_S[chosen_P], reference_S[rejected_P],
            self.config.beta, self.config.smoothing,
        )  # fmt: skip
        return Loss(total, losses, {"accuracy": (ahead_P > 0).float().mean(), "reward_difference": ahead_P.mean()})

    def _log_probabilities(self, model: nn.Module, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        trunk = model(batch.tokens_ST.to(self.device), batch.documents_ST.to(self.device), self.dtype)
        targets_ST = batch.targets_ST.to(self.device)
        tokens_N = token_log_probabilities(trunk.hidden_BTD.flatten(0, 1), model.head.weight, targets_ST.flatten())
        return tokens_N.view_as(targets_ST).sum(1), trunk.losses

    def flops(self, batch: PairBatch) -> float:
        """Forward and backward of the policy, forward of the reference."""
        rows, tokens = batch.tokens_ST.shape
        return float(rows * training_flops(self.model.config, tokens) * 4 / 3)
