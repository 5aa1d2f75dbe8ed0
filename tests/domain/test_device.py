"""A run scores on one kind of device from its first shard to its last, and says which."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curation.domain import Domain, DomainParameters, device
from curation.errors import InputError
from pipelines.plan import Plan, rebuild_plan
from tests.support.corpus import english, write_jsonl
from tests.support.runs import gristmill, plan_of, write_recipe
from workers.tasks import Job
from workers.tasks import plan_of as plan_of_worker

RECIPE = """
name: by subject
stages:
  - stage: extraction
  - stage: domain
    model: {model}
"""


@pytest.fixture(autouse=True)
def forget() -> None:
    device._present.cache_clear()


def on_a_machine_with(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_present", lambda: kind)


def planned(folder: Path, model: Path, more: str = "") -> Plan:
    shard = write_jsonl(folder / "s.jsonl", [{"text": english(1)}])
    return plan_of(write_recipe(folder, RECIPE.format(model=model) + more), shard)


def facts(plan: Plan) -> dict[str, str]:
    return next(stage for stage in plan.stages if isinstance(stage, Domain)).facts()


@pytest.mark.parametrize(("kind", "precision", "budget"), [("cpu", "float32", "256"), ("cuda", "bfloat16", "8192")])
def test_facts_tell_device_precision_and_budget(
    kind: str, precision: str, budget: str, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_machine_with(kind, monkeypatch)
    for parameters in ({}, {"device": "auto"}, {"device": kind}):
        stage = Domain(DomainParameters.model_validate({"model": model_directory, **parameters}))
        assert stage.parameters.device == kind == stage.classifier_settings["device"]
        found = stage.facts()
        assert (found["device"], found["precision"], found["token_budget"]) == (kind, precision, budget)
    given = DomainParameters(model=model_directory, token_budget=64)
    assert Domain(given).facts()["token_budget"] == "64"


def test_another_device_is_another_key(tmp_path: Path, model_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {}
    for kind in ("cpu", "cuda"):
        on_a_machine_with(kind, monkeypatch)
        plan = planned(tmp_path, model_directory)
        links, _ = plan.chain(plan.shards[0])
        keys[kind] = {link.stage.name: link.key for link in links}
        assert planned(tmp_path, model_directory, f"    device: {kind}\n").publication_key() == plan.publication_key()
    differing = [name for name, key in keys["cpu"].items() if keys["cuda"][name] != key]
    assert differing[0] == "domain" and "extraction" not in differing


def test_workers_score_as_planned_whatever_they_run_on(
    tmp_path: Path, model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ray task sees no GPU, though the driver and the classifier's actors do."""
    on_a_machine_with("cuda", monkeypatch)
    plan = planned(tmp_path, model_directory)
    assert plan.recipe.expanded["stages"][1]["device"] == "cuda"
    on_a_machine_with("cpu", monkeypatch)
    assert facts(rebuild_plan(plan.plain(), tmp_path)) == facts(plan)
    job = Job(plan.plain(), str(tmp_path), str(tmp_path / "out"), plan.publication_key())
    assert plan_of_worker(job).publication_key() == plan.publication_key()


def test_a_gpu_that_is_asked_for_must_be_there(model_directory: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("it is")
    stage = Domain(DomainParameters(model=model_directory, device="cuda"))
    assert stage.facts()["device"] == "cuda"  # what a cluster shall do can be planned without one
    with pytest.raises(InputError, match="no device 'cuda' here"):
        _ = stage.classifier


@pytest.mark.parametrize(
    ("version", "file", "expected"),
    [
        ("2.13.0", "nvidia0", True),
        ("2.13.0+cu130", "nvidiactl", True),
        ("2.13.0", "dxg", True),
        ("2.13.0+rocm6.4", "kfd", True),
        ("2.13.0+cpu", "nvidia0", False),
        ("2.13.0", "nvme0", False),
        ("2.13.0", "nvram", False),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="device files are Linux's")
def test_where_a_gpu_may_be(
    version: str, file: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).touch()
    monkeypatch.setattr(device, "version", lambda _: version)
    assert device._may_have_gpu(tmp_path) is expected


def test_planning_does_not_load_torch(model_directory: Path) -> None:
    if device._may_have_gpu():
        pytest.skip("only torch knows whether the GPU of this machine serves")
    code = (
        "import sys; from curation.domain import Domain, DomainParameters\n"
        "print(Domain(DomainParameters(model=sys.argv[1])).facts()['device'], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(model_directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "False"]


def test_explain_tells(tmp_path: Path, model_directory: Path) -> None:
    recipe = write_recipe(tmp_path, RECIPE.format(model=model_directory) + "    device: cuda\n")
    shown = [line.split() for line in gristmill("explain", recipe).stdout.splitlines()]
    assert ["domain.device", "cuda", f"{recipe}:7"] in shown
    for fact in (["device", "cuda"], ["precision", "bfloat16"], ["token_budget", "8192"]):
        assert ["domain", *fact] in shown
