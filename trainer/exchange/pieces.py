"""Which weight of another library lies where in one of ours.

Shapes: D width, H heads, K head width, F hidden width, E experts.

A piece is a view of our weight.  Read, it is their weight; written to, it takes their weight in.  So one list says both
ways, and what is written is bit for bit what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.errors import StateError


class Piece(NamedTuple):
    """One weight of theirs.

    Attributes:
        theirs: its name.
        ours: name of the weight it is in.
        view: of our weight, in the order of theirs; where it has more dimensions, the first ones are one there.
    """

    theirs: str
    ours: str
    view: Callable[[Tensor], Tensor] = lambda weight: weight

    def read(self, weight: Tensor) -> Tensor:
        """Their weight."""
        seen = self.view(weight)
        return seen.flatten(0, max(0, seen.dim() - weight.dim())).contiguous()

    def write(self, weight: Tensor, theirs: Tensor) -> None:
        """Put their weight into ours."""
        seen = self.view(weight)
        seen.copy_(theirs.view(seen.shape))


def half(which: int) -> Callable[[Tensor], Tensor]:
    """The gate (0) or up (1) rows of their product (2F, D)."""
    return lambda weight: weight.chunk(2)[which]


def interleaved(head_width: int) -> Callable[[Tensor], Tensor]:
    """Rows (H·K, D) in which the partners of a rotation are neighbours, instead of half a head apart."""
    return lambda weight: weight.unflatten(0, (-1, 2, head_width // 2)).transpose(1, 2)


def expert(number: int, which: int | None = None) -> Callable[[Tensor], Tensor]:
    """The matrix of an expert, of (E, in, out), as rows of outputs; ``which`` half of them."""
    return lambda weight: weight[number].T if which is None else weight[number].T.chunk(2)[which]


def gather(pieces: Iterable[Piece], theirs: Mapping[str, Tensor], shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights in fp32 out of all pieces.

    Args:
        pieces: each weight of ours is covered by its pieces.
        theirs: by their names.
        shapes: our weights, perhaps without values.

    Raises:
        StateError: naming the first of theirs that is missing or has another shape.
    """
    found: dict[str, Tensor] = {}
    for piece in pieces:
        if piece.theirs not in theirs:
            raise StateError(f"the weight {piece.theirs!r} is missing")
        wanted, given = piece.read(shapes[piece.ours].to("meta")).shape, theirs[piece.theirs]
        if given.shape != wanted:
            raise StateError(
                f"the weight {piece.theirs!r} has the shape {tuple(given.shape)}; {tuple(wanted)} is needed"
            )
        if piece.ours not in found:
            found[piece.ours] = torch.empty(shapes[piece.ours].shape, dtype=torch.float32)
        piece.write(found[piece.ours], given)
    return found
