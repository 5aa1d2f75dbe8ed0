"""The whole description, asked for what it promises and for what it forbids, by schemathesis, with rows in place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import update
from starlette.testclient import TestClient

from api.models.store import register
from api.runs import store
from api.runs.states import Actor
from api.store.database import Database
from api.store.tables import runs
from pipelines.model_folder import read_model
from tests.api.http import ADMIN_KEY, attempt_of, bearer, locked, queued_run
from workers.kinds import curate
from workers.progress import Progress

CRAWL = Path(__file__).parents[2] / "examples" / "crawl"
RECIPE = {
    "name": "small", "stages": [
        {"stage": "extraction"}, {"stage": "language", "keep": ["en", "zh"], "min_score": 0.5},
        {"stage": "gopher-quality"},
    ],
}  # fmt: skip
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance,
]  # fmt: skip
POLICY = {"policy": {"cron": "0 3 * * *"}}
LEFT_OUT = object()
EXAMPLES = 12  # of each operation and kind of data
SLOW = {"ask_what_if": 3, "estimate_run": 6, "compare_runs": 6, "diff_versions": 6}  # have fewer


class Finished(NamedTuple):
    """A run's folder and what its driver said of it."""

    output: str
    result: dict[str, Any]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A small run over a crawl of examples."""
    output = str(tmp_path_factory.mktemp("finished") / "run")
    request = {"recipe": RECIPE, "inputs": [str(CRAWL / "sample-000.warc.gz")], "roots": [str(CRAWL)]}
    work = {"request": request, "output": output, "models_root": "models", "backend": "inline", "workers": 1}
    return Finished(output, curate({**work, "ray_address": None}, Progress()))


class Filled(NamedTuple):
    """An application with rows of every kind.

    Attributes:
        there: values of path parameters that name something.
        bodies: parts of the bodies of operations that name something.
    """

    schema: Any
    there: dict[str, list[str]]
    bodies: dict[str, dict[str, Any]]


@pytest.fixture
def filled(database: Database, tmp_path: Path, finished: Finished) -> Filled:
    client = locked(tmp_path, database, allowed_hosts=("testserver",), requests_per_minute=0)
    client.headers.update(bearer(ADMIN_KEY))

    def post(path: str, body: Any) -> dict[str, Any]:
        answer = client.post(f"/api/v1/{path}", json=body)
        assert answer.status_code in (201, 202), answer.text
        made: dict[str, Any] = answer.json()
        return made

    job = {"recipe": RECIPE, "inputs": [{"source": "crawl", "path": "sample-*.warc.gz"}]}
    post("sources", {"name": "crawl", "root": str(CRAWL)})
    post("pipelines", {"name": "small", "recipe": RECIPE})
    post("schedules", {"name": "nightly", "policy": {"cron": "0 3 * * *"}, "request": job})
    hook = post("webhooks", {"url": "https://hooks.example", "kinds": ["*"]})
    key = post("keys", {"name": "spare"})
    done = post("runs", {**job, "tags": ["small"]})["id"]
    paused, failed = post("runs", job)["id"], post("runs", job)["id"]
    attempt_of(database, failed, "token")
    with database.write() as connection:
        values = {"state": "succeeded", "result": finished.result, "output": finished.output}
        connection.execute(update(runs).where(runs.c.id == done).values(**values, finished_at=1))
        now = database.now(connection)
        store.transition(connection, paused, "pause", Actor.USER, "t", now)
        store.transition(connection, failed, "fail", Actor.CONTROLLER, "t", now, "a reason")
    post("datasets/corpus/versions", {"run": done})
    training = post(
        "trainings", {"name": "t", "model": "small", "datasets": [{"name": "corpus"}], "config": {"steps": 1}}
    )["id"]
    with database.write() as connection:
        store.emit(connection, training, "training.metrics", "t", 1, {"points": [{"loss": 1.5, "step": 1}]}, 1)
        store.emit(connection, training, "training.checkpoint", "t", 1, {"path": "p"}, 1)
    evaluation = trained_and_asked(client, database, training, tmp_path)
    assert client.put("/api/v1/datasets/corpus/aliases/best", json={"version": 1}).status_code == 200
    deliveries = client.get(f"/api/v1/webhooks/{hook['id']}/deliveries").json()["items"]
    documents = client.get(f"/api/v1/runs/{done}/documents").json()["items"]
    files = client.get("/api/v1/datasets/corpus/versions/1/files").json()["items"]
    assert documents and files and deliveries
    names = {"datasets": "corpus", "models": "small", "pipelines": "small", "schedules": "nightly", "sources": "crawl"}
    there = {
        "run_id": [done, queued_run(database), paused, failed, training, evaluation], "other_id": [done],
        "document_id": [document["id"] for document in documents], "hook_id": [hook["id"]], "key_id": [key["id"]],
        "delivery_id": [delivery["id"] for delivery in deliveries], "ref": ["1", "latest", "best"],
        "path": [file["path"] for file in files], "path of models": ["manifest.json", "config.json"],
        "alias": ["best"], "number": ["1"], "measure": ["language_score", "token_count"],
        "run_id of evaluations": [evaluation], "file": ["responses.jsonl"],
        "run_id of pause": [queued_run(database), done],
        "run_id of resume": [queued_run(database, state="paused"), done],
        **{f"name of {what}": [name] for what, name in names.items()},
    }  # fmt: skip
    plain = dict.fromkeys(("recipe_yaml", "pipeline", "thresholds", "kind", "sample_share", "earlier"), LEFT_OUT)
    sense = {**plain, **job}
    bodies = {
        "submit_run": sense, "validate_run": sense, "estimate_run": sense, "make_pipeline": {**plain, "recipe": RECIPE},
        "add_revision": {**plain, "recipe": RECIPE}, "publish_version": {"run": done}, "preview_policy": POLICY,
        "make_schedule": {**POLICY, "request": job}, "change_schedule": {**POLICY, "request": job},
        "backfill_schedule": {"first_date": "2026-01-01", "last_date": "2026-01-03"}, "set_alias": {"version": 1},
        "start_training": {"datasets": [{"name": "corpus"}], "models": [{"name": "small"}]},
        "start_evaluation": {"datasets": [{"name": "corpus"}], "models": [{"name": "small"}]},
        "ask_advice": {"answers": {"task": "chat"}}, "set_model_alias": {"version": 1},
        "ask_what_if": {"thresholds": {"gopher-quality.few-words": 1}},
        "declare_source": {"root": str(CRAWL)}, "fork_run": {"thresholds": {"language.language-score": 0.7}},
        "make_webhook": {"url": "https://hooks.example"}, "make_key": {"scopes": ["runs:read"]},
    }  # fmt: skip
    return Filled(schemathesis.openapi.from_asgi("/api/v1/openapi.json", client.app), there, bodies)


def trained_and_asked(client: TestClient, database: Database, training: str, folder: Path) -> str:
    """A model that a training has made, with an alias; id of an evaluation of it that wrote something."""
    place = folder / "trained" / "model" / "final"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "manifest.json").write_text(json.dumps({"files": {"config.json": {"bytes": 2, "digest": "blake2b:1"}}}))
    model = read_model(str(place))
    found = {"folder": "model/final", "figures": {"loss": 1.5}, "stage": "sft", "family": "dense"}
    with database.write() as connection:
        connection.execute(update(runs).where(runs.c.id == training).values(output=str(folder / "trained")))
        run = store.find(connection, training)
        register(connection, run, {**found, "digest": model.digest, "kind": "language"}, 1)
    assert client.put("/api/v1/models/small/aliases/best", json={"version": 1}).status_code == 200
    body = {"name": "e", "task": "generate", "models": [{"name": "small"}]}
    evaluation = str(client.post("/api/v1/evaluations", json=body).json()["id"])
    (folder / "asked" / "output").mkdir(parents=True)
    (folder / "asked" / "output" / "responses.jsonl").write_text("{}\n" * 3)
    values = {"state": "succeeded", "output": str(folder / "asked")}
    with database.write() as connection:
        connection.execute(update(runs).where(runs.c.id == evaluation).values(**values, finished_at=1))
    return evaluation


MOSTLY = st.sampled_from([True, True, True, False])


def told(case: Case, filled: Filled, data: Any) -> Case:
    """The case, mostly with a path to something that is there, and with parts of its body that make sense."""
    for name in case.path_parameters or {}:
        what = case.path.split("/")[3]
        values = filled.there.get(f"{name} of {what}", filled.there.get(name))
        values = filled.there.get(f"{name} of {case.path.split('/')[-1]}", values)
        if values and data.draw(MOSTLY):
            case.path_parameters[name] = data.draw(st.sampled_from(values))
    sense = filled.bodies.get(case.operation.definition.raw["operationId"])
    if sense is not None and isinstance(case.body, dict) and data.draw(MOSTLY):
        merged = {**case.body, **sense}
        case.body = {name: value for name, value in merged.items() if value is not LEFT_OUT}
    if case.path.endswith("/diff") and data.draw(MOSTLY):
        case.query = {"first": "1", "second": "latest"}
    return case


def problems_only(response: Any) -> None:
    """Whatever is no success is a problem document."""
    if response.status_code >= 400 and response.request.method != "HEAD":
        [media_type] = response.headers["content-type"]
        assert media_type == "application/problem+json"
        found = response.json()
        assert found["status"] == response.status_code and found["type"].startswith("urn:gristmill:problem:")


def operations_of(schema: Any) -> Iterator[Any]:
    """Every operation; what removes things comes last."""
    found = [result.ok() for result in schema.get_all_operations()]
    return iter(sorted(found, key=lambda operation: (operation.method.upper() == "DELETE", operation.path)))


def kept(operation: Any, mode: GenerationMode, filled: Filled, statuses: set[int]) -> str | None:
    """What an operation does against its description; None where examples find nothing."""
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
    count = SLOW.get(operation.definition.raw["operationId"], EXAMPLES)

    @seed(1)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def ask(case: Case, data: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            case = told(case, filled, data)
        response = case.call(headers=bearer(ADMIN_KEY))
        statuses.add(response.status_code)
        problems_only(response)
        case.validate_response(response, checks=checks)

    try:
        ask()
    except Unsatisfiable:  # every value is a good one
        return None
    except (Exception, FailureGroup) as error:  # all of them are told, not the first alone
        return f"{operation.label}: {error}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_the_description_is_kept(filled: Filled, mode: GenerationMode) -> None:
    statuses: dict[str, set[int]] = {}
    failures = []
    for operation in operations_of(filled.schema):
        seen = statuses.setdefault(operation.definition.raw["operationId"], set())
        failure = kept(operation, mode, filled, seen)
        if failure:
            failures.append(failure)
    assert failures == [], "\n\n".join(failures)
    if mode is GenerationMode.POSITIVE:
        silent = {name for name, seen in statuses.items() if not any(status < 300 for status in seen)}
        # The run here is of pages and has no set; tests/api/test_preferences.py asks one of pairs.
        assert silent == {"get_set"}, "operations that nothing was answered to"
        assert {404, 409, 422} <= set().union(*statuses.values())
