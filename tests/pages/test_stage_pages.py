"""Stages of a finished run: distributions, thresholds, what others would do."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.http import make_key, serving
from tests.pages.browser import WIDTHS, screenshot, watched
from tests.pages.finished import Milled, milled
from tests.pages.reading import read


def api(data: Milled, path: str, **params: Any) -> Any:
    answer = data.mill.client().get(f"/api/v1/runs/{data.first}{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def at(data: Milled, rest: str = "gopher-quality") -> str:
    return f"/runs/{data.first}/stages/{rest}"


def test_every_stage_has_a_page_and_they_follow_each_other(data: Milled) -> None:
    client = data.mill.client()
    names = [one["stage"] for one in api(data, "/stages")["items"]]
    seen, path = [], at(data, names[0])
    while path:
        page = read(client, path)
        seen.append(page.text("//h1"))
        path = next(iter(page.links("//a[@rel='next']/@href")), "")
    assert seen == names
    assert client.get(at(data, "nothing")).status_code == 404
    assert client.get(at(data, "%3Cscript%3E")).status_code == 404


def test_the_table_of_a_distribution_is_the_histogram_of_the_api(data: Milled) -> None:
    page = read(data.mill.client(), at(data))
    for one in api(data, "/measures")["items"]:
        if one["stage"] == "gopher-quality":
            counts = api(data, f"/measures/{one['name']}/histogram")["counts"]
            rows = page.rows(f"Distribution of {one['name']}")
            assert sum(int(row[1].replace(",", "")) for row in rows) == sum(counts) == one["count"]
            assert one["about"] and one["about"] in page.text()


def test_a_language_has_distributions_of_its_own(data: Milled) -> None:
    page = read(data.mill.client(), at(data, "gopher-quality?group=zh"))
    counts = api(data, "/measures/word_count/histogram", by="language", group="zh")["counts"]
    rows = page.rows("Distribution of word_count")
    assert sum(int(row[1]) for row in rows) == sum(counts) == 6
    assert page.all("//input[@name='t.gopher-quality.few-words']/@value") == ["20"]
    assert read(data.mill.client(), at(data, "gopher-quality?group=%3Cb%3E")).status == 200


def test_what_if_says_what_the_api_says(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, at(data, "gopher-quality?t.gopher-quality.few-words=190"))
    asked = {"thresholds": {"gopher-quality.few-words": {"default": 190}}, "samples": 4}
    told = client.post(f"/api/v1/runs/{data.first}/what-if", json=asked).json()
    answer = page.text("//*[@id='answer']")
    assert f"{told['kept']['after']} kept, {told['kept']['before']} now" in answer and told["kept"]["lost"] > 0
    rows = {row[0]: row[1:4] for row in page.rows("By language")}
    assert rows == {
        name: [str(one["before"]), str(one["after"]), str(one["lost"])] for name, one in told["languages"].items()
    }
    assert len(page.all("//*[@id='answer']//ul[@class='documents']/li")) == sum(map(len, told["samples"].values()))
    part = client.get(at(data, "gopher-quality?t.gopher-quality.few-words=190&part=answer")).text
    assert part.lstrip().startswith('<section id="answer"') and "<html" not in part


def test_the_fork_has_the_thresholds_that_were_asked_about(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, at(data, "gopher-quality?t.gopher-quality.few-words=190&t.gopher-quality.hashes=0.1"))
    way = next(link for link in page.links("//*[@id='answer']//a/@href") if "/fork?" in link)
    assert parse_qs(urlsplit(way).query) == {"t.gopher-quality.few-words": ["190"]}
    fork = read(client, way)
    assert fork.all("//input[@name='t.gopher-quality.few-words']/@value") == ["190"]


def test_what_is_not_changed_is_not_asked(data: Milled) -> None:
    page = read(data.mill.client(), at(data, "gopher-quality?t.gopher-quality.few-words=20&t.gopher-quality.nothing=1"))
    assert "Move a threshold" in page.text("//*[@id='answer']")


@pytest.mark.parametrize("value", ["x", "-1", "%3Cscript%3Ealert(1)%3C/script%3E"])
def test_thresholds_that_cannot_be_are_said(data: Milled, value: str) -> None:
    page = read(data.mill.client(), at(data, f"gopher-quality?t.gopher-quality.few-words={value}"), 422)
    assert "t.gopher-quality.few-words" in page.text("//*[@id='answer']//*[@role='alert']")
    assert not page.all("//main//script[not(@type='application/json')]")


@pytest.mark.parametrize("by", ["language", "domain", "host"])
def test_who_loses_is_who_loses_by_the_api(data: Milled, by: str) -> None:
    rows = read(data.mill.client(), at(data, f"gopher-quality?by={by}")).rows(f"Lost in this stage, by {by}")
    expected = [
        [one["name"] or "none", sum(n for reason, n in one["reasons"].items() if reason.startswith("gopher-quality."))]
        for one in api(data, "/breakdown", by=by, limit=20)["groups"]
    ]
    assert [[row[0], int(row[2])] for row in rows] == expected and any(lost for _, lost in expected)


def test_rules_that_fail_together(data: Milled) -> None:
    rows = read(data.mill.client(), at(data, "gopher-repetition")).rows("Rules that fail together")
    expected = [one for one in api(data, "/overlap")["items"] if one["stage"] == "gopher-repetition"]
    assert rows == [[one["first"], one["second"], str(one["documents"])] for one in expected] and rows


def test_who_may_not_read_documents_sees_none(tmp_path: Any) -> None:
    own = milled(tmp_path / "home", require_key=True, admin_key="k" * 20)
    client = own.mill.client()
    _, key = make_key(own.mill.database, "viewer", ["runs:read", "statistics:read", "self:read"])
    client.post("/login", data={"key": key})
    page = read(client, f"/runs/{own.first}/stages/gopher-quality?t.gopher-quality.few-words=190")
    assert not page.all("//ul[@class='documents']") and not any("/documents" in link for link in page.links())
    assert not any("/fork" in link for link in page.links())
    assert client.get(f"/runs/{own.first}/fork").status_code == 403


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_stages_in_a_browser(data: Milled, browser: Any) -> None:
    with serving(data.mill.app) as (host, port):
        for theme in ("light", "dark"):
            for width in WIDTHS:
                with watched(browser, f"http://{host}:{port}", width, theme=theme) as found:
                    page = found.open(at(data, "gopher-quality?t.gopher-quality.few-words=190&by=language"))
                    page.wait_for_selector("input[type='range']")
                    found.fits()
                    found.accessible()
                    screenshot(page, f"stage-{width}-{theme}")
                    found.quiet()


@pytest.mark.slow
def test_a_threshold_is_dragged_and_moved_with_keys(data: Milled, browser: Any) -> None:
    name = "t.gopher-quality.few-words"
    with serving(data.mill.app) as (host, port), watched(browser, f"http://{host}:{port}", 1600) as found:
        page = found.open(at(data))
        field, chart = page.locator(f"input[name='{name}']"), page.locator("gm-threshold").first.locator("gm-chart")
        page.wait_for_selector("input[type='range']")
        chart.scroll_into_view_if_needed()
        places = """element => { const host = element.closest('gm-threshold');
          return [host.pixel(host.fields[0]), host.figure.chart.convertToPixel({xAxisIndex: 0}, 190)]; }"""
        begin, end = chart.evaluate(places)
        box = chart.bounding_box()
        page.mouse.move(box["x"] + begin, box["y"] + 90)
        page.mouse.down()
        page.mouse.move(box["x"] + (begin + end) / 2, box["y"] + 90)
        page.mouse.move(box["x"] + end, box["y"] + 90)
        page.mouse.up()
        assert abs(float(field.input_value()) - 190) < 8
        page.wait_for_selector("#answer >> text=kept,")
        assert name in page.url and "part=" not in page.url
        slider = page.locator("input[type='range']").first
        before = float(field.input_value())
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert float(field.input_value()) >= before
        page.wait_for_timeout(500)
        found.accessible()
        page.reload()
        assert page.locator("#answer .big").is_visible()
        found.quiet()


@pytest.mark.slow
def test_a_stage_is_whole_without_scripts(data: Milled, browser: Any) -> None:
    with serving(data.mill.app) as (host, port), watched(browser, f"http://{host}:{port}", scripts=False) as found:
        page = found.open(at(data))
        page.fill("input[name='t.gopher-quality.few-words']", "190")
        page.click("text=What if?")
        assert page.locator("#answer .big").is_visible()
        page.click("text=Fork the run with these thresholds")
        assert page.input_value("input[name='t.gopher-quality.few-words']") == "190"
        found.quiet()
