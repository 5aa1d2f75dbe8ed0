"""Preference pairs side by side, and what their lengths say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pages.browser import reads_well
from tests.pages.finished import Milled
from tests.pages.reading import read

PAIRS = "/datasets/pairs/versions/1/pairs"


def test_pairs_stand_side_by_side(data: Milled) -> None:
    client = data.mill.client()
    told = client.get("/api/v1/datasets/pairs/versions/1/rows", params={"limit": 10}).json()["items"]
    page = read(client, PAIRS)
    articles = page.all("//article")
    assert [one.get("aria-label") for one in articles] == [f"Pair {row['pair_id']}" for row in told]
    for article, row in zip(articles, told, strict=True):
        for side in ("prompt", "chosen", "rejected"):
            said = [e.text_content() for e in article.xpath(f".//div[@class='turn {side}']/div")]
            assert said == [one["content"] for one in row[side]]


def test_differences_are_marked_if_asked_for(data: Milled) -> None:
    client = data.mill.client()
    assert not read(client, PAIRS).all("//article//mark")
    page = read(client, f"{PAIRS}?differ=1")
    row = client.get("/api/v1/datasets/pairs/versions/1/rows", params={"limit": 1}).json()["items"][0]
    for side in ("chosen", "rejected"):
        shown = page.all(f"(//article)[1]//div[@class='turn {side}']/div")[0]
        assert shown.text_content() == row[side][0]["content"] and shown.xpath(".//mark")
    assert "differ=1" in page.links("//a[@rel='next']/@href")[0]


def test_they_are_filtered_by_what_they_are_of(data: Milled) -> None:
    client = data.mill.client()
    for query, count in (("source=shop", 12), ("source=mill", 12), ("language=en", 24), ("source=nobody", 0)):
        found, path = 0, f"{PAIRS}?{query}"
        while path:
            page = read(client, path)
            found += len(page.all("//article"))
            path = next(iter(page.links("//a[@rel='next']/@href")), "")
        assert found == count, query
    splits = [option.get("value") for option in read(client, PAIRS).all("//select[@name='split']/option")]
    assert set(splits) == {"", "train", "held-out"}


def test_lengths_are_those_of_the_set(data: Milled) -> None:
    client = data.mill.client()
    told = client.get(f"/api/v1/runs/{data.pairs}/set").json()["length_bias"]["after"]["all"]
    rows = {row[0]: row for row in read(client, PAIRS).rows("Lengths and choices")}
    row = rows["of those that are kept"]
    assert row[1:5] == [f"{told[name]:,}" for name in ("pairs", "longer", "shorter", "ties")]
    assert row[5].startswith(f"{100 * told['accuracy']:.1f} %")


def test_figures_behind_a_chart_add_up(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, PAIRS)
    histogram = client.get(f"/api/v1/runs/{data.pairs}/measures/chosen_words/histogram").json()
    rows = page.rows("Words of an answer, figures")
    assert sum(int(row[1]) for row in rows) == sum(histogram["counts"])


def test_other_data_has_no_pairs_but_rows(data: Milled) -> None:
    client = data.mill.client()
    assert client.get("/datasets/asks/versions/1/pairs").status_code == 404
    assert not [link for link in read(client, "/datasets/asks/versions/1").links() if link.endswith("/pairs")]
    assert PAIRS in read(client, "/datasets/pairs/versions/1").links()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_read_well(data: Milled, browser: Any, theme: str) -> None:
    reads_well(data.mill.app, browser, theme, {"pairs": f"{PAIRS}?differ=1"}, "gm-chart.drawn canvas")
