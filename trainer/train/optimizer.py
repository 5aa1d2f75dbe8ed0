"""AdamW, and Muon for the matrices inside of the blocks.

AdamW: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.  Muon: Jordan et al., 2024, as in
``torch.optim.Muon``; the step of a matrix is scaled to the root mean square of AdamW's (Liu et al., Muon is scalable
for LLM training, 2025), so that one learning rate serves both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from trainer.models.common import Embedding
from trainer.ranges import NOT_NEGATIVE, Checked, Range

_SHARE = Range(0, 1, "a share")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Checked):
    """How weights move.

    Attributes:
        kind: ``muon`` for matrices of the blocks and AdamW for the rest, or AdamW for all.
        learning_rate: at its height.
        betas, epsilon: of AdamW.
        momentum: of Muon.
        weight_decay: of matrices; norms, embeddings and single rows have none.
        clip: greatest norm of all gradients together; null for none.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = field(
        default=3e-4, metadata={"range": Range(1e-7, 0.1, "beyond, nothing is learnt or all lost")}
    )
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = field(default=1e-8, metadata={"limit": Range(1e-16, 1e-2)})
    momentum: float = field(default=0.95, metadata={"limit": _SHARE})
    weight_decay: float = field(default=0.1, metadata={"limit": NOT_NEGATIVE})
    clip: float | None = field(default=1.0, metadata={"limit": Range(1e-6, None)})


class Optimizers:
    """One or two optimizers that step together."""

    def __init__(self, modules: dict[str, nn.Module], config: OptimizerConfig) -> None:
        self.config = config
        decayed, plain, matrices = _sorted_parameters(modules, config.kind == "muon")
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [group for group in groups if group["params"]], lr=config.learning_rate, betas=config.betas,
                eps=config.epsilon,
            )
        ]  # fmt: skip
        if matrices:
            self.all.append(
                torch.optim.Muon(
                    matrices, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )  # fmt: skip
        self.parameters = [p for optimizer in self.all for group in optimizer.param_groups for p in group["params"]]

    def step(self, learning_rate: float) -> float:
        """Clip, move, forget the gradients; returns the norm of the gradients before clipping."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.config.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, norm)
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state_dict(self) -> dict[str, Any]:
        """States of all, by place."""
        return {str(place): optimizer.state_dict() for place, optimizer in enumerate(self.all)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for place, optimizer in enumerate(self.all):
            optimizer.load_state_dict(state[str(place)])


def _sorted_parameters(modules: dict[str, nn.Module], muon: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Parameters with weight decay, without, and matrices for Muon; in the order of their names."""
    embeddings = {id(m.weight) for module in modules.values() for m in module.modules() if isinstance(m, Embedding)}
    decayed, plain, matrices = [], [], []
    seen: set[int] = set()
    for prefix, module in sorted(modules.items()):
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if parameter.ndim < 2 or id(parameter) in embeddings:
                plain.append(parameter)
            elif muon and parameter.ndim == 2 and ".blocks." in f"{prefix}.{name}":
                matrices.append(parameter)
            else:
                decayed.append(parameter)
    return decayed, plain, matrices
