"""A classifier in another process fails like one in this process, and a lost process is nobody's fault."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.batch import Batch
from curation.domain import Domain, DomainParameters
from curation.errors import InputError
from curation.pair_stages import sided
from pipelines.measures import measure_guarded
from tests.domain.conftest import LABELS, model_directory  # noqa: F401  # a fixture
from tests.pair_stages.build import pair
from workers.classifiers import RemoteScorer, start_classifiers, use_classifiers

ray = pytest.importorskip("ray")
TEXTS = ["one", "poison", "three"]


def score(texts: pa.Array) -> np.ndarray:
    if "poison" in texts.to_pylist():
        raise ValueError("cannot read 'poison'")
    return np.full((len(texts), len(LABELS)), 1 / len(LABELS), np.float32)


class Actor:
    """An actor that answers in this process; ``get`` gives what Ray would."""

    def __init__(self, answer: Callable[[pa.Array], np.ndarray]) -> None:
        self._answer = answer
        self.scores = SimpleNamespace(remote=lambda texts: (self, texts))

    @staticmethod
    def get(call: tuple[Actor, pa.Array]) -> np.ndarray:
        actor, texts = call
        try:
            return actor._answer(texts)
        except ray.exceptions.RayError:
            raise
        except Exception as error:
            told = ray.exceptions.RayTaskError("scores", "Traceback …", error, "ray::scores", 4711, "10.0.0.9")
            raise told.as_instanceof_cause() from None


def remote(monkeypatch: pytest.MonkeyPatch, answer: Callable[[pa.Array], np.ndarray]) -> RemoteScorer:
    monkeypatch.setattr(ray, "get", Actor.get)
    return RemoteScorer(tuple(LABELS), [Actor(answer)])


def ledger_text(stage: Domain) -> list[tuple[int, str, str]]:
    batch = Batch(pa.table({"text": pa.array(TEXTS, pa.large_string())}))
    errors = measure_guarded(stage, batch).errors
    return [(row, error.error_class, error.detail) for row, error in errors.items()]


def stage_of(directory: Any, scorer: Any) -> Domain:
    stage = Domain(DomainParameters(model=directory))
    stage.classifier = scorer
    return stage


def test_the_ledger_does_not_tell_where_a_document_failed(
    model_directory: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = ledger_text(stage_of(model_directory, SimpleNamespace(labels=tuple(LABELS), scores=score)))
    there = ledger_text(stage_of(model_directory, remote(monkeypatch, score)))
    assert here == there == [(1, "domain-failed", "ValueError: cannot read 'poison'")]


def raising(error: Exception) -> Callable[[pa.Array], np.ndarray]:
    def answer(texts: pa.Array) -> np.ndarray:
        raise error

    return answer


@pytest.mark.parametrize(
    "error",
    [
        ray.exceptions.ActorDiedError(),
        ray.exceptions.ActorUnavailableError("away", b"0" * 16),
        ray.exceptions.WorkerCrashedError(),
        ray.exceptions.OutOfMemoryError("the node is full"),
        ray.exceptions.ObjectLostError("00" * 28, None, ""),
        ray.exceptions.RayTaskError("scores", "Traceback …", SystemExit(1), "ray::scores", 4711, "10.0.0.9"),
        ray.exceptions.GetTimeoutError("late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_classifier_is_nobodys_fault(
    error: Exception,
    model_directory: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConnectionError, match=type(error).__name__):
        ledger_text(stage_of(model_directory, remote(monkeypatch, raising(error))))


def test_a_gpu_without_memory_is_nobodys_fault(
    model_directory: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    scorer = remote(monkeypatch, raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")))
    with pytest.raises(MemoryError, match=r"^domain: CUDA out of memory\. Tried"):
        ledger_text(stage_of(model_directory, scorer))


class Cluster:
    """Remembers how actors are started."""

    def __init__(self, gpus: int) -> None:
        self.gpus, self.started = gpus, []

    def cluster_resources(self) -> dict[str, float]:
        return {"GPU": float(self.gpus)} if self.gpus else {}

    def remote(self, _actor: type) -> Any:
        def options(**given: Any) -> Any:
            return SimpleNamespace(remote=lambda settings: self.started.append((given["num_gpus"], settings["device"])))

        return SimpleNamespace(options=options)


@pytest.mark.parametrize(
    ("device", "gpus", "started"),
    [("cpu", 0, [(0, "cpu")] * 4), ("cpu", 2, [(0, "cpu")] * 4), ("cuda", 2, [(1, "cuda")] * 2)],
)
def test_actors_run_where_the_plan_says(
    device: str,
    gpus: int,
    started: list[tuple[int, str]],
    model_directory: Any,  # noqa: F811
) -> None:
    cluster = Cluster(gpus)
    stage = Domain(DomainParameters(model=model_directory, device=device))
    assert set(start_classifiers(cluster, SimpleNamespace(stages=(stage,)), 4)) == {"domain"}
    assert cluster.started == started


def test_a_cluster_without_the_planned_gpu_is_refused(model_directory: Any) -> None:  # noqa: F811
    stage = Domain(DomainParameters(model=model_directory, device="cuda"))
    with pytest.raises(InputError, match="the Ray cluster has none"):
        start_classifiers(Cluster(0), SimpleNamespace(stages=(stage,)), 4)


def test_a_classifier_on_sides_of_pairs_is_in_actors_too(
    model_directory: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def answer(texts: pa.Array) -> np.ndarray:
        asked.append(texts.to_pylist())
        return np.tile(np.float32([0.125, 0.25, 0.625]), (len(texts), 1))

    kind = sided(Domain)
    stage = kind(kind.Parameters(model=model_directory, sides=["prompt", "rejected"]))
    plan: Any = SimpleNamespace(stages=(stage,))
    cluster = Cluster(0)
    assert set(start_classifiers(cluster, plan, 3)) == {"domain"} and cluster.started == [(0, "cpu")] * 3
    use_classifiers(plan, {"domain": remote(monkeypatch, answer)})
    found = stage.measure(Batch(pa.table({"text": pa.array([pair("one", "two", "three")], pa.large_string())})))
    assert asked == [["one"], ["three"]]
    assert {name: column.to_pylist() for name, column in found.columns.items() if name.endswith("domain")} == {
        "prompt_domain": LABELS[2:], "rejected_domain": LABELS[2:],
    }  # fmt: skip
