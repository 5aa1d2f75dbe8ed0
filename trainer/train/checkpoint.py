"""Checkpoints: complete or not there.

    OUTPUT/checkpoints/step-00000100/     torch distributed checkpoint, and state.json with the digest of each file

One is written under another name by a thread of its own, synced, and renamed; a folder under its right name is whole.
Names of tensors say module, parameter and, for an optimizer, kind of state; so any layout can read them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

from trainer.errors import StateError
from trainer.train.optimizer import Optimizers

STATE = "state.json"
_PARTIAL = ".partial"


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: of all of them; what was left half-written goes.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep
        self._writing: threading.Thread | None = None
        self._error: BaseException | None = None
        for partial in folder.glob(f"*{_PARTIAL}"):
            shutil.rmtree(partial, ignore_errors=True)

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], wait: bool = False) -> None:
        """Write one, in the background unless ``wait``; what the tensors hold now is what is written.

        Raises:
            StateError: when the one before could not be written: no disk, no rights.
        """
        self.finish()
        copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        said = json.dumps({"step": step, **facts}, sort_keys=True)
        self._writing = threading.Thread(target=self._write, args=(step, copies, json.loads(said)), daemon=True)
        self._writing.start()
        if wait:
            self.finish()

    def finish(self) -> None:
        """Wait until what is being written is whole."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._error is not None:
            error, self._error = self._error, None
            raise StateError(f"a checkpoint could not be written to {self.folder}: {error}") from error

    def _write(self, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        final = self.folder / f"step-{step:08d}"
        partial = final.with_name(final.name + _PARTIAL)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            dcp.save(dict(tensors), checkpoint_id=str(partial), no_dist=True)
            facts["files"] = {file.name: _digest(file) for file in sorted(partial.iterdir())}
            with (partial / STATE).open("w") as out:
                json.dump(facts, out, indent=1, sort_keys=True)
            for file in partial.iterdir():
                _sync(file)
            _sync(partial)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            _sync(self.folder)
            for old in self.all()[: -self.keep]:
                shutil.rmtree(old, ignore_errors=True)
        except BaseException as error:
            self._error = error

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("step-*") if p.is_dir() and not p.name.endswith(_PARTIAL))

    def newest(self) -> Path | None:
        """The one to go on from."""
        found = self.all()
        return found[-1] if found else None


def facts_of(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, after a look at all of its files.

    Raises:
        StateError: when a file is missing, cut or changed.
    """
    try:
        facts: dict[str, Any] = json.loads((checkpoint / STATE).read_text())
        files = facts["files"]
    except (OSError, ValueError, KeyError) as error:
        raise StateError(f"{checkpoint} is no checkpoint that can be read ({error}); {_WAY_OUT}") from None
    for name, digest in files.items():
        if not (checkpoint / name).is_file() or _digest(checkpoint / name) != digest:
            raise StateError(f"{checkpoint / name} is not what was written (cut or changed); {_WAY_OUT}")
    return facts


_WAY_OUT = "delete this folder to go on from the checkpoint before it"


def load_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, by name."""
    metadata = dcp.FileSystemReader(str(checkpoint)).read_metadata().state_dict_metadata
    tensors = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in metadata.items()}  # type: ignore[union-attr]
    dcp.load(tensors, checkpoint_id=str(checkpoint), no_dist=True)
    return tensors


def tensors_of(modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizers]) -> dict[str, Tensor]:
    """Everything that a training must remember of its weights, by name."""
    found = {f"{prefix}.{n}": t for prefix, module in modules.items() for n, t in module.state_dict().items()}
    for which, one in optimizers.items():
        names = _parameter_names(modules)
        for optimizer in one.all:
            for parameter, state in optimizer.state.items():
                for kind, value in state.items():
                    tensor = value if isinstance(value, Tensor) else torch.tensor(float(value))
                    found[f"{which}:{names[id(parameter)]}:{kind}"] = tensor
    return found


def restore(
    tensors: Mapping[str, Tensor], modules: Mapping[str, nn.Module], optimizers: Mapping[str, Optimizers]
) -> None:
    """Put stored tensors where they were.

    Raises:
        StateError: for a checkpoint of another model.
    """
    for prefix, module in modules.items():
        own = {
            n.removeprefix(f"{prefix}."): t for n, t in tensors.items() if n.startswith(f"{prefix}.") and ":" not in n
        }
        load_weights(module, own, prefix)
    names = {name: parameter for parameter, name in _named(modules)}
    for which, one in optimizers.items():
        owners = {
            id(p): optimizer for optimizer in one.all for group in optimizer.param_groups for p in group["params"]
        }
        for key, tensor in tensors.items():
            if key.startswith(f"{which}:"):
                _, name, kind = key.split(":")
                parameter = names[name]
                place = tensor if kind == "step" else tensor.to(parameter.device)
                owners[id(parameter)].state[parameter][kind] = place


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load all weights of a module, or say what does not fit.

    Raises:
        StateError: naming the first weight that is missing, not known or of another shape.
    """
    own = module.state_dict()
    for name in sorted({*own, *weights}):
        if name not in weights or name not in own:
            verb = "lacks" if name not in weights else "has, and the configured model lacks,"
            raise StateError(f"{what}: the checkpoint {verb} {name!r}; it is of another model")
        if own[name].shape != weights[name].shape:
            shapes = f"{tuple(weights[name].shape)}, the configured model {tuple(own[name].shape)}"
            raise StateError(f"{what}: {name!r} has the shape {shapes}; it is of another model")
    module.load_state_dict(dict(weights))


def _parameter_names(modules: Mapping[str, nn.Module]) -> dict[int, str]:
    return {id(parameter): name for parameter, name in _named(modules)}


def _named(modules: Mapping[str, nn.Module]) -> list[tuple[Tensor, str]]:
    return [(p, f"{prefix}.{name}") for prefix, module in modules.items() for name, p in module.named_parameters()]


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
