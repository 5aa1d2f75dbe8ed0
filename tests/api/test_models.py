"""Models: registered once by what trained them, found by number and alias, handed on, and refused when replaced."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.client import Client
from api.models.store import MODELS, name_of, register
from api.runs import store
from api.store.database import Database
from cli.main import app
from tests.api.service import Service, running
from tests.api.test_trainings import TRAINER

WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("models")
    (folder / "crawl").mkdir()
    (folder / "crawl" / "a.jsonl").write_text(json.dumps({"text": "some words to learn from and nothing more"}) + "\n")
    with running(folder / "home", workers=1, trainer_command=TRAINER, max_attempts=3) as service:
        service.declare("crawl", folder / "crawl")
        recipe = {"name": "plain", "stages": [{"stage": "extraction"}], "deduplication": None}
        request = {"recipe": recipe, "inputs": [{"source": "crawl"}], "publish": "web"}
        service.succeeded(service.post("/runs", request)["id"])
        yield service


def train(service: Service, name: str, models: Any = (), model: str | None = None, **config: Any) -> str:
    request = {"name": name, "datasets": [{"name": "web"}], "models": list(models), "config": {"steps": 1, **config}}
    return str(service.post("/trainings", request | ({"model": model} if model else {}))["id"])


def trained(service: Service, name: str, *models: Any, **config: Any) -> dict[str, Any]:
    """The version that a training has made."""
    made = service.succeeded(train(service, name, models, **config))["result"]["registered"]
    found: dict[str, Any] = service.get(f"/models/{made['model']}/versions/{made['version']}")
    return found


def job_of(service: Service, run_id: str) -> Any:
    return json.loads((service.home / "runs" / run_id / "job.json").read_text())


def folder_of(service: Service, version: dict[str, Any]) -> Path:
    return service.home / "runs" / version["run"] / "model" / "final"


@pytest.mark.slow
def test_a_training_makes_a_version_of_the_model_it_is_named_after(service: Service) -> None:
    version = trained(service, "Small, again!")
    manifest = (folder_of(service, version) / "manifest.json").read_bytes()
    assert version["digest"] == "blake2b:" + hashlib.blake2b(manifest, digest_size=16).hexdigest()
    expected = {"model": "small-again", "number": 1, "kind": "language", "family": "abacus", "stage": "toy"}
    assert expected.items() <= version.items()
    assert version["figures"] == {"loss": 0.5, "endless": "inf"}
    assert trained(service, "small again")["number"] == 2
    assert service.get("/models/small-again")["latest"] == 2
    assert [one["number"] for one in service.pages("/models/small-again/versions")] == [2, 1]
    assert "small-again" in [one["name"] for one in service.pages("/models")]
    kinds = [event["kind"] for event in service.get(f"/runs/{version['run']}/events?limit=1000")["items"]]
    assert kinds.count("model.registered") == 1


@pytest.mark.slow
def test_aliases_move_and_latest_moves_by_itself(service: Service) -> None:
    trained(service, "aliased")
    call = service.call
    assert call("PUT", "/api/v1/models/aliased/aliases/best", {"version": 1})[1]["aliases"] == {"best": 1}
    trained(service, "aliased")
    numbers = [service.get(f"/models/aliased/versions/{ref}")["number"] for ref in ("best", "latest", "2")]
    assert numbers == [1, 2, 2]
    assert call("PUT", "/api/v1/models/aliased/aliases/best", {"version": 2})[0] == 200
    assert service.get("/models/aliased/versions/best")["number"] == 2
    assert call("PUT", "/api/v1/models/aliased/aliases/best", {"version": 3})[0] == 404
    assert call("PUT", "/api/v1/models/aliased/aliases/latest", {"version": 1})[0] == 422
    with Client(service.url) as client:
        client.models.remove_alias("aliased", "best")
    assert call("DELETE", "/api/v1/models/aliased/aliases/best")[0] == 404
    assert call("GET", "/api/v1/models/aliased/versions/best")[0] == 404
    actions = [line["action"] for line in service.pages("/audit") if line["subject"] == "aliased"]
    assert sorted(actions) == ["model.alias", "model.alias", "model.unalias"]


@pytest.mark.slow
def test_what_stands_for_a_version_now_is_what_a_training_gets(service: Service) -> None:
    first = trained(service, "base")
    run_id = train(service, "tuned", [{"name": "base"}, {"name": "base", "version": "1", "role": "reward"}])
    second = trained(service, "base")
    service.succeeded(run_id)
    given = job_of(service, run_id)
    assert given["task"] == "train"
    assert [(m["role"], m["version"]) for m in given["models"]] == [("start", 1), ("reward", 1)]
    assert {m["location"] for m in given["models"]} == {str(folder_of(service, first))}
    assert {m["digest"] for m in given["models"]} == {first["digest"]}
    lineage = service.get("/models/base/versions/1/lineage")
    roles = [{"model": "tuned", "version": 1, "role": role} for role in ("reward", "start")]
    assert lineage["children"] == roles and lineage["trainings"] == [run_id] and lineage["parents"] == []
    assert [(d["dataset"], d["version"]) for d in lineage["datasets"]] == [("web", 1)]
    lineage = service.get("/models/tuned/versions/latest/lineage")
    assert [(m["model"], m["version"], m["role"]) for m in lineage["parents"]] == [
        ("base", 1, "start"), ("base", 1, "reward")
    ]  # fmt: skip
    assert lineage["run"] == run_id and lineage["config"] == {"steps": 1}
    assert service.get(f"/models/base/versions/{second['number']}/lineage")["children"] == []


@pytest.mark.slow
def test_a_driver_that_dies_between_the_end_and_the_registration_registers_once(service: Service) -> None:
    run_id = train(service, "killed", kills_driver=True)
    run = service.succeeded(run_id)
    assert run["attempts"] == 2 and run["result"]["registered"] == {"model": "killed", "version": 1}
    assert [version["run"] for version in service.pages("/models/killed/versions")] == [run_id]


@pytest.mark.slow
def test_versions_that_are_not_there_are_named_before_anything_starts(service: Service) -> None:
    trained(service, "there")
    models = [{"name": "there", "version": "7"}, {"name": "nowhere"}, {"name": "there"}]
    request = {"name": "t", "datasets": [{"name": "none"}], "models": models, "config": {}}
    status, problem = service.call("POST", "/api/v1/trainings", request)
    assert status == 422
    assert [e["pointer"] for e in problem["errors"]] == ["/datasets/0", "/models/0", "/models/1"]


@pytest.mark.slow
def test_no_place_is_ever_taken(service: Service) -> None:
    for extra in ({"location": "/etc"}, {"digest": "blake2b:00"}):
        request = {"name": "t", "datasets": [{"name": "web"}], "models": [{"name": "web", **extra}], "config": {}}
        assert service.call("POST", "/api/v1/trainings", request)[0] == 422
    for name in ("../../etc", "/etc/passwd", "a/b"):
        request = {"name": "t", "datasets": [{"name": "web"}], "models": [{"name": name}], "config": {}}
        assert service.call("POST", "/api/v1/trainings", request)[0] == 422


@pytest.mark.slow
def test_a_replaced_model_is_refused_and_named(service: Service) -> None:
    version = trained(service, "replaced")
    manifest = folder_of(service, version) / "manifest.json"
    manifest.write_text(manifest.read_text().replace("blake2b:", "blake2b:0"))
    run = service.ended(train(service, "after", [{"name": "replaced"}]))
    assert (run["state"], run["attempts"]) == ("failed", 1)
    assert "model replaced version 1 is not the one that was registered" in run["reason"]
    status, problem = service.call("GET", "/api/v1/models/replaced/versions/1/files")
    assert status == 409 and "another manifest" in problem["detail"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"model": "../final"}, "the name of a folder"),
        ({"model": "nothing"}, "holds no model"),
        ({"digest": "blake2b:0"}, "the trainer says that its model has the digest"),
    ],
)
def test_what_is_no_model_is_not_registered(service: Service, says: dict[str, str], why: str) -> None:
    run = service.ended(train(service, "strange", says=says))
    assert run["state"] == "failed" and why in run["reason"]
    assert service.call("GET", "/api/v1/models/strange")[0] == 404


@pytest.mark.slow
def test_files_are_what_the_manifest_names_and_come_home_whole(service: Service, tmp_path: Path) -> None:
    version = trained(service, "taken", weights="these are the weights")
    files = service.get("/models/taken/versions/1/files")["items"]
    assert [file["path"] for file in files] == ["config.json", "gristmill.json", "manifest.json", "model.safetensors"]
    url = f"{service.url}/api/v1/models/taken/versions/latest/files/model.safetensors"
    part = WITHOUT_PROXY.open(urllib.request.Request(url, headers={"Range": "bytes=10-12"}))
    assert (part.status, part.read()) == (206, b"the")
    for path in ("state", "..%2Fstate", "..%2F..%2Fjob.json"):
        assert service.call("GET", f"/api/v1/models/taken/versions/1/files/{path}")[0] == 404
    with Client(service.url) as client:
        done = client.models.download("taken", "latest", tmp_path / "home")
        assert sorted(done["fetched"]) == [file["path"] for file in files]
        assert client.models.download("taken", 1, tmp_path / "home")["fetched"] == []
    same = {path.name: path.read_bytes() for path in folder_of(service, version).iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "home").iterdir()} == same


@pytest.mark.slow
def test_a_model_is_described(service: Service) -> None:
    trained(service, "described")
    assert service.call("PATCH", "/api/v1/models/described", {"description": "counts"})[1]["description"] == "counts"
    assert service.get("/models/described")["description"] == "counts"


# --- evaluations


def evaluate(service: Service, task: str, *models: Any, **config: Any) -> str:
    request = {"name": "asked", "task": task, "models": list(models), "config": {"steps": 1, **config}}
    return str(service.post("/evaluations", request)["id"])


@pytest.mark.slow
def test_an_evaluation_has_a_result_and_registers_nothing(service: Service) -> None:
    trained(service, "asked")
    run_id = evaluate(service, "generate", {"name": "asked"})
    run = service.succeeded(run_id)
    assert run["kind"] == "evaluation" and run["result"] == {"steps": 1, "rows": 0}
    given = job_of(service, run_id)
    assert given["task"] == "generate" and [m["role"] for m in given["models"]] == ["model"]
    assert given["output"].endswith(f"{run_id}/output") and given["datasets"] == []
    assert run_id in [one["id"] for one in service.pages("/evaluations")]
    assert run_id not in [one["id"] for one in service.pages("/trainings")]
    lineage = service.get("/models/asked/versions/1/lineage")
    assert (lineage["evaluations"], lineage["trainings"], lineage["children"]) == ([run_id], [], [])
    assert service.get("/models/asked")["latest"] == 1


@pytest.mark.slow
def test_an_evaluation_that_dies_goes_on(service: Service) -> None:
    run = service.succeeded(evaluate(service, "perplexity", steps=12, dies_at=8))
    assert run["attempts"] == 2 and run["result"]["steps"] == 12


@pytest.mark.slow
def test_what_an_evaluation_wrote_is_read_in_parts(service: Service) -> None:
    run_id = evaluate(service, "generate", steps=25)
    service.succeeded(run_id)
    with Client(service.url) as client:
        lines = list(client.evaluations.rows(run_id, "responses.jsonl", limit=10))
    assert lines == [{"task": "generate", "line": number} for number in range(25)]
    status, part = service.call("GET", f"/api/v1/evaluations/{run_id}/files/responses.jsonl?after=24")
    assert status == 200 and part in ({"task": "generate", "line": 24}, b'{"task": "generate", "line": 24}\n')
    assert service.call("GET", f"/api/v1/evaluations/{run_id}/files/answers.jsonl")[0] == 404
    for name in ("state", "..%2Fjob.json", "result.json", "%2Fetc%2Fpasswd"):
        assert service.call("GET", f"/api/v1/evaluations/{run_id}/files/{name}")[0] == 422
    training = train(service, "not asked")
    assert service.call("GET", f"/api/v1/evaluations/{training}/files/responses.jsonl")[0] == 404


@pytest.mark.slow
def test_a_task_that_is_none_is_refused(service: Service) -> None:
    for task in ("train", "nothing", "../x"):
        assert service.call("POST", "/api/v1/evaluations", {"name": "t", "task": task})[0] == 422


# --- advice


@pytest.mark.slow
def test_advice_is_what_the_trainer_advises(service: Service) -> None:
    from trainer.deploy.advise import advise

    answers = {"task": "summarisation", "corpus_tokens": 5e9, "languages": {"en": 3, "zh": 1}}
    found = service.post("/advice", {"answers": answers}, expect=200)
    assert "pretrain" in found.pop("text") and found == advise(answers).to_dict()
    names = [question["name"] for question in service.get("/advice")["items"]]
    assert names[0] == "task" and "corpus_tokens" in names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "pointers"),
    [
        ({}, ["/answers/task"]),
        ({"task": "poetry"}, ["/answers/task"]),
        ({"task": "chat", "gpus": -1}, ["/answers/gpus"]),
        ({"task": "chat", "gpus": 1.5, "a/b": 1}, ["/answers/gpus", "/answers/a~1b"]),
        ({"task": "chat", "languages": {}}, ["/answers/languages"]),
        ({"task": "chat", "days": "two"}, ["/answers/days"]),
    ],
)
def test_wrong_answers_are_named_and_not_repeated(service: Service, answers: Any, pointers: list[str]) -> None:
    status, problem = service.call("POST", "/api/v1/advice", {"answers": answers})
    assert status == 422 and [e["pointer"] for e in problem["errors"]] == pointers
    assert "poetry" not in json.dumps(problem) and "two" not in json.dumps(problem)


@pytest.mark.slow
def test_advice_has_figures_for_the_largest_answers(service: Service) -> None:
    numbers = [one["name"] for one in service.get("/advice")["items"] if one["kind"] in ("number", "whole")]
    for name in numbers:
        found = service.post("/advice", {"answers": {"task": "chat", name: 1e15}}, expect=200)
        assert found["estimates"]


# --- with the bundled trainer

DENSE = {"family": "dense", "width": 16, "layers": 1, "heads": 2}
TRAINING = {
    "tokenizer": {"kind": "bytes"}, "data": {"tokens": 64, "rows": 4},
    "loop": {"steps": 4, "log_every": 2, "checkpoint_every": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose trainer is the one of the house, with a corpus, instructions and preferences."""
    folder = tmp_path_factory.mktemp("bundled")
    for name, record in (
        ("pages", lambda n: {"url": f"http://a.example/{n}", "text": f"page {n} tells of grain and of mills"}),
        ("chats", lambda n: {"instruction": f"say {n}", "input": "", "output": f"it is {n}"}),
        ("pairs", lambda n: {"prompt": f"say {n}", "chosen": f"it is {n}", "rejected": f"no {n}"}),
    ):
        (folder / name).mkdir()
        lines = [json.dumps(record(n)) + "\n" for n in range(60)]
        (folder / name / "a.jsonl").write_text("".join(lines))
    with running(folder / "home", workers=1, trainer_command="python -m trainer", max_attempts=2) as service:
        for name, recipe in (
            ("pages", {"name": "pages", "stages": [{"stage": "extraction"}]}),
            ("chats", {"name": "chats", "entries": {"kind": "instructions"}, "stages": [{"stage": "instruction"}]}),
            ("pairs", {"name": "pairs", "entries": {"kind": "preferences"}, "stages": [{"stage": "pair"}]}),
        ):
            service.declare(name, folder / name)
            request = {"recipe": recipe, "inputs": [{"source": name}], "publish": name}
            service.succeeded(service.post("/runs", request)["id"])
        yield service


def started(service: Service, what: str, **request: Any) -> dict[str, Any]:
    found: dict[str, Any] = service.succeeded(service.post(f"/{what}", request)["id"])
    return found


def says(service: Service, *arguments: str) -> Any:
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    done = CliRunner().invoke(app, [*arguments, "--url", service.url, "--json"], env=environment)
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_from_a_corpus_to_a_tuned_model_and_its_lineage(bundled: Service) -> None:
    config = {**TRAINING, "stage": "pretrain", "model": DENSE}
    run = started(bundled, "trainings", name="base", datasets=[{"name": "pages"}], config=config)
    base = bundled.get("/models/base/versions/latest")
    assert (base["run"], base["digest"]) == (run["id"], run["result"]["digest"])
    assert (base["kind"], base["family"], base["stage"]) == ("language", "dense", "pretrain")
    assert base["figures"]["held_out_loss"] == run["result"]["held_out_loss"]
    started(
        bundled, "trainings", name="sft", model="tuned", datasets=[{"name": "chats"}],
        models=[{"name": "base", "version": "latest"}], config={**TRAINING, "stage": "sft"},
    )  # fmt: skip
    asked = started(
        bundled, "evaluations", name="p", task="perplexity", models=[{"name": "tuned"}], datasets=[{"name": "pages"}]
    )  # fmt: skip
    assert asked["result"]["documents"] == 60 and asked["result"]["perplexity"] > 1
    lineage = bundled.get("/models/tuned/versions/1/lineage")
    assert lineage["parents"] == [{"model": "base", "version": 1, "role": "start"}]
    assert [d["dataset"] for d in lineage["datasets"]] == ["chats"] and lineage["evaluations"] == [asked["id"]]
    lineage = bundled.get("/models/base/versions/1/lineage")
    assert lineage["children"] == [{"model": "tuned", "version": 1, "role": "start"}]
    lineage = bundled.get("/datasets/pages/versions/1/lineage")
    assert (lineage["trainings"], lineage["evaluations"]) == ([run["id"]], [asked["id"]])
    assert says(bundled, "models", "show", "tuned", "latest")["lineage"]["run"] != run["id"]
    found = says(bundled, "perplexity", "tuned@1", "-d", "pages")
    assert found["perplexity"] == asked["result"]["perplexity"]
    found = says(bundled, "generate", "tuned", "-p", "say 3", "--new-tokens", "4")
    assert len(found["responses"]) == 1 and found["responses"][0]["asked"] == "say 3"


@pytest.mark.slow
def test_a_tokenizer_is_a_version_that_models_are_given(bundled: Service) -> None:
    config = {"stage": "tokenizer", "tokenizer": {"kind": "bpe", "size": 300}}
    run = started(bundled, "trainings", name="words", datasets=[{"name": "pages"}], config=config)
    words = bundled.get("/models/words/versions/latest")
    assert (words["run"], words["digest"]) == (run["id"], run["result"]["digest"])
    assert (words["kind"], words["family"], words["stage"]) == ("tokenizer", None, "tokenizer")
    assert words["figures"]["bytes_per_token"] == run["result"]["bytes_per_token"] > 1
    config = {**TRAINING, "stage": "pretrain", "model": DENSE}
    request = {"datasets": [{"name": "pages"}], "models": [{"name": "words", "role": "tokenizer"}]}
    refused = bundled.ended(bundled.post("/trainings", {"name": "both", "config": config, **request})["id"])
    assert refused["state"] == "failed" and "/config/tokenizer: " in refused["reason"]
    del config["tokenizer"]
    lent = started(bundled, "trainings", name="lent", config=config, **request)
    said = [folder_of(bundled, bundled.get(f"/models/{name}/versions/1")) for name in ("words", "lent")]
    assert (said[0] / "tokenizer.json").read_bytes() == (said[1] / "tokenizer.json").read_bytes()
    lineage = bundled.get("/models/words/versions/1/lineage")
    assert lineage["children"] == [{"model": "lent", "version": 1, "role": "tokenizer"}]
    assert lineage["trainings"] == [refused["id"], lent["id"]]
    assert [(d["dataset"], d["version"]) for d in lineage["datasets"]] == [("pages", 1)]
    with Client(bundled.url) as client:
        del config["model"]
        run = client.trainings.start("from words", ["pages"], config, models=["words"])
        assert "is a tokenizer, no model" in bundled.ended(run["id"])["reason"]
        asked = client.evaluations.start("p", "perplexity", ["words"], ["pages"], {})
        assert "is a tokenizer, no model" in bundled.ended(asked["id"])["reason"]


FAMILIES = {
    "longdoc": {**DENSE, "family": "longdoc", "chunk": 16, "pairs": 4, "levels": 6, "allow_beyond": ["chunk"]},
    "assistant": {
        **DENSE, "family": "assistant", "layers": 2, "kv_heads": 1, "experts": 4, "allow_beyond": ["experts"],
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_way_to_an_aligned_model(bundled: Service, family: str) -> None:
    def train(stage: str, dataset: str, *models: tuple[str, str], **more: Any) -> str:
        given = [{"name": name, "role": role} for role, name in models]
        config, name = {**TRAINING, "stage": stage, **more}, f"{family}-{stage}"
        started(bundled, "trainings", name=name, datasets=[{"name": dataset}], models=given, config=config)
        return name

    base = train("pretrain", "pages", model=FAMILIES[family])
    tuned = train("sft", "chats", ("start", base))
    reward = train("reward", "pairs", ("start", tuned))
    policy = {"prompts": 4, "samples": 2, "new_tokens": 4, "epochs": 1, "minibatches": 1}
    aligned = train("ppo", "pairs", ("start", tuned), ("reward", reward), policy=policy)
    judges = [{"name": n, "role": role} for role, n in (("a", tuned), ("b", aligned), ("reward", reward))]
    config = {"evidence": "answers", "answers": {"first": 8, "sampling": {"new_tokens": 4}}}
    compared = started(
        bundled, "evaluations", name="c", task="compare", models=judges, datasets=[{"name": "pairs"}], config=config
    )["result"]  # fmt: skip
    assert compared["verdict"] in ("A", "B", "not yet") and compared["samples"] == 8
    told = bundled.get(f"/models/{aligned}/versions/1/lineage")
    assert {(p["model"], p["role"]) for p in told["parents"]} == {(tuned, "start"), (reward, "reward")}
    asked = {"prompts": ["say 3"], "sampling": {"new_tokens": 4}}
    made = started(bundled, "evaluations", name="g", task="generate", models=[{"name": aligned}], config=asked)
    with Client(bundled.url) as client:
        (row,) = client.evaluations.rows(made["id"], "responses.jsonl")
    assert row["asked"] == "say 3" and 0 < row["tokens"] <= 4


@pytest.mark.slow
def test_weights_that_were_changed_are_refused(bundled: Service) -> None:
    config = {**TRAINING, "stage": "pretrain", "model": DENSE}
    run = started(bundled, "trainings", name="damaged", datasets=[{"name": "pages"}], config=config)
    weights = bundled.home / "runs" / run["id"] / "model" / "final" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    request = {"name": "p", "task": "perplexity", "models": [{"name": "damaged"}], "datasets": [{"name": "pages"}]}
    ended = bundled.ended(bundled.post("/evaluations", request)["id"])
    assert (ended["state"], ended["attempts"]) == ("failed", 1)
    assert "model.safetensors is not what was written" in ended["reason"]


# --- in the database


@pytest.mark.parametrize(
    ("run", "name"), [("Ein Modell", "ein-modell"), ("模型", "model"), ("--x--", "x"), ("v1.2", "v1.2")]
)
def test_names_of_models(run: str, name: str) -> None:
    assert name_of(run) == name
    assert len(name_of(run * 200)) <= 100


def test_a_version_is_registered_once_on_both_databases(database: Database) -> None:
    trained = {"folder": "model/final", "digest": "blake2b:1", "kind": "reward", "family": None, "stage": None}
    with database.write() as connection:
        for number in (1, 2):
            new = store.NewRun("training", "t", {"model": "m"}, "/runs", "someone")
            run = store.submit(connection, new, number)
            rows = [register(connection, run, {**trained, "figures": {}}, 5) for _ in range(2)]
            assert rows[0] == rows[1] and rows[0]["number"] == number
            assert store.find(connection, run["id"])["result"] == {"registered": {"model": "m", "version": number}}
            found = MODELS.find(connection, "m", "latest").version
            assert (found["location"], found["kind"]) == (f"/runs/{run['id']}/model/final", "reward")
