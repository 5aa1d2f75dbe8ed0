"""What models cost to use, measured where the job runs (``trainer.deploy.cost``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.deploy.cost import CostConfig, Subject, measure, precisions, table
from trainer.errors import ConfigError
from trainer.job import Job, origin
from trainer.model_folder import open_model
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.train.device import pick_device

MOST_CELLS = 72
"""A result is a line of 64 KiB at the most."""


@dataclass(frozen=True, kw_only=True)
class Config(CostConfig):
    """What is measured, and of which models that are not there yet.

    Attributes:
        fresh: by name, ``family`` and fields of its configuration; their weights are random.  Beside them, the models
            of the job with the role ``model``.
    """

    fresh: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Measure; the text of the table is in the result too."""
    job.check_roles(("model",))
    subjects = [*_trained(job), *_fresh(config)]
    if not subjects:
        raise ConfigError("/models", "give a model, or settings of one that is not there yet in /config/fresh")
    device = pick_device(config.device)
    cells = len(subjects) * len(precisions(config, device)) * len(config.lengths) * len(config.batches)
    if cells > MOST_CELLS:
        raise ConfigError("/config/lengths", f"{cells} cells are too many for one result; at most {MOST_CELLS}")
    result = measure(subjects, config, device)
    return {**result, "models": [origin(entry) for entry in job.models], "table": table(result)}


def _trained(job: Job) -> list[Subject]:
    """The models that were given; a reward model is measured by its trunk."""
    subjects = []
    for place, entry in enumerate(job.models):
        module = open_model(entry).module
        name = f"{entry.get('name', f'model-{place}')}" + (f"@{entry['version']}" if "version" in entry else "")
        subjects.append(Subject(name, module.trunk if isinstance(module, ScalarHead) else module))
    return subjects


def _fresh(config: Config) -> list[Subject]:
    subjects = []
    for name, settings in config.fresh.items():
        try:
            subjects.append(Subject(name, build(settings, config.seed)))
        except ConfigError as error:
            raise error.under(f"/config/fresh/{name}") from None
    return subjects
