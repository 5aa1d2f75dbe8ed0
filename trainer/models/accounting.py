"""What can be counted of a model, whatever its family.

The arithmetic is each configuration's own (``config.flops`` and so on) and is tested against
``torch.utils.flop_counter.FlopCounterMode`` on the meta device.  FLOPs are of the forward pass unless said otherwise,
and causal-exact: a token pays for what it may see.  ``flops_full`` counts what is multiplied, masked scores included.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn


class Counted(Protocol):
    """A configuration that knows its arithmetic."""

    def parameters(self) -> int: ...
    def active_parameters(self) -> int: ...
    def flops(self, tokens: int, context: int = 0) -> int: ...
    def flops_full(self, tokens: int, context: int = 0) -> int: ...
    def cache_bytes(self, tokens: int, dtype: torch.dtype) -> int: ...


def parameters(model: nn.Module) -> int:
    """Weights of a model, shared ones once."""
    return sum(weight.numel() for weight in model.parameters())


def active_parameters(config: Counted) -> int:
    """Weights that work on one token."""
    return config.active_parameters()


def flops(config: Counted, tokens: int, context: int = 0) -> int:
    """Forward, one row: ``tokens`` new tokens behind ``context`` earlier ones of their document."""
    return config.flops(tokens, context)


def flops_full(config: Counted, tokens: int, context: int = 0) -> int:
    """``flops`` with every score counted that is computed."""
    return config.flops_full(tokens, context)


def training_flops(config: Counted, tokens: int) -> int:
    """Forward and backward, one row: the backward pass multiplies twice as much.  Recomputation does not count."""
    return 3 * config.flops(tokens)


def inference_flops(config: Counted, prompt: int, answer: int) -> int:
    """A prompt read at once and an answer written token by token."""
    return config.flops(prompt) + config.flops(answer, prompt)


def cache_bytes(config: Counted, tokens: int, dtype: torch.dtype) -> int:
    """The decode state of one row that holds ``tokens`` tokens."""
    return config.cache_bytes(tokens, dtype)
