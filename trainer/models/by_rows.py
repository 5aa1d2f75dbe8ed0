"""Reading long prompts on a CPU: one row after the other, so that what a layer makes of a row stays in the caches.

Shapes: B batch rows, T tokens, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor

LONG = 2048
"""Tokens from which on rows are read by themselves: fewer fit into the caches together, and are read faster so."""


class State(Protocol):
    """What this asks of a decode state."""

    @property
    def empty(self) -> bool:
        """Whether no row holds a token."""

    def split(self, tokens: int, lengths_B: Tensor | None) -> Sequence[Self]:
        """One empty state a row, which writes into this one; the tokens are counted here already."""


Decode = Callable[[Any, Tensor, Any, Tensor | None], Tensor]


def by_rows(decode: Decode) -> Callable[..., Tensor]:
    """The same ``decode(model, tokens_BT, state, lengths_B)``, row by row where empty rows get many tokens on a CPU."""

    @functools.wraps(decode)
    def decode_rows(model: Any, tokens_BT: Tensor, state: State, lengths_B: Tensor | None = None) -> Tensor:
        batch, tokens = tokens_BT.shape
        if batch == 1 or tokens < LONG or tokens_BT.device.type != "cpu" or not state.empty:
            return decode(model, tokens_BT, state, lengths_B)
        lengths = [None] * batch if lengths_B is None else lengths_B.split(1)
        rows = zip(tokens_BT.split(1), state.split(tokens, lengths_B), lengths, strict=True)
        return torch.cat([decode(model, *row) for row in rows])

    return decode_rows
