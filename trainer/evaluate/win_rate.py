"""Which of two answers a reward model prefers, over many prompts.

Shapes: S sequences, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from trainer.models.heads import ScalarHead

RESAMPLES = 10_000


@torch.no_grad()
def scores(
    head: ScalarHead, sequences: Sequence[np.ndarray], *, padding: int, batch_tokens: int, device: torch.device,
    dtype: torch.dtype,
) -> np.ndarray:  # fmt: skip
    """The reward at the last token of each sequence, fp64.

    Args:
        batch_tokens: that are read together, about.
    """
    found = np.zeros(len(sequences))
    order = sorted(range(len(sequences)), key=lambda number: (len(sequences[number]), number))
    while order:
        batch = order[: max(1, batch_tokens // len(sequences[order[0]]))]
        while len(batch) > 1 and len(batch) * len(sequences[batch[-1]]) > batch_tokens:
            batch.pop()
        order = order[len(batch) :]
        lengths_S = torch.tensor([len(sequences[number]) for number in batch])
        tokens_ST = torch.full((len(batch), int(lengths_S.max())), padding)
        for row, number in enumerate(batch):
            tokens_ST[row, : lengths_S[row]] = torch.from_numpy(sequences[number].astype(np.int64))
        documents_ST = torch.where(torch.arange(tokens_ST.shape[1]) < lengths_S[:, None], 0, -1)
        ends_S1 = (lengths_S - 1)[:, None].to(device)
        found[batch] = head(tokens_ST.to(device), documents_ST.to(device), ends_S1, dtype)[:, 0].double().cpu().numpy()
    return found


class WinRate(NamedTuple):
    """How often the first answers win, ties as half."""

    rate: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int


def win_rate(first: np.ndarray, second: np.ndarray, seed: int = 1) -> WinRate:
    """Over prompts, with an interval in which 95 % of resampled sets of prompts lie (Efron, 1979).

    Of a set that is drawn anew only the numbers of wins and ties matter, and these are multinomial.
    """
    wins, ties = int((first > second).sum()), int((first == second).sum())
    count = len(first)
    shares = np.array([wins, ties, count - wins - ties]) / count
    drawn = np.random.default_rng(seed).multinomial(count, shares, size=RESAMPLES)
    low, high = np.quantile((drawn[:, 0] + 0.5 * drawn[:, 1]) / count, (0.025, 0.975))
    return WinRate((wins + 0.5 * ties) / count, float(low), float(high), wins, ties, count - wins - ties)
