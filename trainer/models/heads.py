"""A scalar over any trunk: rewards at the ends of answers, values at every token.

Shapes: B batch, T tokens, D width, N positions asked for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.common import Linear


class ScalarHead(nn.Module):
    """A linear reading of a trunk's last hidden state, in fp32 at least.

    It starts normal with deviation 1/sqrt(D + 1), so that fresh scores have a spread of about 1 (Stiennon et al., 2020,
    arXiv 2009.01325).
    """

    def __init__(self, trunk: nn.Module, seed: int = 0) -> None:
        super().__init__()
        width = trunk.norm.weight.shape[0]
        self.trunk = trunk
        self.scalar = Linear(width, 1).to(trunk.norm.weight)
        with torch.no_grad():
            drawn = torch.empty(1, width).normal_(
                0.0, (width + 1) ** -0.5, generator=torch.Generator().manual_seed(seed)
            )
            self.scalar.weight.copy_(drawn)

    def forward(
        self,
        tokens_BT: Tensor,
        documents_BT: Tensor | None = None,
        ends_BN: Tensor | None = None,
        compute_dtype: torch.dtype | None = None,
    ) -> Tensor:
        """A scalar of every token (B, T), or of the tokens at ``ends_BN`` (B, N; 0 where an end is negative).

        Who needs the trunk's auxiliary losses runs ``trunk`` and gives its hidden states to ``read``.
        """
        return self.read(self.trunk(tokens_BT, documents_BT, compute_dtype).hidden_BTD, ends_BN)

    def read(self, hidden_BTD: Tensor, ends_BN: Tensor | None = None) -> Tensor:
        """Scalars of hidden states, at all tokens or at ``ends_BN``."""
        if ends_BN is not None:
            index_BND = ends_BN.clamp_min(0)[..., None].expand(-1, -1, hidden_BTD.shape[-1])
            hidden_BTD = hidden_BTD.gather(1, index_BND)
        scalars = self.scalar(hidden_BTD.to(torch.promote_types(hidden_BTD.dtype, torch.float32)))[..., 0]
        return scalars if ends_BN is None else torch.where(ends_BN >= 0, scalars, 0.0)
