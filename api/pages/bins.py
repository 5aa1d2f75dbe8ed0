"""Histograms of the API made ready for charts and tables: only as wide as anything is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from api.pages import charts


class Bins(NamedTuple):
    """Several distributions over the same bins.

    Attributes:
        edges: one more than bins.
        series: counts by name.
        below, above: what lies outside of all edges, by name.
        log: whether bins grow by a factor.
    """

    edges: list[float]
    series: dict[str, list[int]]
    below: dict[str, int]
    above: dict[str, int]
    log: bool

    def rows(self) -> list[tuple[str, list[int]]]:
        """Bins with their counts, for the table behind a chart."""
        names = list(self.series)
        found = [
            (f"{_short(low)} to {_short(high)}", [self.series[name][place] for name in names])
            for place, (low, high) in enumerate(zip(self.edges, self.edges[1:], strict=False))
        ]
        if any(self.below.values()):
            found.insert(0, (f"below {_short(self.edges[0])}", [self.below[name] for name in names]))
        if any(self.above.values()):
            found.append((f"{_short(self.edges[-1])} and more", [self.above[name] for name in names]))
        return found

    def option(self, thresholds: Sequence[tuple[str, float]] = (), unit: str = "") -> dict[str, Any]:
        """The chart; on a logarithmic axis, what is 0 stands where half of the first edge is."""
        edges = [max(self.edges[0], self.edges[1] / 2), *self.edges[1:]] if self.log else self.edges
        option = charts.histogram(edges, self.series, thresholds=thresholds, log=self.log, unit=unit)
        option["xAxis"]["axisLabel"] = {"showMinLabel": False, "showMaxLabel": False}
        return option

    def marked(self, thresholds: Sequence[tuple[str, float]], unit: str) -> dict[str, Any]:
        """The chart of a single series: no legend, and no name of the axis where names of thresholds stand."""
        option = self.option(thresholds, unit)
        option["legend"], option["yAxis"]["name"] = {"show": False}, ""
        return option


def bins(edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Bins | None:
    """Bins from the first to the last that holds something in any of the series; None where none does.

    Args:
        edges: of the API.
        counts: by name, as the API has them: the first lies below all edges, the last above.
    """
    used = [place for place in range(1, len(edges)) if any(row[place] for row in counts.values())]
    if not used:
        return None
    first, last = max(1, used[0] - 1), min(len(edges) - 1, used[-1] + 1)
    return Bins(
        list(edges[first - 1 : last + 1]), {name: list(row[first : last + 1]) for name, row in counts.items()},
        {name: sum(row[:first]) for name, row in counts.items()},
        {name: sum(row[last + 1 :]) for name, row in counts.items()}, edges[-1] > 2,
    )  # fmt: skip


def distance(first: Sequence[int], second: Sequence[int]) -> float:
    """Share of documents that lie elsewhere, 0 to 1: half the sum of the differences of both distributions."""
    totals = sum(first), sum(second)
    if not all(totals):
        return 0.0 if totals[0] == totals[1] else 1.0
    return sum(abs(a / totals[0] - b / totals[1]) for a, b in zip(first, second, strict=True)) / 2


def _short(value: float) -> str:
    return f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"
