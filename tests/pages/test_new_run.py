"""A new run: every fault at its field, and what is sent is what the form says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.pages.thresholds import changed_thresholds, fields_of, number, spelled
from api.statistics.models import RuleSummary
from tests.api.http import client_of, serving, sqlite
from tests.pages.browser import WIDTHS, screenshot, watched
from tests.pages.reading import Read, read

RECIPE = """
name: plain
stages:
  - stage: extraction
  - stage: language
    keep: [en]
  - stage: gopher-quality
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    database = sqlite(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("a.jsonl", "deep/b.jsonl", 'deep/"><img src=x>.jsonl'):
        (tmp_path / "in" / name).write_text('{"text": "x"}\n')
    found = client_of(tmp_path, database)
    found.post("/api/v1/sources", json={"name": "here", "root": str(tmp_path / "in")})
    found.post("/api/v1/pipelines", json={"name": "ours", "recipe_yaml": RECIPE})
    yield found
    database.close()


def fields(page: Read) -> dict[str, str]:
    """What a browser sends if nothing is touched."""
    found = {f.get("name"): f.get("value", "") for f in page.all("//form[@id='new']//input")}
    found |= {f.get("name"): f.text or "" for f in page.all("//form[@id='new']//textarea")}
    for one in page.all("//form[@id='new']//select"):
        chosen = one.xpath(".//option[@selected]") or one.xpath(".//option")
        found[one.get("name")] = chosen[0].get("value", chosen[0].text)
    return found


def sent(client: TestClient, do: str, status: int = 200, **changes: str) -> Any:
    """The form for our pipeline with some fields changed."""
    given = fields(read(client, "/runs/new?choice=pipeline:ours"))
    answer = client.post("/runs/new", data={**given, "do": do, **changes})
    assert answer.status_code == status, answer.text[-2000:]
    return answer if status == 303 else Read(answer)


def test_every_threshold_says_what_it_is(client: TestClient) -> None:
    page = read(client, "/runs/new?choice=pipeline:ours")
    told = page.text("//details[.//input[@name='t.gopher-quality.few-words']]")
    assert "kept while word_count >= the threshold" in told and "words that are more than punctuation" in told
    assert page.all("//input[@name='t.gopher-quality.few-words']/@value") == ["50"]
    assert not page.all("//input[@name='t.gopher-quality.few-words.zh']")  # it keeps English only


def test_what_is_left_alone_changes_nothing(client: TestClient) -> None:
    answer = sent(client, "submit", 303)
    run = client.get("/api/v1" + answer.headers["location"]).json()
    expected = client.get("/api/v1/pipelines/ours/revisions/1").json()["recipe"]
    assert run["recipe"] == expected and run["pipeline"] and run["revision"] == 1
    assert run["inputs"] == [{"source": "here", "path": ""}] and run["kind"] == "curate" and run["name"] == "plain"


def test_everything_that_is_filled_in_is_asked_for(client: TestClient) -> None:
    answer = sent(
        client, "submit", 303, publish="web", name="Mine", tags="a b", priority="7", note="n\r\nm",
        **{"path.0": "a.jsonl", "t.gopher-quality.few-words": "12", "t.gopher-quality.hashes": ""},
    )  # fmt: skip
    run = client.get("/api/v1" + answer.headers["location"]).json()
    stage = run["recipe"]["stages"][2]
    assert (stage["min_words"]["default"], stage["max_hash_ratio"]["default"]) == (12, None)
    assert stage["min_words"]["zh"] == 80  # those of other languages stay
    assert (run["name"], run["tags"], run["priority"], run["note"]) == ("Mine", ["a", "b"], 7, "n\nm")
    assert run["inputs"] == [{"source": "here", "path": "a.jsonl"}]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"publish": "Not Good"}, "publish"), ({"tags": "ok NO"}, "tags"), ({"priority": "101"}, "priority"),
        ({"source.0": "", "path.0": ""}, "source-0"), ({"source.0": "gone"}, "source-0"),
        ({"path.0": "../secret"}, "path-0"), ({"t.gopher-quality.few-words": "many"}, "thresholds"),
        ({"t.gopher-quality.few-words": "-3"}, "thresholds"), ({"choice": "pipeline:gone"}, "choice"),
        ({"choice": "paste", "paste": "name: [x"}, "paste"), ({"choice": "paste", "paste": "{}"}, "paste"),
        ({"choice": "paste", "paste": ""}, "paste"),
    ],
)  # fmt: skip
def test_a_fault_stands_at_its_field_and_nothing_starts(
    client: TestClient, changes: dict[str, str], field: str
) -> None:
    page = sent(client, "submit", 422, **changes)
    assert page.text(f"//*[@id='fault-{field}']"), page.text("//section[@id='check']")
    assert page.all("//section[@id='check']//*[@role='alert']")
    for name, value in changes.items():
        if not name.startswith(("choice", "source")):
            assert value in page.html
    assert client.get("/api/v1/runs").json()["items"] == []


def test_checking_starts_nothing(client: TestClient) -> None:
    assert "Everything is in order" in sent(client, "check").text("//section[@id='check']")
    assert client.get("/api/v1/runs").json()["items"] == []


def test_a_service_without_models_begins_with_a_recipe_that_needs_none(tmp_path: Path) -> None:
    database = sqlite(tmp_path)
    page = read(client_of(tmp_path, database), "/runs/new")
    assert page.all("//select[@name='choice']//option[@selected]/@value") == ["recipe:fineweb"]
    assert "No source is declared yet" in page.text()
    chosen = read(client_of(tmp_path, database), "/runs/new?choice=recipe:crawl")
    assert "perplexity" in chosen.text("//*[@id='fault-choice']")
    database.close()


def test_htmx_is_answered_with_200(client: TestClient) -> None:
    data = {"choice": "recipe:fineweb", "do": "check"}
    assert client.post("/runs/new", data=data).status_code == 422
    assert client.post("/runs/new", data=data, headers={"HX-Request": "true"}).status_code == 200


def test_forecasts_and_previews_are_runs_of_their_kinds(client: TestClient) -> None:
    for do, kind in (("estimate", "estimate"), ("preview", "preview")):
        answer = sent(client, do, 303, sample_share="0.5", publish="web")
        run = client.get("/api/v1" + answer.headers["location"]).json()
        assert run["kind"] == kind
    assert run["recipe"]["read"]["sample_share"] == 0.5


def test_sending_it_twice_starts_one_run(client: TestClient) -> None:
    given = {**fields(read(client, "/runs/new?choice=pipeline:ours")), "do": "submit"}
    ways = {client.post("/runs/new", data=given).headers["location"] for _ in range(2)}
    assert len(ways) == 1 and len(client.get("/api/v1/runs").json()["items"]) == 1


def test_thresholds_of_another_recipe_are_forgotten(client: TestClient) -> None:
    page = sent(client, "choose", 200, choice="recipe:fineweb", **{"t.gopher-quality.few-words": "7"})
    assert page.all("//input[@name='t.gopher-quality.few-words']/@value") == ["50"]


def test_sources_are_looked_into(client: TestClient) -> None:
    page = sent(client, "browse:0")
    ways = page.all("//ul[@class='folder']//button/@value")
    assert ways == ["take:0:", "into:0:deep", "take:0:deep", "take:0:a.jsonl"]
    deep = sent(client, "into:0:deep")
    assert 'take:0:deep/"><img src=x>.jsonl' in deep.all("//ul[@class='folder']//button/@value")
    assert not deep.all("//img[@src='x']")
    assert sent(client, "take:0:deep/b.jsonl").all("//input[@name='path.0']/@value") == ["deep/b.jsonl"]
    assert sent(client, "into:0:../..", 422).text("//*[@id='fault-path-0']")
    assert sent(client, "browse:99").status == 200


def test_there_can_be_more_inputs(client: TestClient) -> None:
    page = sent(client, "add")
    given = {**fields(page), "source.1": "here", "path.1": "deep/b.jsonl", "do": "submit"}
    run = client.get("/api/v1" + client.post("/runs/new", data=given).headers["location"]).json()
    assert run["inputs"] == [{"source": "here", "path": ""}, {"source": "here", "path": "deep/b.jsonl"}]


# --- fields of thresholds -----------------------------------------------------------------------------------------


def rule(**thresholds: float | None) -> RuleSummary:
    return RuleSummary(stage="s", rule="r", measure="m", comparison=">=", thresholds=thresholds, adjustable=True,
                       decided=0, failing=0)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}), ({"t.s.r": "50"}, {}), ({"t.s.r": "60"}, {"default": 60, "zh": 80}), ({"t.s.r.zh": "80"}, {}),
        ({"t.s.r.zh": "9"}, {"default": 50, "zh": 9}), ({"t.s.r": ""}, {"default": None, "zh": 80}),
        ({"t.s.r.en": "50"}, {}), ({"t.s.r.en": "51"}, {"default": 50, "zh": 80, "en": 51}), ({"t.s.rr": "1"}, {}),
    ],
)  # fmt: skip
def test_a_field_changes_one_threshold(given: dict[str, str], expected: dict[str, float | None]) -> None:
    changed, faults = changed_thresholds([rule(default=50.0, zh=80.0)], given)
    assert changed == ({"s.r": expected} if expected else {}) and not faults


def test_fields_are_those_of_languages_that_matter() -> None:
    found = fields_of(rule(default=50.0, zh=80.0, ja=80.0, de=50.0), {"t.s.r": "7"}, ["en", "zh", "de"])
    assert [(one.name, one.text, one.changed) for one in found] == [("t.s.r", "7", True), ("t.s.r.zh", "80", False)]


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-0.1", "1_0", "0x10", "1,5"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        number(text)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e-7, 123456789.0, 0.30000000000000004])
def test_a_number_survives_its_field(value: float) -> None:
    assert number(spelled(value)) == value


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_form_in_a_browser(client: TestClient, browser: Any) -> None:
    with serving(client.app) as (host, port):  # type: ignore[arg-type]
        url = f"http://{host}:{port}"
        for theme in ("light", "dark"):
            for width in WIDTHS:
                with watched(browser, url, width, theme=theme) as found:
                    page = found.open("/runs/new?choice=pipeline:ours")
                    page.locator("details").last.evaluate("one => one.open = true")
                    found.fits()
                    found.accessible()
                    screenshot(page, f"new-run-{width}-{theme}")
                    found.quiet()
        with watched(browser, url) as found:
            page = found.open("/runs/new?choice=pipeline:ours")
            page.fill("#publish", "Not Good")
            page.press("#publish", "Tab")
            page.wait_for_selector("#fault-publish:not(:empty)")
            page.fill("#publish", "good")
            page.press("#publish", "Tab")
            page.wait_for_selector("text=Everything is in order")
            assert page.inner_text("#fault-publish") == ""
            page.select_option("#choice", "recipe:fineweb")
            page.wait_for_selector("#recipe >> text=fineweb")
            assert page.input_value("#publish") == "good"
            found.accessible()
            found.quiet()
        with watched(browser, url, scripts=False) as found:
            page = found.open("/runs/new?choice=pipeline:ours")
            page.click("text=Look inside")
            page.click("text=Take a.jsonl")
            assert page.input_value("input[name='path.0']") == "a.jsonl"
            page.click("text=Start the run")
            assert page.inner_text("h1") == "plain"
            found.quiet()
