"""The model families.

    model = build({"family": "assistant", "width": 512, "layers": 8}, seed=1)

A family is a configuration and a module.  Modules know nothing of training, of devices or of parallelism.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainer.config import from_dict
from trainer.errors import ConfigError
from trainer.models.assistant import Assistant, AssistantConfig
from trainer.models.common import init_weights
from trainer.models.dense import Dense, DenseConfig
from trainer.models.longdoc import LongDoc, LongDocConfig
from trainer.ranges import suggestion

FAMILIES: dict[str, tuple[Any, Any]] = {
    "longdoc": (LongDocConfig, LongDoc),
    "assistant": (AssistantConfig, Assistant),
    "dense": (DenseConfig, Dense),
}


def configure(settings: Mapping[str, Any]) -> Any:
    """The checked configuration that ``settings`` describes: ``family``, and fields of that family's configuration."""
    fields = dict(settings)
    family = fields.pop("family", None)
    if family not in FAMILIES:
        names = list(FAMILIES)
        raise ConfigError("/family", f"{family!r} is none of {', '.join(names)}{suggestion(str(family), names)}")
    return from_dict(FAMILIES[family][0], fields)


def build(settings: Mapping[str, Any], seed: int) -> nn.Module:
    """A model with fresh weights, the same for the same settings and seed."""
    config = configure(settings)
    model: nn.Module = FAMILIES[settings["family"]][1](config)
    init_weights(model, seed)
    return model
