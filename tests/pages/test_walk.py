"""The walk of somebody new, in a browser against a running service: from nothing to a dataset, and on to a model.

Every stop is looked at by axe, and nothing may appear on the console, break the content security policy, or ask another
host.  The stops that people return to are opened again in both themes and at three widths.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.service import RECIPE, Service, running
from tests.api.test_trainings import TRAINER
from tests.pages.browser import WIDTHS, Watched, screenshot, watched

pytestmark = pytest.mark.slow
KEY = "the-key-of-the-walk"
SHARDS = ("mirror-pages.warc.gz", "pages-000.warc.gz")
RULE = "gopher-quality.few-words"
PATIENCE = 120_000  # milliseconds that a run may take


@pytest.fixture(scope="module")
def service(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("walk")
    crawl = folder / "crawl"
    crawl.mkdir()
    for name in SHARDS:  # copies: a link that leads out of a source is refused
        shutil.copy(real_data / "crawl" / "built" / name, crawl / name)
    with running(
        folder / "home", workers=2, require_key="true", admin_key=KEY, trainer_command=TRAINER
    ) as service:  # fmt: skip
        yield service


@dataclass
class Walk:
    """Somebody on the way.

    Attributes:
        stops: addresses that were looked at, by what they are.
    """

    seen: Watched
    stops: dict[str, str] = field(default_factory=dict)

    @property
    def page(self) -> Any:
        return self.seen.page

    def stop(self, name: str) -> None:
        """Look around."""
        self.page.wait_for_load_state("load")
        if self.page.query_selector("gm-chart"):
            self.page.wait_for_selector("gm-chart.drawn canvas", state="attached")
        self.seen.quiet()
        self.seen.fits()
        self.seen.accessible()
        self.stops[name] = self.page.url.removeprefix(self.seen.url)
        screenshot(self.page, f"walk-{len(self.stops):02}-{name}")

    def press(self, word: str) -> None:
        """A button or a link of the page itself."""
        main = self.page.locator("main")
        main.get_by_role("button", name=word).or_(main.get_by_role("link", name=word)).first.click()


def sign_in(seen: Watched) -> None:
    page = seen.open("/")
    page.fill("input[name=key]", KEY)
    page.click("main button")
    page.wait_for_selector("text=Sign out")


def test_from_nothing_to_a_dataset_and_a_model(service: Service, browser: Any) -> None:
    with watched(browser, service.url, 1600) as seen:
        walk = Walk(seen)
        page = seen.open("/")
        assert "/login" in page.url
        walk.stop("login")
        sign_in(seen)
        walk.stop("welcome")
        declare(walk, service)
        first = submit(walk)
        watch(walk, first)
        document, reason = dropped(walk, first)
        kept = funnel_and_stage(walk, first)
        fork(walk, first, kept)
        dataset(walk)
        seen.open(document)  # back to what was dropped
        assert reason in page.inner_text("main")
        walk.stop("dropped document again")
        model(walk)
        page.click("text=Sign out")
        page.goto(f"{service.url}/runs")
        assert "/login" in page.url
        seen.quiet()
    for theme in ("light", "dark"):
        for width in WIDTHS:
            look_again(service, browser, walk.stops, theme, width)


def declare(walk: Walk, service: Service) -> None:
    page = walk.page
    walk.press("Declare a source")
    page.fill("#name", "crawl")
    page.fill("#root", str(service.home.parent / "crawl"))
    walk.press("Declare it")
    page.wait_for_selector(f"text={SHARDS[0]}")
    walk.stop("source")


def submit(walk: Walk) -> str:
    """Fill in the form of a run, wrongly first; returns the run's address."""
    page = walk.page
    page.click("header >> text=New run")
    page.select_option("#choice", "paste")
    page.click("text=Paste a recipe")
    page.fill("#paste", "stages: 3")
    page.select_option("select[name='source.0']", "crawl")
    page.fill("input[name='path.0']", "*.warc.gz")
    page.wait_for_selector("#check .faults")
    walk.stop("new run with a fault")
    page.fill("#paste", yaml.safe_dump(RECIPE))
    page.fill("#name", "First")
    page.wait_for_selector("#check .notice")
    walk.press("Start the run")
    page.wait_for_url(re.compile("/runs/[0-9a-f-]{36}$"))
    return str(page.url).removeprefix(walk.seen.url)


def watch(walk: Walk, run: str) -> None:
    """The page of a run follows it by itself to its end, where it takes up the funnel."""
    page = walk.page
    page.wait_for_selector("#live .state.running, .state.succeeded", timeout=PATIENCE)
    walk.stop("run at work")
    page.wait_for_selector("text=What became of the documents", timeout=PATIENCE)
    assert page.url.endswith(run)
    walk.stop("run")


def dropped(walk: Walk, run: str) -> tuple[str, str]:
    """A document that was dropped, by its reason in the funnel; its address and the reason."""
    page = walk.page
    page.click("summary:has-text('Documents: read')")
    page.click(f"a[href*='documents?reason={RULE}']")
    walk.stop("documents")
    page.click(".documents li a >> nth=0")
    assert f"{run}/documents/" in page.url
    assert RULE in page.inner_text("main") and page.locator(".decision.dropped").is_visible()
    walk.stop("dropped document")
    return str(page.url).removeprefix(walk.seen.url), RULE


def funnel_and_stage(walk: Walk, run: str) -> int:
    """Drag a threshold; returns how many documents would be kept."""
    page = walk.page
    walk.seen.open(f"{run}/stages/{RULE.partition('.')[0]}")
    page.wait_for_selector("input[type='range']")
    name = f"t.{RULE}"
    element = page.locator(f"gm-threshold:has(input[name='{name}'])").first
    chart = element.locator("gm-chart")
    chart.scroll_into_view_if_needed()
    begin, end = chart.evaluate(
        """(element, name) => { const host = element.closest('gm-threshold');
        const field = host.fields.find((one) => one.name === name);
        return [host.pixel(field), host.figure.chart.convertToPixel({xAxisIndex: 0}, 150)]; }""",
        name,
    )
    box = chart.bounding_box()
    page.mouse.move(box["x"] + begin, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + (begin + end) / 2, box["y"] + 90)
    page.mouse.move(box["x"] + end, box["y"] + 90)
    page.mouse.up()
    assert abs(float(page.locator(f"input[name='{name}']").input_value()) - 150) < 40
    page.wait_for_selector("#answer .big")
    page.wait_for_timeout(1000)  # the last of several answers
    walk.stop("stage with a dragged threshold")
    said = re.search(r"([\d,]+) kept, ([\d,]+) now", page.inner_text("#answer"))
    assert said and said[1] != said[2]
    return int(said[1].replace(",", ""))


def fork(walk: Walk, run: str, kept: int) -> None:
    """A fork with these thresholds keeps just what was said, and is published."""
    page = walk.page
    walk.press("Fork the run with these thresholds")
    page.fill("#publish", "web")
    walk.stop("fork")
    walk.press("Start the fork")
    page.wait_for_selector("text=What became of the documents", timeout=PATIENCE)
    assert run not in page.url
    row = page.locator("table tr", has=page.locator("td .state.kept")).first
    assert f"{kept:,}" in row.text_content()
    walk.stop("forked run")
    page.click("main a:has-text('Compare with its parent')")
    walk.stop("comparison")
    page.go_back()


def dataset(walk: Walk) -> None:
    page = walk.page
    page.click("main a:has-text('web, version 1')")
    walk.stop("dataset version")
    page.click(".tabs >> text=Rows")
    walk.stop("rows")
    walk.seen.open("/")
    walk.stop("home")


def model(walk: Walk) -> None:
    """Train on it; the stand-in for a trainer takes some steps."""
    page = walk.page
    walk.seen.open("/trainings/new?dataset=web&version=1")
    walk.stop("new training")
    page.fill("#config", json.dumps({"steps": 30, "seconds": 0.1}))
    page.fill("#name", "small")
    walk.press("Start it")
    page.wait_for_selector("gm-chart.drawn canvas", timeout=PATIENCE)
    walk.stop("training at work")
    page.click("main a:has-text('small, version 1')", timeout=PATIENCE)
    page.wait_for_url("**/models/small/versions/1")
    walk.stop("model version")
    page.click("main a:has-text('web, version 1')")  # back along the lineage
    assert page.locator(".lineage a[href='/models/small/versions/1']").is_visible()


AGAIN = ("welcome", "run", "documents", "dropped document", "stage with a dragged threshold", "dataset version",
         "new training", "model version", "source")  # fmt: skip


def look_again(service: Service, browser: Any, stops: dict[str, str], theme: str, width: int) -> None:
    with watched(browser, service.url, width, theme=theme) as seen:
        sign_in(seen)
        for name in AGAIN:
            page = seen.open(stops[name])
            if page.query_selector("gm-chart"):
                page.wait_for_selector("gm-chart.drawn canvas", state="attached")
            seen.quiet()
            seen.fits()
            if theme == "light" or width == 1024:  # contrast is the same at every width
                seen.accessible()
            screenshot(page, f"again-{name}-{width}-{theme}")
