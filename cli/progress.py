"""Progress bars with the time left, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.show import line, terminal

errors = terminal(stderr=True)


class Bars:
    """Shows each phase of a run as a bar."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._bar: TaskID | None = None

    def disk(self, low: int, high: int, free: int | None) -> None:
        """The disk that the run needs, before it starts."""
        known = "" if free is None else f"; {free / 1e9:,.1f} GB are free"
        errors.print(f"disk needed: about {low / 1e9:.3f} to {high / 1e9:.3f} GB{known}")
        if free is not None and free < low:
            errors.print("that is not enough: the run will end with an error and go on where there is room")

    def phase(self, name: str, total: int) -> None:
        """A phase begins; the one before is complete."""
        if self._progress:
            self._bar = self._progress.add_task(name, total=max(total, 1))

    def advance(self, amount: int, what: str) -> None:
        """Some of it is done."""
        if self._progress and self._bar is not None:
            self._progress.update(self._bar, advance=amount)

    def milled(self, result: dict[str, Any]) -> None:
        """The bar says enough."""

    def retry(self, what: str, attempt: int, why: str) -> None:
        """Says so: retries are never silent."""
        errors.print(line(f"{what}: attempt {attempt} failed ({why}); trying again"))

    def to(self, name: str) -> Callable[[int, int], None]:
        """A callback ``(done, total)`` that shows one phase."""

        def show(done: int, total: int) -> None:
            if self._progress:
                if self._bar is None or self._progress.tasks[self._bar].description != name:
                    self.phase(name, total)
                assert self._bar is not None
                self._progress.update(self._bar, completed=done, total=max(total, 1))

        return show


@contextmanager
def bars(quiet: bool) -> Iterator[Bars]:
    """Bars while the block runs; none when quiet or where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield Bars(None)
        return
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as progress:
        yield Bars(progress)
