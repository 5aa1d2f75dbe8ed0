"""Where and how exactly a training computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
import torch.utils.checkpoint as recompute
from torch import nn

Recompute = Literal["none", "selective", "full"]


def pick_device(wanted: str | None = None) -> torch.device:
    """The device asked for, or a GPU where there is one."""
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def compute_type(precision: Literal["fp32", "bf16"]) -> torch.dtype:
    """Of products; weights and their optimizer are fp32 in any case."""
    return torch.bfloat16 if precision == "bf16" else torch.float32


def be_deterministic(wanted: bool) -> None:
    """The same bits in every run on the same machine, or an error where an operation cannot promise it."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = False


def save_memory(blocks: nn.ModuleList, how: Recompute) -> None:
    """Compute what is inside of blocks again for their gradients instead of keeping it.

    ``full`` keeps the inputs of blocks only; ``selective`` keeps the results of matrix products and of attention too,
    which cost most to compute (Korthikanti et al., Reducing activation recomputation, 2022).
    """
    if how == "none":
        return
    more = {"context_fn": partial(recompute.create_selective_checkpoint_contexts, _keep)} if how == "selective" else {}
    for block in blocks:
        block.forward = _recomputed(block.forward, more)


def _recomputed(forward: Callable[..., Any], more: dict[str, Any]) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*given, **named)
        return recompute.checkpoint(forward, *given, use_reentrant=False, **more, **named)

    return run


_KEPT = ("mm", "bmm", "addmm", "_scaled_dot_product", "_grouped_mm")


def _keep(context: Any, operation: Any, *given: Any, **named: Any) -> recompute.CheckpointPolicy:
    name = getattr(operation, "__name__", str(operation))
    kept = name.startswith(_KEPT)
    return recompute.CheckpointPolicy.MUST_SAVE if kept else recompute.CheckpointPolicy.PREFER_RECOMPUTE
