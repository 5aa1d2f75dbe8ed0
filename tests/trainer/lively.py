"""What tests of models with dense attention share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights of order 1/sqrt(fan in), norms and biases included: nothing is near zero, near even or near linear."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_(drawn * weight.shape[-1] ** -0.5 if weight.ndim > 1 else 1 + 0.2 * drawn)
    return model.double()


def tokens_of(batch: int, length: int, vocab: int, seed: int = 0) -> Tensor:
    """Random tokens (B, T)."""
    return torch.randint(vocab, (batch, length), generator=torch.Generator().manual_seed(seed))


def documents_of(batch: int, length: int, seed: int = 0, padding: int = 0) -> Tensor:
    """Runs of random length, numbered from 0, with some padding at the end (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    starts_BT = torch.rand(batch, length, generator=generator) < 0.2
    starts_BT[:, 0] = False
    documents_BT = starts_BT.long().cumsum(1)
    if padding:
        documents_BT[:, -padding:] = -1
    return documents_BT


def future_gradients(model: nn.Module, tokens_BT: Tensor, documents_BT: Tensor | None) -> tuple[Tensor, Tensor]:
    """Whether output t of row 0 has a gradient by input s (T, T), and which pairs may have one."""
    kept: list[Tensor] = []
    hook = model.embedding.register_forward_hook(lambda module, given, out: kept.append(out))
    hidden_BTD = model(tokens_BT, documents_BT).hidden_BTD
    hook.remove()
    direction_D = torch.randn(hidden_BTD.shape[-1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    felt = []
    for t in range(tokens_BT.shape[1]):
        (gradient_BTD,) = torch.autograd.grad(hidden_BTD[0, t] @ direction_D, kept[0], retain_graph=True)
        assert not gradient_BTD[1:].any()
        felt.append(gradient_BTD[0].ne(0).any(-1))
    allowed_TT = torch.ones(len(felt), len(felt), dtype=torch.bool).tril()
    if documents_BT is not None:
        allowed_TT &= documents_BT[0][:, None] == documents_BT[0]
    return torch.stack(felt), allowed_TT


def assert_decodes(model: nn.Module, tokens_BT: Tensor, lengths_B: Tensor, max_tokens: int | None, step: int) -> None:
    """A ragged prefill and then steps of ``step`` tokens give what the parallel form gives."""
    hidden_BTD = model(tokens_BT).hidden_BTD
    rows_B = torch.arange(len(tokens_BT))
    state = model.state(len(tokens_BT), tokens_BT.device, hidden_BTD.dtype, max_tokens)
    out_BTD = model.decode(tokens_BT[:, : int(lengths_B.max())], state, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        torch.testing.assert_close(out_BTD[row, :length], hidden_BTD[row, :length], rtol=0, atol=1e-12)
    at_B = lengths_B.clone()
    while int(at_B.max()) + step <= tokens_BT.shape[1]:
        index_BT = at_B[:, None] + torch.arange(step)
        out_BTD = model.decode(tokens_BT.gather(1, index_BT), state)
        torch.testing.assert_close(out_BTD, hidden_BTD[rows_B[:, None], index_BT], rtol=0, atol=1e-12)
        at_B += step
