"""Two runs side by side."""

from __future__ import annotations

from typing import Any

import pytest

from api.pages.bins import bins, distance
from tests.api.http import NOBODY
from tests.pages.browser import reads_well
from tests.pages.finished import Milled
from tests.pages.reading import read


def test_what_differs_is_what_the_api_says(data: Milled) -> None:
    client = data.mill.client()
    told = client.get(f"/api/v1/runs/{data.first}/compare/{data.second}").json()
    page = read(client, f"/compare?a={data.first}&b={data.second}")
    assert page.rows("Thresholds that differ") == [["gopher-quality.few-words", ">= 20", ">= 190"]]
    changes = page.rows("Documents that changed sides")
    assert told["changes"] and len(changes) == len(told["changes"])
    for row, change in zip(changes, told["changes"], strict=True):
        assert row[:3] == [change["was"], change["now"], f"{change['documents']:,}"]
        for id_ in change["samples"]:
            assert f"/runs/{data.first}/documents/{id_}" in page.links()
            assert f"/runs/{data.second}/documents/{id_}" in page.links()
    funnel = page.rows("Funnels")
    assert [int(row[2].replace(",", "")) for row in funnel] == [row["first"]["documents"] for row in told["funnel"]]
    assert [int(row[4].replace(",", "")) for row in funnel] == [row["documents"] for row in told["funnel"]]
    measures = {row[0]: row[1] for row in page.rows("Measures of both runs")}
    assert measures["word_count"] == "0.0 %"  # measured before the rule that differs


def test_a_run_and_itself_differ_in_nothing(data: Milled) -> None:
    page = read(data.mill.client(), f"/compare?a={data.first}&b={data.first}")
    assert not page.rows("Thresholds that differ") and not page.rows("Documents that changed sides")
    assert all(row[1] == "0.0 %" for row in page.rows("Measures of both runs"))


def test_one_measure_is_drawn_where_one_is_chosen(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, f"/compare?a={data.first}&b={data.second}&measure=word_count")
    assert [chart.get("aria-label") for chart in page.all("//gm-chart")] == ["word_count"]
    figures = page.rows("word_count, figures")
    histogram = client.get(f"/api/v1/runs/{data.first}/measures/word_count/histogram").json()
    assert sum(int(row[1].replace(",", "")) for row in figures) == sum(histogram["counts"])
    many = read(client, f"/compare?a={data.first}&b={data.second}")
    assert len(many.all("//gm-chart")) == 4


def test_runs_of_other_data_have_no_document_in_common(data: Milled) -> None:
    page = read(data.mill.client(), f"/compare?a={data.first}&b={data.pairs}")
    assert "same fate in both 0" in page.text()


def test_a_choice_that_cannot_be_is_told(data: Milled) -> None:
    client = data.mill.client()
    assert not read(client, "/compare").all("//div[@role='alert']")
    for query in (f"a={data.first}", f"a={data.first}&b={NOBODY}", "a=x&b=<script>"):
        page = read(client, f"/compare?{query}", 422)
        assert page.all("//div[@role='alert']") and "<script>" not in page.text("//form//select")


def test_bins_are_as_wide_as_what_they_hold() -> None:
    found = bins([0, 1, 2, 4, 8, 16], {"a": [0, 0, 3, 0, 0, 0, 1], "b": [0, 0, 0, 2, 0, 0, 0]})
    assert found is not None
    assert found.edges == [0, 1, 2, 4, 8] and found.series == {"a": [0, 3, 0, 0], "b": [0, 0, 2, 0]}
    assert found.above == {"a": 1, "b": 0} and found.below == {"a": 0, "b": 0}
    assert found.rows()[-1] == ("8 and more", [1, 0])
    assert sum(found.series["a"]) + found.above["a"] == 4
    assert bins([0, 1], {"a": [0, 0, 0]}) is None


def test_the_distance_is_the_share_that_lies_elsewhere() -> None:
    assert distance([2, 2], [4, 4]) == 0
    assert distance([4, 0], [0, 1]) == 1
    assert distance([3, 1], [1, 3]) == 0.5
    assert distance([0, 0], [0, 0]) == 0 and distance([0], [1]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_reads_well(data: Milled, browser: Any, theme: str) -> None:
    pages = {"compare": f"/compare?a={data.first}&b={data.second}"}
    reads_well(data.mill.app, browser, theme, pages, "gm-chart.drawn canvas")
