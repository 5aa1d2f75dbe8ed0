"""The pictures of the pages in ``docs/images/``: mills the sample crawl twice, trains on it, and looks.

    python examples/pictures.py [OUTPUT]

Needs Chromium; takes minutes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from models import HERE, fit_models
from playwright.sync_api import Page, sync_playwright
from serve import declare, serving

from api.client import Client

IMAGES = HERE.parent / "docs" / "images"
TRAINING = {
    "stage": "pretrain",
    "model": {"family": "dense", "width": 96, "layers": 2, "heads": 4},
    "tokenizer": {"kind": "bpe", "size": 1000},
    "data": {"tokens": 256, "rows": 8, "held_out": 0.1},
    "loop": {"steps": 120, "log_every": 2, "evaluate_every": 20, "optimizer": {"learning_rate": 3e-3}},
}


class Picture(NamedTuple):
    """What is seen where, and how large."""

    name: str
    path: str
    width: int
    height: int
    theme: str = "light"


def main() -> None:
    """Mill, train, look."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output").absolute()
    fit_models(output / "models")
    IMAGES.mkdir(exist_ok=True)
    with serving(output / "pictures", models_root=str(output / "models")) as client:
        declare(client)
        pictures = seen(client)
        with sync_playwright() as engine:
            chromium = shutil.which("chromium")
            browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"] if chromium else [])
            for picture in pictures:
                take(browser, client.url, picture)
            browser.close()


def seen(client: Client) -> list[Picture]:
    """Runs, a training, and the pages that show them."""
    first = milled(client, "Sample crawl", publish="demo")
    second = milled(client, "Longer documents only", thresholds={"gopher-quality.few-words": 100})
    training = client.trainings.start("A first model", ["demo"], TRAINING)
    finished(client, training)
    near = next(one for one in client.runs.documents(first, stage="deduplication", rule="near", limit=1))
    run = f"/runs/{first}"
    return [
        Picture("home", "/", 1280, 900),
        Picture("run", run, 1280, 1400),
        Picture("threshold", f"{run}/stages/gopher-quality?t.gopher-quality.few-words=250", 1280, 1100),
        Picture("duplicate", f"{run}/documents/{near['id']}", 1280, 1500),
        Picture("duplicates", f"{run}/stages/deduplication", 1280, 1100),
        Picture("compare", f"/compare?a={first}&b={second}", 1280, 1100),
        Picture("training", f"/trainings/{training['id']}", 1280, 1000, "dark"),
        Picture("phone", f"{run}/documents", 375, 812, "dark"),
    ]


def milled(client: Client, name: str, **more: Any) -> str:
    """A finished run of the sample."""
    run = client.runs.submit(pipeline="sample", inputs=["sample"], name=name, **more)
    return finished(client, run)


def finished(client: Client, run: Any) -> str:
    """Wait for a run."""
    ended = client.runs.wait(run["id"])
    if ended["state"] != "succeeded":
        sys.exit(f"{ended['name']}: {ended['state']}, {ended['reason']}")
    return str(run["id"])


def take(browser: Any, url: str, picture: Picture) -> None:
    """One picture, when its charts are drawn."""
    size = {"width": picture.width, "height": picture.height}
    page: Page = browser.new_page(viewport=size, color_scheme=picture.theme, device_scale_factor=1)
    page.goto(url + picture.path)
    for chart in page.locator("gm-chart:visible").all():
        chart.locator("canvas, svg").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=str(IMAGES / f"{picture.name}.png"))
    page.close()


if __name__ == "__main__":
    main()
