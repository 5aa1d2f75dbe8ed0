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
from curation.errors import InputError
from curation.pair_stages.sided import document_stage
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
        """Scores from one of the actors, chosen by the texts so that shards spread over them.

        Raises:
            ConnectionError: when no answer came; the shard is tried again.
            Exception: what the classifier raised, as if it had been here: a ledger must not tell where.
        """
        import ray

        sample = texts[0].as_py() if len(texts) else ""
        actor = self.actors[zlib.crc32(sample.encode()) % len(self.actors)]
        try:
            scores: np.ndarray = ray.get(actor.scores.remote(texts))
        except ray.exceptions.RayError as error:
            raise _without_ray(error, ray.exceptions) from None
        return scores


def _without_ray(error: Exception, exceptions: Any) -> Exception:
    cause = error.cause if isinstance(error, exceptions.RayTaskError) else None
    if isinstance(cause, Exception) and not isinstance(cause, exceptions.RayError):
        return cause
    return ConnectionError(f"a classifier actor did not answer: {type(error).__name__}")


def start_classifiers(ray: Any, plan: Plan, count: int) -> dict[str, RemoteScorer]:
    """Start the actors that a plan's classifier stages need, by the name of the stage.

    Args:
        count: actors for each stage; where they score on GPUs, each takes one of them.

    Raises:
        InputError: when the plan asks for a GPU and the cluster has none.
    """
    return {name: _start(ray, stage, count) for name, stage in _classifying(plan).items()}


def _classifying(plan: Plan) -> dict[str, Domain]:
    """The classifier stages of a plan by name, those that run on sides of pairs too."""
    stages = {stage.name: document_stage(stage) for stage in plan.stages}
    return {name: stage for name, stage in stages.items() if isinstance(stage, Domain)}


def _start(ray: Any, stage: Domain, count: int) -> RemoteScorer:
    on_gpu = stage.device == "cuda"
    if on_gpu:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        if not gpus:
            raise InputError(
                f"the stage {stage.name!r} shall run on GPUs, and the Ray cluster has none; say 'device: cpu' there"
            )
        count = min(count, gpus)
    remote = ray.remote(ClassifierActor).options(num_cpus=0, num_gpus=int(on_gpu), max_restarts=-1)
    actors = [remote.remote(stage.classifier_settings) for _ in range(count)]
    return RemoteScorer(tuple(stage.labels), actors)


def use_classifiers(plan: Plan, scorers: dict[str, RemoteScorer]) -> None:
    """Let the stages of a plan ask the actors instead of loading a model of their own."""
    for name, stage in _classifying(plan).items():
        if name in scorers:
            stage.classifier = scorers[name]
