"""How many processes do a job, as ``torchrun`` and others say it in the environment."""

from __future__ import annotations

import os

from trainer.errors import ConfigError


def check_alone() -> None:
    """Refuse to be one of several: they would all do the whole job, and write to the same folder.

    Raises:
        ConfigError: there are others.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size != "1":
        raise ConfigError(
            "", f"WORLD_SIZE is {size}: a job is done by one process, parallel training is not there yet; start one "
            "(torchrun --nproc-per-node 1)"
        )  # fmt: skip
