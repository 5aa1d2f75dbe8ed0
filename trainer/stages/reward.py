"""Reward models: which of two answers people prefer, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.align.losses import calibration_error, fit_temperature, ranking_loss
from trainer.data.pairs import PairBatch
from trainer.models.accounting import training_flops
from trainer.models.heads import ScalarHead
from trainer.ranges import NOT_NEGATIVE, Checked, Range
from trainer.train.loop import Loss


@dataclass(frozen=True, kw_only=True)
class RewardConfig(Checked):
    """How preferences become rewards.

    Attributes:
        temperature: of the ranking loss while training; the one for calibration is fitted afterwards.
        centring: keeps rewards around 0.
        margins: whether the chosen answer should be ahead by the margin of its pair; margins of different sources do
            not compare.
    """

    temperature: float = field(default=1.0, metadata={"range": Range(0.1, 10, "beyond, the loss is flat or a step")})
    centring: float = field(default=0.01, metadata={"limit": NOT_NEGATIVE})
    margins: bool = False


class Ranking:
    """The pairwise ranking loss; a ranking of k answers counts once, however many pairs it has."""

    def __init__(self, head: ScalarHead, config: RewardConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.head, self.config, self.device, self.dtype = head, config, device, dtype

    def weight(self, batch: PairBatch) -> float:
        """Rankings."""
        return float(batch.weight_P.sum())

    def loss(self, batch: PairBatch) -> Loss:
        """Of one batch."""
        trunk = self.head.trunk(batch.tokens_ST.to(self.device), batch.documents_ST.to(self.device), self.dtype)
        reward_S = self.head.read(trunk.hidden_BTD, batch.ends_S.to(self.device)[:, None])[:, 0]
        chosen_P, rejected_P = reward_S[batch.chosen_P.to(self.device)], reward_S[batch.rejected_P.to(self.device)]
        weight_P = batch.weight_P.to(self.device, reward_S.dtype)
        margin_P = batch.margin_P.nan_to_num(0.0).to(self.device, reward_S.dtype) if self.config.margins else None
        total = ranking_loss(chosen_P, rejected_P, self.config.temperature, margin_P, weight_P, self.config.centring)
        right = ((chosen_P > rejected_P).float() * weight_P).sum() / weight_P.sum().clamp(min=1e-9)
        return Loss(total, trunk.losses, {"accuracy": right.detach(), "reward_spread": reward_S.detach().std()})

    def flops(self, batch: PairBatch) -> float:
        """Forward and backward."""
        rows, tokens = batch.tokens_ST.shape
        return float(rows * training_flops(self.head.trunk.config, tokens))

    def differences(self, batches: Iterable[PairBatch]) -> tuple[Tensor, Tensor]:
        """Reward of the chosen answer less that of the other, of all pairs; and which pair of the data each is."""
        found, rows = [torch.zeros(0)], [torch.zeros(0, dtype=torch.int64)]
        with torch.no_grad():
            for batch in batches:
                hidden = self.head.trunk(
                    batch.tokens_ST.to(self.device), batch.documents_ST.to(self.device), self.dtype
                ).hidden_BTD
                reward_S = self.head.read(hidden, batch.ends_S.to(self.device)[:, None])[:, 0].float().cpu()
                found.append(reward_S[batch.chosen_P] - reward_S[batch.rejected_P])
                rows.append(batch.rows_P)
        return torch.cat(found), torch.cat(rows)


def calibration(difference_P: Tensor) -> Mapping[str, float]:
    """Accuracy on held-out pairs, and how well calibrated their log-odds are: with a temperature fitted on every other
    pair, measured on those in between."""
    if not difference_P.numel():
        return {}
    fitting, measuring = difference_P[::2], difference_P[1::2]
    temperature = fit_temperature(fitting)
    right_P = (difference_P > 0).double() + 0.5 * (difference_P == 0).double()
    return {
        "held_out_accuracy": float(right_P.mean()),
        "held_out_pairs": float(difference_P.numel()),
        "temperature": temperature,
        "calibration_error": calibration_error(measuring, temperature),
        "calibration_error_unfitted": calibration_error(measuring),
    }
