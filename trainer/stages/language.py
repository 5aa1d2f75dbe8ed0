"""Pretraining on corpora and tuning on conversations: the next token of packed rows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from trainer.data.batches import Batch, Packed
from trainer.kernels.loss import IGNORED, linear_cross_entropy
from trainer.models.accounting import training_flops
from trainer.train.loop import Loss


class NextToken:
    """Cross-entropy of every token that has a target."""

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.model, self.device, self.dtype = model, device, dtype

    def weight(self, batch: Batch) -> float:
        """Tokens with a target."""
        return float((batch.targets_BT != IGNORED).sum())

    def loss(self, batch: Batch) -> Loss:
        """Of one batch."""
        tokens_BT, documents_BT, targets_BT = (part.to(self.device, non_blocking=True) for part in batch)
        trunk = self.model(tokens_BT, documents_BT, self.dtype)
        total = linear_cross_entropy(trunk.hidden_BTD.flatten(0, 1), self.model.head.weight, targets_BT.flatten())
        return Loss(total, trunk.losses, trunk.stats)

    def flops(self, batch: Batch) -> float:
        """Forward and backward, as if each row were one document."""
        rows, tokens = batch.tokens_BT.shape
        return float(rows * training_flops(self.model.config, tokens))


def perplexity(objective: NextToken, held_out: Packed, batches: int) -> Mapping[str, float]:
    """Mean loss of a token of what is held out, over a number of batches from its begin."""
    total, weight = 0.0, 0.0
    with torch.no_grad():
        for _, batch in zip(range(batches), held_out, strict=False):
            total += float(objective.loss(batch).total)
            weight += objective.weight(batch)
    return {"held_out_loss": total / weight, "held_out_tokens": weight} if weight else {}
