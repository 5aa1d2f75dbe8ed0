"""Trainings from the form to the curves, models, evaluations."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.pages.presets import FAMILIES, REWARDED, STAGES, config_of, sizes_of
from api.runs import store
from api.settings import Settings
from api.trainings.curves import MOST_POINTS, thinned
from tests.api.http import NOBODY, bearer, client_of, locked, make_key, serving, sqlite
from tests.pages.browser import WIDTHS, screenshot, watched
from tests.pages.finished import Mill
from tests.pages.learned import Learned, learned
from tests.pages.reading import read

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202eevil\u200b' + "W" * 3000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Any]:
    found = sqlite(tmp_path)
    yield found
    found.close()


def emitted(database: Any, home: Path, *attempts: list[dict[str, Any]]) -> str:
    """A training whose attempts have said points."""
    with database.write() as connection:
        now = database.now(connection)
        new = store.NewRun("training", "t", {"datasets": [], "config": {}, "display": []}, str(home), "test")
        run_id: str = store.submit(connection, new, now)["id"]
        for epoch, points in enumerate(attempts, 1):
            for point in points:
                store.emit(connection, run_id, "training.metrics", "test", now, {"points": [point]}, epoch)
    return run_id


def curves(client: TestClient, run_id: str, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/api/v1/trainings/{run_id}/curves{query}").json()
    return {one["name"]: one for one in answer["items"]}


# Curves


@pytest.mark.parametrize("most", [4, 9, 10, 500])
def test_long_curves_keep_their_extremes(most: int) -> None:
    points = [(float(n), float((n * 7919) % 10_007)) for n in range(20_000)]
    found = thinned(points, most)
    assert len(found) <= most and found == sorted(found) and set(found) <= set(points)
    assert found[0] == points[0] and found[-1] == points[-1]
    assert {min(y for _, y in found), max(y for _, y in found)} == {0.0, 10_006.0}
    assert thinned(points[:most], most) == points[:most]


def test_a_curve_says_what_was_said(taught: Learned) -> None:
    found = curves(taught.mill.client(), taught.base)
    loss = dict(found["loss"]["points"])
    assert len(found["loss"]["points"]) <= MOST_POINTS and found["loss"]["count"] == 3000
    assert loss[1234.0] == 77.0 and max(loss.values()) == 77.0
    assert all(math.isclose(y, 10 / math.sqrt(x) + 0.01 * math.sin(x)) for x, y in loss.items() if y != 77.0)
    assert found["loss"]["odd"] == [[2000.0, "nan"]] and 2000.0 not in loss
    assert found["held_out_loss"]["points"] == [[2900.0, 11 / math.sqrt(2900)], [3000.0, 11 / math.sqrt(3000)]]
    few = curves(taught.mill.client(), taught.base, "?points=9")
    assert max(len(one["points"]) for one in few.values()) == 8 and max(y for _, y in few["loss"]["points"]) == 77.0


def test_what_a_later_attempt_says_anew_counts(tmp_path: Path, database: Any) -> None:
    first = [{"step": n, "loss": float(n)} for n in range(1, 9)]
    second = [{"step": n, "loss": n + 0.5} for n in range(6, 13)]
    run_id = emitted(database, tmp_path, first, second)
    found = curves(client_of(tmp_path, database), run_id)["loss"]["points"]
    assert found == [[n, float(n)] for n in range(1, 6)] + [[n, n + 0.5] for n in range(6, 13)]


def test_a_curve_goes_on_where_it_was_read(tmp_path: Path, database: Any) -> None:
    client = client_of(tmp_path, database)
    run_id = emitted(database, tmp_path, [{"step": 1, "loss": 1.0}])
    assert curves(client, run_id)["loss"]["points"] == [[1, 1.0]]
    with database.write() as connection:
        now = database.now(connection)
        store.emit(connection, run_id, "training.metrics", "test", now, {"points": [{"loss": 2.0}, {"loss": True}]}, 1)
    found = curves(client, run_id)["loss"]
    assert found["points"] == [[1, 1.0], [2, 2.0]] and found["odd"] == [[3, "True"]]


def test_curves_are_of_trainings(tmp_path: Path, database: Any, data: Any) -> None:
    assert client_of(tmp_path, database).get(f"/api/v1/trainings/{NOBODY}/curves").status_code == 404
    assert data.mill.client().get(f"/api/v1/trainings/{data.first}/curves").status_code == 404


# Pages


def test_a_training_is_shown_with_what_it_is_given_and_what_it_made(taught: Learned) -> None:
    client = taught.mill.client()
    page = read(client, f"/trainings/{taught.base}")
    assert "/models/base/versions/1" in page.links() and "/datasets/web" in page.links()
    odd = [one.text_content() for one in page.all("//p[@class='wrong']")]
    assert odd == ["gradient_norm was no number at step 2,000 (inf).", "loss was no number at step 2,000 (nan)."]
    rows = page.rows("Loss, some steps")
    assert rows[0][0] == "3,000" and rows[-1][0] == "1" and len(rows) <= 20
    assert rows[0][1:] == [f"{10 / math.sqrt(3000) + 0.01 * math.sin(3000):.4g}", f"{11 / math.sqrt(3000):.4g}"]
    assert not page.all("//gm-live")
    live = read(client, f"/trainings/{taught.working}")
    assert live.all("//gm-live[@part='#live']") and "20 of 3,000 steps" in live.text()
    assert client.get(f"/runs/{taught.base}").headers["location"] == f"/trainings/{taught.base}"
    assert client.get(f"/trainings/{taught.verdict}").status_code == 404


def test_of_ppo_what_matters_is_drawn(taught: Learned) -> None:
    titles = [one.text_content() for one in read(taught.mill.client(), f"/trainings/{taught.tuned}").all("//h3")]
    wanted = ["Loss", "Reward", "Divergence from the reference", "Win rate", "Entropy", "Share that was clipped"]
    assert titles[: len(wanted)] == wanted


def test_trainings_are_listed_by_state(taught: Learned) -> None:
    client = taught.mill.client()
    assert f"/trainings/{taught.working}" in read(client, "/trainings?state=running").links()
    assert f"/trainings/{taught.base}" not in read(client, "/trainings?state=running").links()
    row = next(row for row in read(client, "/trainings?state=succeeded").rows("Trainings") if row[0] == "base")
    assert row[-1] == "base version 1"


def test_trainings_are_compared_in_the_same_charts(taught: Learned) -> None:
    client = taught.mill.client()
    page = read(client, f"/trainings/compare?ids={taught.base},{taught.tuned}")
    option = json.loads(page.all("//gm-chart/@data-option")[0])
    assert [one["name"].partition(" ")[0] for one in option["series"]] == ["base", "tuned"]
    differing = {row[0]: row[1:] for row in page.rows("Fields that differ")}
    assert differing["/stage"] == ['"pretrain"', '"ppo"'] and differing["/loop/steps"] == ["3000", "100"]
    assert read(client, f"/trainings/compare?ids={taught.base},nothing", 422)
    one = read(client, f"/trainings/compare?ids={taught.base}")
    assert f"{taught.base},{taught.tuned}" in [o.get("value") for o in one.all("//select[@name='ids']/option")]


# The form


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_trainer_takes_every_configuration_that_is_offered(stage: str, family: str) -> None:
    from trainer.config import from_dict
    from trainer.tasks.train import Config

    for size in sizes_of(family):
        for fresh in (True, False):
            config = from_dict(Config, config_of(stage, family, size.name, fresh=fresh))
            assert config.stage == stage and (config.model is not None) == (fresh and stage != "tokenizer")


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_have_as_many_weights_as_the_page_says(family: str) -> None:
    """Counted on the trainer's own configurations of models."""
    from trainer.models.assistant import AssistantConfig
    from trainer.models.dense import DenseConfig
    from trainer.models.longdoc import LongDocConfig

    kinds: dict[str, Any] = {"dense": DenseConfig, "longdoc": LongDocConfig, "assistant": AssistantConfig}
    for size in sizes_of(family):
        config = config_of("pretrain", family, size.name, fresh=True)
        settings = {**config["model"], "vocab": config["tokenizer"]["size"]}
        settings.pop("family")
        model = kinds[family](**settings)
        assert math.isclose(size.parameters, model.parameters(), rel_tol=0.002)
        assert math.isclose(size.active, model.active_parameters(), rel_tol=0.02)


def test_a_training_is_started_from_a_dataset_version(taught: Learned) -> None:
    client = taught.mill.client()
    page = read(client, "/trainings/new?dataset=web&version=1")
    assert page.all("//textarea[@name='datasets']")[0].text.strip() == "web@1"
    config = json.loads(page.all("//textarea[@name='config']")[0].text)
    assert config == config_of("pretrain", "dense", "nano", fresh=True)
    fields = {"name": "small", "datasets": "web@1", "config": json.dumps(config), "model": "small"}
    answer = client.post("/trainings/new", data=fields)
    assert answer.status_code == 303
    run = client.get(answer.headers["location"].replace("/trainings/", "/api/v1/runs/")).json()
    assert run["kind"] == "training" and run["config"] == config
    assert run["inputs"] == [{"source": "web", "path": "version 1"}]


def test_a_fresh_model_may_share_a_tokenizer(taught: Learned) -> None:
    client = taught.mill.client()
    alone = read(client, "/trainings/new?dataset=web&stage=tokenizer&start=base@1").all("//textarea[@name='config']")
    assert json.loads(alone[0].text) == {"stage": "tokenizer", "tokenizer": {"kind": "bpe", "size": 2048}}
    page = read(client, "/trainings/new?dataset=web&version=1&tokenizer=base@1")
    config = json.loads(page.all("//textarea[@name='config']")[0].text)
    own = config_of("pretrain", "dense", "nano", fresh=True)
    assert config == {name: value for name, value in own.items() if name != "tokenizer"}
    assert page.all("//input[@name='tokenizer']/@value") == ["base@1"]
    fields = {"name": "shares", "datasets": "web@1", "tokenizer": "base@1", "config": json.dumps(config), "model": ""}
    run_id = client.post("/trainings/new", data=fields).headers["location"].rsplit("/", 1)[-1]
    inputs = client.get(f"/api/v1/runs/{run_id}").json()["inputs"]
    assert {"source": "base", "path": "version 1", "role": "tokenizer"} in inputs
    again = read(client, f"/trainings/new?like={run_id}")
    assert again.all("//input[@name='tokenizer']/@value") == ["base@1"]


def test_a_stage_says_what_it_wants(taught: Learned) -> None:
    client = taught.mill.client()
    page = read(client, "/trainings/new?dataset=web&stage=ppo")
    wrong = [one.text_content() for one in page.all("//p[@class='wrong']")]
    assert len(wrong) == 3  # kind of data, start, reward
    assert "tokenizer" not in json.loads(
        read(client, "/trainings/new?dataset=web&stage=sft&start=base@1").all("//textarea[@name='config']")[0].text
    )
    assert "base@1" in [one.get("value") for one in page.all("//select[@name='start']/option")]
    again = read(client, f"/trainings/new?like={taught.tuned}")
    assert again.all("//input[@name='start']/@value") == ["base@1"]
    assert json.loads(again.all("//textarea[@name='config']")[0].text)["stage"] == "ppo"
    assert set(REWARDED) < set(STAGES)


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("datasets", "nothing@1", "datasets-wrong"), ("config", "{", "config-wrong"), ("name", "", "name-wrong"),
        ("config", "[" * 5000, "config-wrong"), ("start", "nothing", "models-wrong"), ("model", "No!", "model-wrong"),
    ],
)  # fmt: skip
def test_what_is_wrong_stands_at_its_field(taught: Learned, field: str, value: str, wrong: str) -> None:
    fields = {"name": "t", "datasets": "web@1", "config": "{}", field: value}
    answer = taught.mill.client().post("/trainings/new", data=fields)
    assert answer.status_code == 422 and f'id="{wrong}"' in answer.text
    assert value in answer.text  # what was given is there to be mended


def test_a_viewer_starts_nothing(tmp_path: Path, database: Any) -> None:
    client = locked(tmp_path, database)
    key = bearer(make_key(database, "viewer")[1])
    assert "/trainings/new" not in client.get("/trainings", headers=key).text
    for path in ("/trainings/new", "/evaluations/new"):
        assert client.get(path, headers=key).status_code == 403
        assert client.post(path, data={"name": "x"}, headers=key).status_code == 403


# Models and evaluations


def test_a_model_is_shown_with_its_lineage(taught: Learned) -> None:
    client = taught.mill.client()
    assert [row[0] for row in read(client, "/models").rows("Models")] == ["base", "tuned"]
    page = read(client, "/models/base/versions/1")
    for link in (f"/trainings/{taught.base}", "/datasets/web/versions/1", "/models/tuned/versions/1",
                 f"/evaluations/{taught.verdict}"):  # fmt: skip
        assert link in page.links(), link
    assert "/models/base/versions/1" in read(client, "/models/tuned/versions/latest").links()
    files = {row[0]: row[1] for row in page.rows("Files")}
    assert files["model.safetensors"] == "7 B"


def test_aliases_move_and_go(taught: Learned) -> None:
    client = taught.mill.client()
    assert client.post("/models/tuned/aliases", data={"alias": "best", "version": "1"}).status_code == 303
    assert client.get("/api/v1/models/tuned").json()["aliases"] == {"best": 1}
    for alias, version in (("Best", "1"), ("latest", "1"), ("best", "x")):
        assert client.post("/models/tuned/aliases", data={"alias": alias, "version": version}).status_code == 422
    assert client.post("/models/tuned/describe", data={"description": "Says it well"}).status_code == 303
    assert "Says it well" in read(client, "/models/tuned").text()
    assert "stands for version 1" in read(client, "/models/tuned/aliases/best/remove").text()
    assert client.post("/models/tuned/aliases/best/remove", data={}).status_code == 303
    assert client.get("/api/v1/models/tuned").json()["aliases"] == {}


def test_an_evaluation_is_shown_with_its_verdict_and_its_lines(taught: Learned) -> None:
    client = taught.mill.client()
    assert any("A is better" in row[2] for row in read(client, "/evaluations").rows("Evaluations"))
    assert "A is better" in read(client, f"/evaluations/{taught.verdict}").text("//div[@class='card']")
    found, path = [], f"/evaluations/{taught.answers}"
    while path:
        page = read(client, path)
        found += [one.get("aria-label") for one in page.all("//article")]
        path = next(iter(page.links("//a[@rel='next']/@href")), "").partition("#")[0]
    assert found == [f"Line {number}" for number in range(1, 31)]


def test_an_evaluation_is_started(taught: Learned) -> None:
    client = taught.mill.client()
    page = read(client, "/evaluations/new?task=compare&model=base@1")
    assert page.all("//textarea[@name='models']")[0].text.split() == ["a=base@1", "b="]
    fields = {"name": "e", "task": "compare", "models": "a=base@1\nb=tuned", "datasets": "web@1", "config": "{}"}
    answer = client.post("/evaluations/new", data=fields)
    run = client.get(answer.headers["location"].replace("/evaluations/", "/api/v1/runs/")).json()
    assert [(one["source"], one.get("role")) for one in run["inputs"]] == [("web", None), ("base", "a"), ("tuned", "b")]
    wrong = client.post("/evaluations/new", data={**fields, "models": "a=nothing", "task": "compare"})
    assert wrong.status_code == 422 and 'id="models-wrong"' in wrong.text


# Hostile texts, and a browser


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    mill = Mill.at(tmp_path_factory.mktemp("hostile") / "home")
    recipe = {"name": "plain", "stages": [{"stage": "extraction"}], "deduplication": None}
    mill.finished("First", recipe, [mill.lines("a.jsonl", [{"text": "some words that are kept here"}])], "web")
    found = learned(mill, HOSTILE[:150] + "W" * 400)
    client = mill.client()
    client.patch("/api/v1/models/base", json={"description": HOSTILE[:1900]})
    return found


def addresses(found: Learned) -> list[str]:
    return [
        "/trainings", f"/trainings/{found.base}", f"/trainings/{found.tuned}", f"/trainings/{found.working}",
        f"/trainings/compare?ids={found.base},{found.tuned}", "/trainings/new?dataset=web&version=1",
        f"/trainings/new?like={found.base}", "/models", "/models/base", "/models/base/versions/1", "/evaluations",
        f"/evaluations/{found.verdict}", f"/evaluations/{found.answers}", "/evaluations/new?task=win_rate&model=base@1",
    ]  # fmt: skip


def test_hostile_texts_are_texts(hostile: Learned) -> None:
    client = hostile.mill.client()
    for path in addresses(hostile):
        page = read(client, path)
        assert "<script>alert" not in page.html and "\u202e" not in page.html and "<img src=x" not in page.html, path
        assert not page.all("//@onerror") and not page.all("//*[@style]"), path
    assert "U+202E" in client.get(f"/trainings/{hostile.base}").text


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_they_read_well(taught: Learned, browser: Any, width: int, theme: str) -> None:
    with (
        serving(taught.mill.app) as (host, port),
        watched(browser, f"http://{host}:{port}", width, theme=theme) as seen,
    ):
        for number, path in enumerate(addresses(taught)):
            page = seen.open(path)
            if page.query_selector("gm-chart"):
                page.wait_for_selector("gm-chart.drawn canvas")
            seen.quiet()
            seen.fits()
            if width == 1024 or theme == "light":
                seen.accessible()
            screenshot(page, f"learn-{number:02}-{width}-{theme}")


@pytest.mark.slow
def test_nothing_hostile_runs_or_is_too_wide(hostile: Learned, browser: Any) -> None:
    with serving(hostile.mill.app) as (host, port), watched(browser, f"http://{host}:{port}", 375) as seen:
        for path in addresses(hostile):
            seen.open(path)
            seen.quiet()
            seen.fits()


@pytest.mark.slow
def test_a_form_follows_its_choices_and_curves_follow_their_training(taught: Learned, browser: Any) -> None:
    # Another one: an application that was served once ends its streams.
    app = create_app(Settings(home=taught.mill.folder), taught.mill.database)
    with serving(app) as (host, port), watched(browser, f"http://{host}:{port}") as seen:
        page = seen.open("/trainings/new?dataset=web")
        page.select_option("select[name=family]", "longdoc")
        page.wait_for_selector("#setup textarea:text('longdoc')")
        assert "family=longdoc" in page.url
        page = seen.open(f"/trainings/{taught.working}")
        page.wait_for_selector("gm-chart.drawn canvas")
        with taught.mill.database.write() as connection:
            now = taught.mill.database.now(connection)
            points = {"points": [{"step": 21, "loss": 0.125}]}
            store.emit(connection, taught.working, "training.metrics", "test", now, points, 1)
        page.wait_for_selector("#live td:text-is('0.125')", state="attached")
        seen.quiet()
