"""Which of two variants to use: quality and cost in one verdict.

Samples are pairs: what A and what B made of the same document or prompt, or the outcomes of two units in the order in
which they came.  The verdict is always valid (``statistics``): whoever looks at it after every sample and stops when it
pleases him is misled with a chance of ``alpha`` at the most.  No torch is needed here.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from trainer.deploy.statistics import Sequential, bootstrap, detectable_now, sample_ratio
from trainer.deploy.text import aligned, number, scaled
from trainer.errors import ConfigError, DataError
from trainer.ranges import NOT_NEGATIVE, POSITIVE, Checked, Range

Choice = Literal["A", "B", "either", "not yet"]
Better = Literal["higher", "lower"]
SUSPICIOUS = 0.001
"""Chance of a split of units from which on nothing is said."""


@dataclass(frozen=True, kw_only=True)
class Rule(Checked):
    """When a verdict is given.

    Attributes:
        alpha: chance of a wrong one.
        margin: differences up to it do not matter: the cheaper variant is then the better one.  In the unit of what is
            compared.
        power: chance with which a difference of ``detectable`` is found.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    alpha: float = field(default=0.05, metadata={"limit": Range(1e-9, 0.5, "a chance")})
    margin: float = field(default=0.0, metadata={"limit": NOT_NEGATIVE})
    power: float = field(default=0.8, metadata={"limit": Range(0.5, 0.999, "a chance")})
    resamples: int = field(default=2000, metadata={"limit": POSITIVE})
    seed: int = field(default=1, metadata={"limit": NOT_NEGATIVE})


@dataclass(frozen=True, kw_only=True)
class Costs(Checked):
    """What each variant costs, in one unit.

    Attributes:
        a, b: above 0.
        unit: such as ``seconds a document``.
    """

    a: float = field(metadata={"limit": Range(1e-300, None, "a cost")})
    b: float = field(metadata={"limit": Range(1e-300, None, "a cost")})
    unit: str = "as given"


@dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
        choice: the variant to use; ``either`` where they are as good as each other and cost the same, or nobody said
            what they cost.
        quality: which is better by more than the margin; ``tie`` where they differ by less.
        more: samples that are needed yet, roughly; None where there is a verdict, or the present samples say that
            there will be none.
        why: for people.
    """

    choice: Choice
    quality: Literal["A", "B", "tie", "not yet"]
    more: int | None
    why: str


def decide(found: Sequential, rule: Rule, costs: Costs | None = None) -> Verdict:
    """The verdict on differences of which more is better for A.

    The dearer variant has to be better by more than the margin.  The cheaper one has to be not worse by as much.
    """
    margin, cheaper = rule.margin, _cheaper(costs)
    a_ahead, b_ahead = found.above(margin), found.below(-margin)
    a_no_worse, b_no_worse = found.above(-margin), found.below(margin)
    quality: Literal["A", "B", "tie", "not yet"] = "not yet"
    if a_ahead or b_ahead:
        quality = "A" if a_ahead else "B"
        return Verdict(quality, quality, None, _better(quality, cheaper, margin))
    if margin and a_no_worse and b_no_worse:
        quality = "tie"
    if cheaper and (a_no_worse if cheaper == "A" else b_no_worse):
        how = f"they differ by less than {margin:g}" if quality == "tie" else f"{cheaper} is not worse by {margin:g}"
        return Verdict(cheaper, quality, None, f"{how}, and {cheaper} is cheaper")
    if quality == "tie":
        what = "cost the same" if costs else "nobody said what they cost"
        return Verdict("either", quality, None, f"they differ by less than {margin:g}, and {what}")
    return Verdict("not yet", quality, _more(found, margin, cheaper), "the samples do not tell yet")


def _cheaper(costs: Costs | None) -> Literal["A", "B"] | None:
    if costs is None or costs.a == costs.b:
        return None
    return "A" if costs.a < costs.b else "B"


def _better(quality: str, cheaper: str | None, margin: float) -> str:
    by = f" by more than {margin:g}" if margin else ""
    price = "" if cheaper is None else ", and cheaper" if cheaper == quality else ", and dearer"
    return f"{quality} is better{by}{price}"


def _more(found: Sequential, margin: float, cheaper: str | None) -> int | None:
    """Samples until a verdict if those to come are as those that were seen; None for more than a thousandfold."""
    times = [found.times_above(margin), found.times_below(-margin)]
    if cheaper:
        times.append(found.times_above(-margin) if cheaper == "A" else found.times_below(margin))
    elif margin:
        times.append(max(found.times_above(-margin), found.times_below(margin)))
    seen, least = len(found.difference_N), min(times)
    return math.ceil((least - 1) * seen) if seen and least < 1000 else None


def compare(
    a_N: np.ndarray, b_N: np.ndarray, *, bound: float, rule: Rule, costs: Costs | None = None, unit: str = "",
    better: Better = "higher",
) -> dict[str, Any]:  # fmt: skip
    """Judge measures of pairs.

    Args:
        a_N, b_N: what A and B came to on each sample.
        bound: differences beyond it count as it; how many there were is said.
        costs: of a sample, or of whatever is alike for both.
        unit: of the measures, for people.
        better: measures.

    Returns:
        ``verdict``, ``quality``, ``more_samples``, ``why``; ``mean``: of the differences, above 0 where A is better;
        ``low``, ``high``: always valid; ``bootstrap_low``, ``bootstrap_high``: for who looks once; ``detectable``.
    """
    a_N, b_N = np.asarray(a_N, np.float64), np.asarray(b_N, np.float64)
    if a_N.shape != b_N.shape or a_N.ndim != 1:
        raise DataError(f"{a_N.shape} measures of A and {b_N.shape} of B are no pairs")
    raw_N = a_N - b_N if better == "higher" else b_N - a_N
    if not np.isfinite(raw_N).all():
        raise DataError(f"pair {int(np.flatnonzero(~np.isfinite(raw_N))[0])} has a measure that is no number")
    difference_N = np.clip(raw_N, -bound, bound)
    found = Sequential(difference_N, bound, rule.alpha)
    verdict = decide(found, rule, costs)
    return {
        "verdict": verdict.choice, "quality": verdict.quality, "more_samples": verdict.more, "why": verdict.why,
        "unit": unit, "better": better, "samples": len(raw_N), "bound": bound,
        "clipped": int((difference_N != raw_N).sum()), "alpha": rule.alpha, "margin": rule.margin,
        "power": rule.power,
        **_described(a_N, b_N, found, rule),
        "costs": None if costs is None else {"a": costs.a, "b": costs.b, "unit": costs.unit},
    }  # fmt: skip


def _described(a_N: np.ndarray, b_N: np.ndarray, found: Sequential, rule: Rule) -> dict[str, Any]:
    """Figures around the verdict; null where there are no samples."""
    names = ("a_mean", "b_mean", "mean", "deviation", "low", "high", "bootstrap_low", "bootstrap_high", "detectable")
    if not len(a_N):
        return dict.fromkeys(names)
    interval = found.interval
    once = bootstrap(found.difference_N, rule.alpha, resamples=rule.resamples, seed=rule.seed)
    figures = (
        a_N.mean(), b_N.mean(), found.difference_N.mean(), np.std(found.difference_N, ddof=min(1, len(a_N) - 1)),
        interval.low, interval.high, once.low, once.high, detectable_now(found, rule.power),
    )  # fmt: skip
    return {name: float(figure) for name, figure in zip(names, figures, strict=True)}


@dataclass(frozen=True, kw_only=True)
class OutcomeRule(Checked):
    """What outcomes are.

    Attributes:
        low, high: bounds of an outcome.
        better: outcomes.
        share_a: share of units that A was to have.
    """

    low: float = 0.0
    high: float = 1.0
    better: Better = "higher"
    share_a: float = field(default=0.5, metadata={"limit": Range(1e-6, 1 - 1e-6, "a share")})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -math.inf < self.low < self.high < math.inf:
            raise ConfigError("/low", f"outcomes between {self.low:g} and {self.high:g} are none")


def compare_outcomes(
    rows: Iterable[Mapping[str, Any]], *, rule: Rule, outcomes: OutcomeRule | None = None, costs: Costs | None = None
) -> dict[str, Any]:
    """Judge a live test: units were given a variant by chance, and something came of it.

    The n-th unit of A makes a pair with the n-th of B, in the order of the rows; who has no partner yet waits.  Where
    the split of the units is not what was planned, no verdict is given: something is wrong with how they came.

    Args:
        rows: ``unit``, ``variant`` (A or B), ``outcome``; a unit has one outcome.
    """
    given = outcomes or OutcomeRule()
    counts, a_N, b_N = _paired(rows, given)
    found = compare(a_N, b_N, bound=given.high - given.low, rule=rule, costs=costs, unit="outcome", better=given.better)
    ratio = sample_ratio(counts["A"], counts["B"], given.share_a)
    if ratio.p_always < SUSPICIOUS:
        why = (
            f"{counts['A']} units of A and {counts['B']} of B are not the split that was planned; outcomes cannot be "
            "believed until somebody knows why"
        )
        found |= {"verdict": "not yet", "quality": "not yet", "more_samples": None, "why": why}
    return {**found, "sample_ratio": {**ratio._asdict(), "counts": dict(ratio.counts), "share_a": given.share_a}}


def _paired(rows: Iterable[Mapping[str, Any]], given: OutcomeRule) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """Units of each variant, and the outcomes of pairs."""
    seen: dict[str, str] = {}
    waiting: dict[str, deque[float]] = {"A": deque(), "B": deque()}
    pairs: list[tuple[float, float]] = []
    for place, row in enumerate(rows):
        unit, variant, outcome = _outcome(place, row, given)
        if unit in seen:
            what = "a second outcome" if seen[unit] == variant else "both variants"
            raise DataError(f"outcome {place}: the unit {unit!r} has {what}; only the first one of a unit is a sample")
        seen[unit] = variant
        waiting[variant].append(outcome)
        if waiting["A"] and waiting["B"]:
            pairs.append((waiting["A"].popleft(), waiting["B"].popleft()))
    counts = {name: sum(variant == name for variant in seen.values()) for name in waiting}
    measured = np.array(pairs, np.float64).reshape(-1, 2)
    return counts, measured[:, 0], measured[:, 1]


def _outcome(place: int, row: Mapping[str, Any], given: OutcomeRule) -> tuple[str, str, float]:
    if not isinstance(row, Mapping) or not {"unit", "variant", "outcome"} <= set(row):
        raise DataError(f"outcome {place} is no object with unit, variant, outcome")
    unit, variant, outcome = str(row["unit"]), str(row["variant"]).upper(), row["outcome"]
    if variant not in ("A", "B"):
        raise DataError(f"outcome {place}: the variant is A or B, not {row['variant']!r}")
    if not isinstance(outcome, int | float) or not given.low <= outcome <= given.high:
        raise DataError(f"outcome {place}: {outcome!r} is no number from {given.low:g} to {given.high:g}")
    return unit, variant, float(outcome)


def read_outcomes(text: str) -> list[dict[str, Any]]:
    """Rows of JSON lines; blank lines do not count.

    Raises:
        DataError: naming the line.
    """
    rows = []
    for place, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise DataError(f"line {place} of the outcomes is no JSON: {error}") from None
    return rows


def table(result: Mapping[str, Any]) -> str:
    """What ``compare``, ``compare_outcomes`` or the task gave, for people."""
    more = result["more_samples"]
    lines = [f"verdict: {result['verdict']} – {result['why']}"]
    if result["verdict"] == "not yet" and not result.get("sample_ratio", {}).get("p_always", 1) < SUSPICIOUS:
        until = "more than a thousand times these samples" if more is None else f"about {more:,} more samples"
        lines[0] += f"; it takes {until}, if they are like those"
    rows = [
        ("", "A", "B", "A ahead by"),
        (f"mean ({result['unit']})", *(number(result[name]) for name in ("a_mean", "b_mean", "mean"))),
        (f"{1 - result['alpha']:.0%}, at any time", "", "", _between(result, "low", "high")),
        (f"{1 - result['alpha']:.0%}, looked at once", "", "", _between(result, "bootstrap_low", "bootstrap_high")),
        (f"found with a chance of {result['power']:.0%}", "", "", number(result["detectable"])),
    ]
    costs = result["costs"]
    if costs:
        times = f"{costs['a'] / costs['b']:.3g} times"
        rows.append((f"cost ({costs['unit']})", scaled(costs["a"]), scaled(costs["b"]), times))
    ratio = result.get("sample_ratio")
    if ratio:
        rows.append(("units", *(f"{ratio['counts'][v]:,}" for v in "AB"), f"p {ratio['p']:.2g}"))
    beyond = f", {result['clipped']:,} beyond ±{result['bound']:g}" if result["clipped"] else ""
    lines.append(f"{result['samples']:,} pairs{beyond}; {result['better']} is better; margin {result['margin']:g}")
    return "\n".join([*lines, "", *aligned(rows)])


def _between(result: Mapping[str, Any], low: str, high: str) -> str:
    return "–" if result[low] is None else f"{number(result[low])} … {number(result[high])}"
