"""Curves of trainings, as charts with the tables that stand behind them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from api.pages import charts
from api.trainings.routes import Curve

Place = tuple[float, float]
ROWS = 20  # of a table
GROUPS = (  # title, what it means, figures that are drawn together, factor
    ("Loss", "What the training makes smaller; held out is text that it does not learn from.",
     ("loss", "held_out_loss"), 1),
    ("Reward", "What the reward model says of the answers, a mean.",
     ("reward", "held_out_reward", "held_out_reward_reference", "score"), 1),
    ("Divergence from the reference", "Of an answer, in nats: how far the policy has gone from where it began.",
     ("kl",), 1),
    ("Win rate", "Share of held-out prompts whose answer is better than the reference's.", ("win_rate",), 1),
    ("Entropy", "Of a token, in nats: near 0, it always says the same.", ("entropy",), 1),
    ("Share that was clipped", "Of tokens whose probability moved as far as a step may take it.", ("clip_share",), 1),
    ("Losses of the policy and of its critic", "", ("policy_loss", "value_loss"), 1),
    ("Accuracy", "Share of pairs of which the better answer has more reward.", ("accuracy", "held_out_accuracy"), 1),
    ("Learning rate", "", ("learning_rate",), 1),
    ("Per second", "Tokens, or answers where answers are what counts.", ("per_second", "answers_per_second"), 1),
    ("Memory, in GiB", "The most so far, of the GPU or of the process.", ("memory_bytes",), 2**-30),
    ("Length of the gradient", "Before it is clipped.", ("gradient_norm",), 1),
)  # fmt: skip


class Drawn(NamedTuple):
    """A chart and its table.

    Attributes:
        hint: what it means.
        option: of the chart.
        names: columns of the table, besides the step.
        rows: some steps, with the last value that each curve had there.
        main: whether it is shown at once, or folded with the rest.
    """

    title: str
    hint: str
    option: charts.Option
    names: list[str]
    rows: list[tuple[float, list[float | None]]]
    main: bool


def drawn(curves: Sequence[Curve]) -> list[Drawn]:
    """Charts of all figures that a training says: those that belong together, then each of the others."""
    by_name = {one.name: one.points for one in curves if one.points}
    found, told = [], set()
    for title, hint, names, factor in GROUPS:
        series = {name: [(x, y * factor) for x, y in by_name[name]] for name in names if name in by_name}
        told |= set(series)
        if series:
            found.append(_chart(title, hint, series, main=True))
    return found + [_chart(n, "", {n: points}, main=False) for n, points in by_name.items() if n not in told]


def compared(named: Mapping[str, Sequence[Curve]]) -> Iterator[Drawn]:
    """Charts of the figures that several trainings say, a curve for each of them.

    Args:
        named: curves, by a name of the training.
    """
    known = [name for _, _, names, _ in GROUPS for name in names]
    said = {one.name: None for curves in named.values() for one in curves if one.points}
    for name in sorted(said, key=lambda n: (known.index(n) if n in known else len(known), n)):
        title, factor = next(((title, f) for title, _, names, f in GROUPS if names == (name,)), (name, 1))
        series = {
            who: [(x, y * factor) for x, y in one.points]
            for who, curves in named.items()
            for one in curves
            if one.name == name and one.points
        }
        if len(series) > 1:
            yield _chart(title, "", series, main=name in known)


def _chart(title: str, hint: str, series: Mapping[str, Sequence[Place]], *, main: bool) -> Drawn:
    steps = sorted({x for points in series.values() for x, _ in points})
    if len(steps) > ROWS:
        steps = sorted({steps[round(n * (len(steps) - 1) / (ROWS - 1))] for n in range(ROWS)})
    return Drawn(
        title, hint, charts.lines(series, x="step"), list(series),
        [(step, [_at(points, step) for points in series.values()]) for step in reversed(steps)], main,
    )  # fmt: skip


def _at(points: Sequence[Place], step: float) -> float | None:
    """The value at a step, or the last one before it."""
    place = bisect_right(points, step, key=lambda point: point[0])
    return points[place - 1][1] if place else None
