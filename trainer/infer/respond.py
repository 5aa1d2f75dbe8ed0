"""Answers of a model from a folder, as tasks ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from trainer.errors import ConfigError
from trainer.infer.engine import Engine, Response
from trainer.infer.prompts import key_of, stops
from trainer.infer.sampling import Sampling
from trainer.model_folder import Model, open_model
from trainer.train.device import compute_type, pick_device
from trainer.train.metrics import Voice


def language_model(entry: Mapping[str, Any], role: str) -> Model:
    """A model that can answer.

    Raises:
        ConfigError: it is a reward model.
    """
    model = open_model(entry)
    if model.kind != "language":
        raise ConfigError("/models", f"the model with the role {role!r} is a {model.kind} model; it gives no answers")
    return model


def respond(
    model: Model, prompts: Sequence[np.ndarray], sampling: Sampling, *, samples: int = 1, slots: int,
    precision: Literal["fp32", "bf16"], device: str | None, phase: str,
) -> list[Response]:  # fmt: skip
    """Answers to all prompts, by prompt and sample; says how far it is.

    Args:
        prompts: tokens of each.
        phase: what it says that it does.

    Raises:
        ConfigError: the model cannot hold that many tokens.
    """
    place, voice, total = pick_device(device), Voice(None), len(prompts) * samples
    module, dtype = model.module.to(place).eval(), compute_type(precision)
    engine = Engine(module, slots=slots, stop=stops(model.tokenizer), device=place, dtype=dtype)
    try:
        answers = engine.generate(prompts, sampling, samples=samples, keys=[key_of(prompt) for prompt in prompts])
    except ConfigError as error:
        raise error.under("/config/sampling") from None
    found = []
    for response in answers:
        found.append(response)
        if len(found) % max(1, total // 100) == 0:
            voice.progress(len(found), total, phase)
    return sorted(found, key=lambda response: response[:2])
