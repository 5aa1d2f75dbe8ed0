"""What a training says: lines of JSON on standard output, and the figures once more in ``metrics.jsonl``.

The form of the lines is the contract between a trainer and whoever started it (docs/trainings.md).
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, TextIO

import torch

from trainer.errors import ConfigError

# Dense bf16 products of a second, by a part of the device's name; from the vendor's data sheets.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "4090": 165e12}


class Voice:
    """Says things.

    Args:
        folder: of ``metrics.jsonl``; None for standard output alone.
        after: step of the checkpoint that the training goes on from; figures of later ones were said before and go.
        tensorboard: whether to write event files beside them too.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(
        self, folder: Path | None, after: int = 0, tensorboard: bool = False, out: TextIO | None = None
    ) -> None:  # fmt: skip
        self._out, self._board = out or sys.stdout, None
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "metrics.jsonl" if folder else None
        if self._file and self._file.exists():
            lines = [line for line in self._file.read_text().splitlines() if _step_of(line) <= after]
            self._file.write_text("".join(line + "\n" for line in lines))
        if tensorboard and folder:
            self._board = _board(folder / "tensorboard", after)

    def say(self, kind: str, /, **values: Any) -> None:
        """One line."""
        print(json.dumps({"type": kind, **values}, ensure_ascii=False, allow_nan=True), file=self._out, flush=True)

    def log(self, text: str, level: str = "info") -> None:
        """A line for people."""
        self.say("log", text=text, level=level)

    def progress(self, done: int, total: int, phase: str) -> None:
        """How far it is."""
        self.say("progress", done=done, total=total, phase=phase)

    def metrics(self, step: int, **figures: float) -> None:
        """Figures of a step."""
        plain = {name: value if math.isfinite(value) else str(value) for name, value in figures.items()}
        self.say("metrics", step=step, **plain)
        if self._file:
            with self._file.open("a") as out:
                out.write(json.dumps({"step": step, **plain}) + "\n")
        if self._board:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()  # with the line, so that both end at the same step when this is killed


def _board(folder: Path, after: int) -> Any:
    """What writes event files; those of later steps than ``after`` are marked as void."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        message = "event files need the package tensorboard: pip install 'gristmill[tensorboard]'"
        raise ConfigError("/config/loop/tensorboard", message) from None
    return SummaryWriter(str(folder), purge_step=after + 1)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # half a line


def peak_flops(device: torch.device) -> float | None:
    """Dense bf16 operations of a second that the device could do; None where nobody said."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def memory_bytes(device: torch.device) -> int:
    """Greatest memory so far: of the device, or of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:  # not ru_maxrss: on Linux a process begins with that of the one that started it
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
