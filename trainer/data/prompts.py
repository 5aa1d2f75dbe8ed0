"""Prompts to answer, each once an epoch: for reinforcement learning, and to look at what a model says.

Shapes: B prompts, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.data.documents import Documents
from trainer.data.order import Order
from trainer.data.streams import State, checked_state
from trainer.errors import DataError


class PromptBatch(NamedTuple):
    """Prompts that end with the mark of the assistant.

    tokens_BT: int64, padded at the right.
    lengths_B: tokens of each.
    rows_B: number of the row that each is of.
    """

    tokens_BT: Tensor
    lengths_B: Tensor
    rows_B: Tensor


class Prompts:
    """Batches of prompts: of pairs, or of conversations up to the last answer.  The position is one integer.

    The same prompt of several pairs comes once.  Prompts longer than ``tokens`` are left out (``left_out``).

    Args:
        documents: of kind ``preferences`` or ``instructions``.
        rows: which.
        prompts: B, of this rank in each batch.
        tokens: the longest prompt.
        padding: the token that pads.
        seed: of the order.
        epochs: how often to go through the data; None: for ever.
        rank, world: of how many that share each step.
    """

    def __init__(
        self, documents: Documents, rows: np.ndarray, *, prompts: int, tokens: int, padding: int, seed: int,
        epochs: int | None = None, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        if documents.kind == "corpus":
            raise DataError("prompts are read from preferences or instructions, not from a corpus")
        self._tokens = documents.ragged("prompt" if documents.kind == "preferences" else "tokens")
        if documents.kind == "preferences":
            rows = rows[np.sort(np.unique(documents.flat("hash")[rows], return_index=True)[1])]
            lengths = self._tokens.lengths[rows].astype(np.int64)
        else:
            learned = documents.ragged("learned")
            lengths = np.array([_last_answer(learned[row]) for row in rows], np.int64)
        fits = lengths <= tokens
        self.left_out = int((~fits).sum())
        if not fits.any():
            raise DataError("there is no prompt that fits")
        self._chosen, self._lengths = rows[fits], lengths[fits]
        self._order = Order(len(self._chosen), seed)
        self._prompts, self._padding, self._rank, self._world = prompts, padding, rank, world
        self._end = None if epochs is None else epochs * self._order.size
        self._position = 0

    def __len__(self) -> int:
        return self._order.size

    def state(self) -> State:
        return {"position": self._position}

    def restore(self, state: State) -> None:
        (self._position,) = checked_state(state, ("position",))

    def __iter__(self) -> Prompts:
        return self

    def __next__(self) -> PromptBatch:
        end = self._position + self._prompts * self._world
        if self._end is not None:
            end = min(end, self._end)
        if end <= self._position:
            raise StopIteration
        chosen = self._order.at(np.arange(self._position + self._rank, end, self._world))
        self._position = end
        lengths, rows = self._lengths[chosen], self._chosen[chosen]
        tokens_BT = np.full((len(rows), max(lengths, default=1)), self._padding, np.int64)
        for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            tokens_BT[number, :length] = self._tokens[row][:length]
        return PromptBatch(*map(torch.from_numpy, (tokens_BT, lengths, rows)))


def _last_answer(learned: np.ndarray) -> int:
    """Where the last answer of a conversation begins, just behind its mark."""
    begins = np.flatnonzero(learned[1:] & ~learned[:-1])
    return int(begins[-1]) + 1 if len(begins) else len(learned)
