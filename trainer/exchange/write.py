"""Weights as safetensors of transformers: one file, or several and an index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainer.errors import StateError
from trainer.exchange.form import Form
from trainer.exchange.read import INDEX, SINGLE

LEFT = "gristmill.safetensors"
"""Weights that the class over there has no place for."""
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def write_weights(folder: Path, form: Form, module: nn.Module, dtype: torch.dtype, most: int) -> None:
    """Write all weights of a model.

    Args:
        dtype: of what ``form`` does not want in fp32.
        most: bytes of a file, unless a single weight has more.

    Raises:
        StateError: a weight is too large for the type.
    """
    left = left_over(form, module)
    if left:
        save_file({name: weight.detach().cpu().contiguous() for name, weight in left.items()}, folder / LEFT)
    held: dict[str, Tensor] = {}
    sizes, number_of = [0], dict[str, int]()
    for name, weight in _translated(form, module, dtype):
        if held and sizes[-1] + weight.nbytes > most:
            _save(folder, len(sizes), held)
            held = {}
            sizes.append(0)
        held[name], number_of[name] = weight, len(sizes)
        sizes[-1] += weight.nbytes
    _save(folder, len(sizes), held)
    _name_files(folder, number_of, sizes)


def left_over(form: Form, module: nn.Module) -> dict[str, Tensor]:
    """Weights of ours that the class over there has no place for."""
    placed = {piece.ours for piece in form.pieces}
    return {name: weight for name, weight in module.named_parameters() if name not in placed}


def _translated(form: Form, module: nn.Module, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    ours = dict(module.named_parameters(remove_duplicate=False))
    for piece in form.pieces:
        kept = torch.float32 if any(part in piece.theirs for part in form.wide) else dtype
        weight = piece.read(ours[piece.ours].detach()).to("cpu", kept, copy=True)
        if not bool(weight.isfinite().all()):
            raise StateError(f"the weight {piece.ours!r} has numbers that {TYPES[kept]} does not hold")
        yield piece.theirs, weight
    yield from form.constants.items()


def _save(folder: Path, number: int, weights: dict[str, Tensor]) -> None:
    save_file(weights, folder / f"{number}.part", metadata={"format": "pt"})


def _name_files(folder: Path, number_of: Mapping[str, int], sizes: Sequence[int]) -> None:
    """The names that the files have over there; they hold how many there are."""
    count = len(sizes)
    if count == 1:
        (folder / "1.part").rename(folder / SINGLE)
        return
    names = {number: f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)}
    for number, name in names.items():
        (folder / f"{number}.part").rename(folder / name)
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": {name: names[n] for name, n in number_of.items()}}
    (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
