"""What charts show, as options of Apache ECharts (https://echarts.apache.org/en/option.html); pure functions.

Colours are names of the style sheet with a dollar sign (``$good``), so that both themes fit.  Texts are made plain
(``plain``): a chart writes them as text, and hidden characters would mislead there as anywhere.  The table behind a
chart is written by its template from the same figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from api.pages.visible import plain

Option = dict[str, Any]
STATE_COLOURS = {
    "succeeded": "$good", "kept": "$good", "failed": "$bad", "dropped": "$bad", "cancelled": "$quiet",
    "paused": "$wait", "quarantined": "$wait", "duplicate": "$busy", "running": "$busy", "queued": "$line",
}  # fmt: skip


def stacked_bars(labels: Sequence[Any], series: Mapping[str, Sequence[float]], *, unit: str = "") -> Option:
    """Bars on each other, one for each label: runs of a day by state, documents of a language by verdict."""
    return {
        "legend": {},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "category", "data": [plain(label) for label in labels]},
        "yAxis": {"type": "value", "name": unit},
        "series": [
            {
                "name": plain(name),
                "type": "bar",
                "stack": "all",
                "data": list(values),
                "barMaxWidth": 48,
                **_colour(name),
            }
            for name, values in series.items()
        ],
    }


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]], *, x: str = "", y: str = "", log: bool = False
) -> Option:
    """Curves of points (x, y); with ``log``, on a logarithmic scale."""
    return {
        "legend": {},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "value",
            "name": x,
            "nameLocation": "middle",
            "nameGap": 26,
            "min": "dataMin",
            "max": "dataMax",
        },
        "yAxis": {"type": "log" if log else "value", "name": y, "scale": True},
        "dataZoom": [{"type": "inside"}],
        "series": [
            {
                "name": plain(name),
                "type": "line",
                "data": [list(point) for point in points],
                "showSymbol": False,
                "connectNulls": True,
            }
            for name, points in series.items()
        ],
    }


def histogram(
    edges: Sequence[float],
    series: Mapping[str, Sequence[int]],
    *,
    thresholds: Sequence[tuple[str, float]] = (),
    log: bool = False,
    unit: str = "",
) -> Option:
    """Counts between edges (one more than counts), series over each other, with thresholds drawn in.

    Args:
        thresholds: name and value; outside of the edges they stand at the margin.
        log: of the axis of the measure, whose edges are positive then.
    """
    places = [(low + high) / 2 if not log else (low * high) ** 0.5 for low, high in pairwise(edges)]
    marked = [
        {
            "name": plain(name),
            "xAxis": value,
            "lineStyle": {"color": "$bad", "width": 2},
            "label": {"formatter": plain(name), "color": "$ink"},
        }
        for name, value in thresholds
    ]
    return {
        "legend": {},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "log" if log else "value",
            "name": unit,
            "min": edges[0],
            "max": edges[-1],
            "nameLocation": "middle",
            "nameGap": 26,
        },
        "yAxis": {"type": "value", "name": "documents"},
        "series": [
            {
                "name": plain(name),
                "type": "line",
                "step": "middle",
                "areaStyle": {"opacity": 0.35},
                "showSymbol": False,
                "data": [[place, count] for place, count in zip(places, counts, strict=True)],
                **({"markLine": {"symbol": "none", "data": marked}} if number == 0 and marked else {}),
                **_colour(name),
            }
            for number, (name, counts) in enumerate(series.items())
        ],
    }


def flow(links: Sequence[tuple[str, str, float]], colours: Mapping[str, str] | None = None) -> Option:
    """A Sankey diagram of amounts from one node to another: in, to each reason, to kept."""
    names = dict.fromkeys(name for source, target, _ in links for name in (source, target))
    chosen = colours or {}
    return {
        "tooltip": {"trigger": "item"},
        "series": [
            {
                "type": "sankey",
                "left": 8,
                "right": 140,
                "top": 12,
                "bottom": 12,
                "nodeAlign": "left",
                "nodeGap": 14,  # a line of text, so that names of small reasons stand below each other
                "emphasis": {"focus": "adjacency"},
                "data": [{"name": plain(name), "itemStyle": {"color": chosen.get(name, "$accent")}} for name in names],
                "links": [{"source": plain(a), "target": plain(b), "value": value} for a, b, value in links if value],
                "label": {"color": "$ink", "overflow": "truncate", "width": 130},
                "labelLayout": {"hideOverlap": True},
                "lineStyle": {"color": "source", "opacity": 0.3},
            }
        ],
    }


def heat_strip(cells: Sequence[tuple[str, float]], *, columns: int = 60, name: str = "") -> Option:
    """Cells in reading order, coloured by a value from 0 to 1: shards by how far they are."""
    rows = max(1, -(-len(cells) // columns))
    data = [
        {"value": [place % columns, rows - 1 - place // columns, value], "name": plain(label)}
        for place, (label, value) in enumerate(cells)
    ]
    return {
        "tooltip": {"trigger": "item", "formatter": "{b}"},
        "grid": {"left": 8, "right": 8, "top": 8, "bottom": 8},
        "xAxis": {"type": "category", "data": list(range(min(columns, max(1, len(cells))))), "show": False},
        "yAxis": {"type": "category", "data": list(range(rows)), "show": False},
        "visualMap": {"show": False, "min": 0, "max": 1, "inRange": {"color": ["$sunk", "$good"]}},
        "series": [
            {
                "type": "heatmap",
                "name": plain(name),
                "data": data,
                "itemStyle": {"borderColor": "$paper", "borderWidth": 1},
            }
        ],
    }


def time_bars(rows: Sequence[tuple[str, float, float, str]]) -> Option:
    """Bars along time: label, begin and end in seconds from a common zero, colour.  Stages, attempts."""
    labels = list(dict.fromkeys(plain(label) for label, *_ in rows))
    return {
        "tooltip": {"trigger": "item"},
        "grid": {"left": 32, "right": 16, "top": 12, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "value", "name": "seconds", "nameLocation": "middle", "nameGap": 26},
        "yAxis": {"type": "category", "data": labels, "inverse": True},
        "series": [
            {
                "type": "bar",
                "stack": "time",
                "silent": True,
                "itemStyle": {"color": "transparent"},
                "data": [[begin, plain(label)] for label, begin, _, _ in rows],
            },
            {
                "type": "bar",
                "stack": "time",
                "data": [
                    {"value": [end - begin, plain(label)], "itemStyle": {"color": colour}}
                    for label, begin, end, colour in rows
                ],
            },
        ],
    }


def _colour(name: str) -> dict[str, Any]:
    colour = STATE_COLOURS.get(name)
    return {"itemStyle": {"color": colour}, "lineStyle": {"color": colour}} if colour else {}
