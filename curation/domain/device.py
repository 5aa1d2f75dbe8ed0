"""What a classifier scores with: kind of device, precision, size of a pass.

Scores of a processor and of a GPU differ, so a run must not mix them: the kind of device is decided once, when
a recipe is read, and every process of the run is told.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

Kind = Literal["cpu", "cuda"]
Choice = Literal["auto", "cpu", "cuda"]

PRECISION: dict[Kind, Literal["float32", "bfloat16"]] = {"cpu": "float32", "cuda": "bfloat16"}

# Padded tokens of a forward pass.  One processor core is as fast with 256 tokens as with 8,192, and passes
# that are not full cost least when they are small; a GPU needs more to be busy.
TOKEN_BUDGET: dict[Kind, int] = {"cpu": 256, "cuda": 8192}

# Where Linux shows what torch calls "cuda": NVIDIA's driver, on Jetson, under WSL; AMD's driver.
_DEVICE_FILES = ("nvidiactl", "nvidia[0-9]*", "nvmap", "dxg", "kfd")


def kind_of(choice: Choice) -> Kind:
    """The kind of device that ``auto`` means on this machine; any other choice as it is."""
    return _present() if choice == "auto" else choice


@lru_cache(maxsize=1)
def _present() -> Kind:
    # Importing torch takes seconds; most machines tell without it that it would find no GPU.
    if not _may_have_gpu():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _may_have_gpu(devices: Path = Path("/dev")) -> bool:
    try:
        build = version("torch").partition("+")[2]
    except PackageNotFoundError:
        return False
    if build == "cpu" or sys.platform == "darwin":
        return False
    return sys.platform != "linux" or any(next(devices.glob(name), None) is not None for name in _DEVICE_FILES)
