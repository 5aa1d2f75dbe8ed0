"""Folders from elsewhere, read as what they are: perhaps cut, perhaps made by somebody who means harm.

Weights come as safetensors, which hold numbers and nothing else; pickles hold programs and are not opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors import safe_open
from torch import Tensor

from trainer.errors import StateError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
LARGEST_JSON = 256 << 20
SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors")
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
IGNORED = re.compile(r".*\.rotary_emb\.inv_freq")
"""Buffers that old versions wrote; they follow from the configuration."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        StateError: it is none, or larger than any that is meant well.
    """
    try:
        if not path.is_file():
            raise StateError(f"{path} is missing, or no file")
        if path.stat().st_size > LARGEST_JSON:
            raise StateError(f"{path} has {path.stat().st_size:,} bytes; no more than {LARGEST_JSON:,} are read")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise StateError(f"{path} holds no object")
    return found


def shards(folder: Path) -> dict[str, Path]:
    """The file of each weight.

    Raises:
        StateError: there are none, only pickles, or an index names files elsewhere or none that are there.
    """
    if (folder / INDEX).exists():
        return _indexed(folder)
    if (folder / SINGLE).is_file():
        return dict.fromkeys(names_in(folder / SINGLE), folder / SINGLE)
    pickles = sorted(path.name for kind in PICKLES for path in folder.glob(kind))
    if pickles:
        raise StateError(
            f"{folder} has its weights in {pickles[0]}: a pickle can run any code when it is opened, and is not; "
            "convert it to safetensors where you trust it"
        )
    raise StateError(f"{folder} has neither {SINGLE} nor {INDEX}")


def _indexed(folder: Path) -> dict[str, Path]:
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, Mapping) or not names:
        raise StateError(f"{folder / INDEX}: weight_map is missing")
    for name, file in names.items():
        if not isinstance(file, str) or not SHARD.fullmatch(file):
            raise StateError(f"{folder / INDEX}: {file!r} (of {name!r}) is no name of a file beside it")
        if not (folder / file).is_file():
            raise StateError(f"{folder / file} is missing; {name!r} should be in it")
    for file in sorted(set(names.values())):
        held = set(names_in(folder / file))
        for name in sorted(held ^ {one for one, where in names.items() if where == file}):
            what = f"holds {name!r}, and {INDEX} says otherwise" if name in held else f"should hold {name!r}"
            raise StateError(f"{folder / file} {what}")
    return {name: folder / file for name, file in names.items()}


def names_in(path: Path) -> list[str]:
    """Names of the weights in a file."""
    try:
        with safe_open(path, "pt") as stream:
            return list(stream.keys())
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise StateError(f"{path} holds no weights that can be read: {error}") from None


class Weights(Mapping[str, Tensor]):
    """Weights on disk, each read when it is asked for, in fp32.

    Args:
        files: the file of each.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = {name: path for name, path in files.items() if not IGNORED.fullmatch(name)}
        self._open: tuple[Path, Any] | None = None

    def __getitem__(self, name: str) -> Tensor:
        path = self._files[name]
        try:
            if self._open is None or self._open[0] != path:
                self._open = (path, safe_open(path, "pt"))
            kind = self._open[1].get_slice(name).get_dtype()
            if kind not in TYPES:
                raise StateError(f"{path}: {name!r} is stored as {kind}; {', '.join(TYPES)} are read")
            found: Tensor = self._open[1].get_tensor(name).to(torch.float32)
        except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise StateError(f"{path}: {name!r} cannot be read: {error}") from None
        if not bool(found.isfinite().all()):
            raise StateError(f"{path}: {name!r} holds numbers that are none (NaN or infinite)")
        return found

    def __iter__(self) -> Any:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files
