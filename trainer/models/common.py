"""What every model is made of.

Shapes: B batch, T time, D width, H heads, K head width, V vocabulary.

Weights are kept in the master type (fp32, or fp64 in tests) and cast to the type of their input in ``forward``: a model
computes in whatever type its embedding is asked for, without autocast.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Trunk(NamedTuple):
    """What a model's ``forward`` gives."""

    hidden_BTD: Tensor
    """After the last norm."""
    losses: dict[str, Tensor]
    """Auxiliary losses, scaled already, to be added to the loss."""
    stats: dict[str, Tensor]
    """Detached figures for the metrics."""


class Linear(nn.Module):  # type: ignore[misc]
    """``x @ weight.T``, no bias; the weight is cast to the type of ``x``."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, inp))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Module):  # type: ignore[misc]
    """Rows of a table, in the type asked for."""

    def __init__(self, vocab: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab, dim))

    def forward(self, tokens_BT: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return F.embedding(tokens_BT, self.weight.to(dtype or self.weight.dtype))


class RMSNorm(nn.Module):  # type: ignore[misc]
    """x / rms(x) · weight over the last dimension, computed in fp32 at least (Zhang and Sennrich, 2019)."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * self.weight.to(wide.dtype)).to(x.dtype)


class SwiGLU(nn.Module):  # type: ignore[misc]
    """down(silu(gate(x)) · up(x)) (Shazeer, 2020); ``gate`` and ``up`` are one product."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = Linear(dim, 2 * hidden)
        self.down = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        in_place = not torch.is_grad_enabled()  # large results cost more to make room for than to compute
        out: Tensor = self.down(F.silu(gate, inplace=True).mul_(up) if in_place else F.silu(gate) * up)
        return out


def rotary_tables(positions_BT: Tensor, dim: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, T, K/2) of rotary positions (Su et al., 2021); the halves of a head are paired."""
    wide = torch.promote_types(dtype, torch.float32)
    steps_K2 = torch.arange(0, dim, 2, device=positions_BT.device, dtype=wide) / dim
    angles_BTK2 = positions_BT.to(wide)[..., None] * torch.exp(-math.log(base) * steps_K2)
    return angles_BTK2.cos().to(dtype), angles_BTK2.sin().to(dtype)


def rotate(x_BHTK: Tensor, cos_BTK2: Tensor, sin_BTK2: Tensor) -> Tensor:
    """``x`` turned by its positions."""
    first, second = x_BHTK.chunk(2, dim=-1)
    cos, sin = cos_BTK2[:, None], sin_BTK2[:, None]
    turned = torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin)
    return torch.cat(turned, dim=-1)


def positions_within(documents_BT: Tensor) -> Tensor:
    """Positions (B, T) that restart at every document; ``documents_BT`` numbers them, in runs."""
    steps_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    starts_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    starts_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return steps_T - torch.where(starts_BT, steps_T, 0).cummax(dim=1).values


def whole_lanes(keys: int) -> int:
    """The number of keys to look at for ``keys`` of them and others that are masked.

    Sums of vector units are the same to the bit with more masked keys behind a whole number of their lanes.
    """
    return -(-keys // 16) * 16


def swiglu_width(dim: int) -> int:
    """The usual hidden width: 8/3 of ``dim``, rounded up to a multiple of 64 (of 8 below 192)."""
    step = 64 if dim >= 192 else 8
    return -(-8 * dim // (3 * step)) * step


def init_weights(model: nn.Module, seed: int) -> None:
    """Fill every weight, in the order of their names, from ``seed``.

    Embeddings are normal with deviation 0.02, matrices with 1/sqrt(fan in) (0.02 for a width of 2,500, and more where
    0.02 would hardly let a narrow model begin); the outputs of residual branches (see ``residual``) are divided by
    sqrt(2 · layers), as in GPT-2.  A shared weight is filled once.  A module with ``reset(generator)`` fills itself.
    """
    generator = torch.Generator().manual_seed(seed)
    filled: set[int] = set()
    for _, module in sorted(model.named_modules()):
        if isinstance(module, Linear | Embedding):
            if id(module.weight) not in filled:
                _fill(module.weight, _deviation(module), generator)
            filled.add(id(module.weight))
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)
        elif hasattr(module, "reset"):
            module.reset(generator)


def _deviation(module: Linear | Embedding) -> float:
    if isinstance(module, Embedding):
        return 0.02
    deviation: float = module.weight.shape[1] ** -0.5
    layers: int | None = getattr(module, "residual_layers", None)
    return deviation if layers is None else deviation / math.sqrt(2 * layers)


def _fill(weight: nn.Parameter, deviation: float, generator: torch.Generator) -> None:
    """Normal figures, drawn on the CPU in fp32 so that every device and type starts from the same weights."""
    with torch.no_grad():
        drawn = torch.empty(weight.shape, dtype=torch.float32).normal_(0.0, deviation, generator=generator)
        weight.copy_(drawn)


def residual(module: Any, layers: int) -> Any:
    """Mark ``module`` as the output of a residual branch of a model with ``layers`` blocks (see init_weights)."""
    module.residual_layers = layers
    return module
