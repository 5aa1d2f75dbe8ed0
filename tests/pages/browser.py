"""A Chromium that reads the pages: Debian's package, driven by Playwright.

Every page that it opens is watched: errors on the console, reports of the content security policy, requests to another
host and scripts that fail are collected, and ``Watched.quiet`` fails on any.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.http import serving

EXECUTABLE = os.environ.get("GRISTMILL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (375, 1024, 1600)
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-gpu",
    "--force-color-profile=srgb", "--font-render-hinting=none",
]  # fmt: skip
_REPORT = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@dataclass
class Watched:
    """A page and what went wrong on it."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)

    def open(self, path: str, status: int = 200) -> Any:
        """Go to a page of the service; returns the page."""
        answer = self.page.goto(self.url + path, wait_until="load")
        assert answer.status == status, (path, answer.status, self.page.inner_text("body")[:500])
        return self.page

    def quiet(self) -> None:
        """Nothing went wrong so far."""
        assert not self.errors, self.errors

    def accessible(self, *, without: str | None = None) -> None:
        """axe finds no violation on what is shown now."""
        from axe_playwright_python.sync_playwright import Axe

        options = {"rules": {without: {"enabled": False}}} if without else None
        found = Axe().run(self.page, options=options)
        assert found.violations_count == 0, found.generate_report()

    def fits(self) -> None:
        """The page is no wider than the window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{wide} pixels too wide at {self.page.viewport_size}"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, or the test is skipped and says why."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    if EXECUTABLE is None:
        pytest.skip("no Chromium: install Debian's package chromium, or set GRISTMILL_CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=EXECUTABLE, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(
    browser: Any, url: str, width: int = 1024, *, theme: str = "light", scripts: bool = True,
    expected: str | None = None,
) -> Iterator[Watched]:  # fmt: skip
    """A fresh profile with one page.

    Args:
        expected: text of console errors that a test provokes, such as the status of a refused form.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=scripts, locale="en-GB",
        timezone_id="UTC", reduced_motion="reduce",
    )  # fmt: skip
    if scripts:
        context.add_init_script(_REPORT)
    page = context.new_page()
    found = Watched(page, url)
    own = urlsplit(url).netloc

    def said(message: Any) -> None:
        if message.type in ("error", "warning") and not (expected and expected in message.text):
            found.errors.append(f"console {message.type}: {message.text}")

    def asked(request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != own:
            found.errors.append(f"foreign request: {request.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: found.errors.append(f"script: {error}"))
    page.on("request", asked)
    page.on("dialog", lambda dialog: (found.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    try:
        yield found
    finally:
        context.close()


def reads_well(app: Any, browser: Any, theme: str, pages: Mapping[str, str], ready: str | None = None) -> None:
    """At every width pages fit, axe has nothing to say of them, and nothing goes wrong.

    Args:
        pages: addresses by the names of their pictures.
        ready: selector of what must be there first.
    """
    with serving(app) as (host, port):
        for width in WIDTHS:
            with watched(browser, f"http://{host}:{port}", width, theme=theme) as found:
                for name, path in pages.items():
                    page = found.open(path)
                    if ready is not None:
                        page.wait_for_selector(ready)
                    found.fits()
                    found.accessible()
                    screenshot(page, f"{name}-{width}-{theme}")
                    found.quiet()


def screenshot(page: Any, name: str) -> None:
    """Keep a picture where ``GRISTMILL_SCREENSHOTS`` names a folder, to be looked at."""
    folder = os.environ.get("GRISTMILL_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
