"""Classifiers as Ray actors: a few processes hold the model, all workers send them bounded batches of text.

Loading a classifier takes seconds and hundreds of megabytes, and a GPU has room for few of them, so on Ray it is
not each worker's own.  The scores do not depend on where they were computed: an actor runs the same code over
the same batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.domain import Domain
from pipelines.plan import Plan


class ClassifierActor:
    """Holds one classifier.

    Args:
        settings: what ``load_classifier`` takes.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        from curation.domain import load_classifier

        self._classifier = load_classifier(**settings)

    def scores(self, texts: pa.LargeStringArray) -> np.ndarray:
        """``float32[n, labels]``."""
        scores: np.ndarray = self._classifier.scores(texts)
        return scores


@dataclass(frozen=True)
class RemoteScorer:
    """A classifier that lives in actors.

    Attributes:
        labels: in the order of the scores.
        actors: handles.
    """

    labels: tuple[str, ...]
    actors: Sequence[Any]

    def scores(self, texts: pa.LargeStringArray) -> np.ndarray:
        """Scores from one of the actors, chosen by the texts so that shards spread over them."""
        import ray

        sample = texts[0].as_py() if len(texts) else ""
        actor = self.actors[zlib.crc32(sample.encode()) % len(self.actors)]
        try:
            scores: np.ndarray = ray.get(actor.scores.remote(texts))
        except ray.exceptions.RayActorError as error:
            raise ConnectionError(f"a classifier actor died: {type(error).__name__}") from None
        return scores


def start_classifiers(ray: Any, plan: Plan, count: int) -> dict[str, RemoteScorer]:
    """Start the actors that a plan's classifier stages need, by the name of the stage.

    Args:
        count: actors for each stage; on a cluster with GPUs each takes one of them.
    """
    scorers = {}
    gpus = int(ray.cluster_resources().get("GPU", 0))
    number = min(count, gpus) if gpus else count
    for stage in plan.stages:
        if isinstance(stage, Domain):
            remote = ray.remote(ClassifierActor).options(num_cpus=0, num_gpus=1 if gpus else 0, max_restarts=-1)
            actors = [remote.remote(stage.classifier_settings) for _ in range(number)]
            scorers[stage.name] = RemoteScorer(tuple(stage.labels), actors)
    return scorers


def use_classifiers(plan: Plan, scorers: dict[str, RemoteScorer]) -> None:
    """Let the stages of a plan ask the actors instead of loading a model of their own."""
    for stage in plan.stages:
        if isinstance(stage, Domain) and stage.name in scorers:
            stage.classifier = scorers[stage.name]
