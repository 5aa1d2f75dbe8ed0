"""Statistics of a test of two variants that may be looked at as often as one likes.

Shapes: N samples, K bets, R resamples.

**Always valid.**  ``d`` is by how much A is ahead of B on a sample, in [-b, b].  Whoever claims that the mean of d is
above m bets a share f of what he has on each sample: his wealth is the product of ``1 - f + f (b + d) / (b + m)``.  It
is never negative, and where the mean is m or less it is not expected to grow, so that the chance that it *ever* comes
to 1/a times what he began with is a at the most (Ville, 1939).  He spreads his wealth over K shares f; so does, with
``1 - f + f (b - d) / (b - m)``, who claims that it is below.  Where one of them has 2/alpha of what he began with, m is
left out: what remains is an interval that holds the mean at all times together with a chance of 1 - alpha, whatever the
distribution between the bounds (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS
B 86, 2024, there "diversified Kelly betting").  Products do not know the order of samples, and swapping A and B turns
the interval around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from trainer.errors import ConfigError, DataError

SHARES_K = 0.95 * 2.0 ** (-np.arange(21) / 2)
"""Shares of wealth that are bet: the best one is about b · mean / mean square of d."""
_NORMAL = NormalDist()
_PART = 1 << 16


class Interval(NamedTuple):
    """Both ends."""

    low: float
    high: float


@dataclass(frozen=True)
class Sequential:
    """What samples say of the mean of d, at any time.

    Args:
        difference_N: by how much A is ahead of B.
        bound: b, no difference is greater.
        alpha: chance of ever saying something wrong.

    Raises:
        DataError: a difference beyond the bound, or one that is no number.
    """

    difference_N: np.ndarray
    bound: float
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not self.bound > 0:
            raise ConfigError(
                "", f"alpha is between 0 and 1, not {self.alpha:g}; the bound above 0, not {self.bound:g}"
            )
        if not (np.abs(self.difference_N) <= self.bound).all():  # NaN is refused too
            raise DataError(f"a difference is no number within ±{self.bound:g}")

    def above(self, mean: float) -> bool:
        """Whether the mean is above ``mean``."""
        return self._won(self._growth_K(mean, 1))

    def below(self, mean: float) -> bool:
        """Whether the mean is below ``mean``."""
        return self._won(self._growth_K(mean, -1))

    def times_above(self, mean: float) -> float:
        """How many times these samples, one like the other, until ``above(mean)``; infinity where that is never."""
        return self._times(self._growth_K(mean, 1))

    def times_below(self, mean: float) -> float:
        """As ``times_above``."""
        return self._times(self._growth_K(mean, -1))

    @cached_property
    def interval(self) -> Interval:
        """The confidence sequence at this time."""
        return Interval(-self._end(-1), self._end(1))

    @cached_property
    def _counted(self) -> tuple[np.ndarray, np.ndarray]:
        values, counts = np.unique(np.asarray(self.difference_N, np.float64), return_counts=True)
        return values, counts

    def _growth_K(self, mean: float, side: int) -> np.ndarray:
        """Logarithm of the wealth of each bet that the mean is above (side 1) or below (-1) ``mean``."""
        total_K = np.zeros(len(SHARES_K))
        room = self.bound + side * mean
        if room <= 0:
            return total_K
        values, counts = self._counted
        for first in range(0, len(values), _PART):
            part = slice(first, first + _PART)
            payoff_n = (self.bound + side * values[part]) / room
            total_K += counts[part] @ np.log1p(SHARES_K * (payoff_n[:, None] - 1))
        return total_K

    def _won(self, growth_K: np.ndarray) -> bool:
        return _log_mean_exp(growth_K) >= math.log(2 / self.alpha)

    def _times(self, growth_K: np.ndarray) -> float:
        """The wealth is convex in the number of times, so it crosses the line once."""
        if growth_K.max() <= 0:
            return math.inf
        goal = math.log(2 / self.alpha)
        low, high = 0.0, (goal + math.log(len(growth_K))) / float(growth_K.max())
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if _log_mean_exp(middle * growth_K) >= goal else (middle, high)
        return high

    def _end(self, side: int) -> float:
        """The upper end for side 1; the lower one, its sign turned, for -1."""
        low, high = -self.bound, self.bound
        for _ in range(50):
            middle = (low + high) / 2
            out = self._won(self._growth_K(side * middle, -side))
            low, high = (low, middle) if out else (middle, high)
        return high


def _log_mean_exp(growth_K: np.ndarray) -> float:
    top = float(growth_K.max())
    return top + math.log(float(np.exp(growth_K - top).mean()))


def bootstrap(
    difference_N: np.ndarray, alpha: float, *, method: Literal["percentile", "bca"] = "bca", resamples: int = 2000,
    seed: int = 1,
) -> Interval:  # fmt: skip
    """Interval of the mean by resampling, for one look at a number of samples that was fixed before.

    ``bca`` corrects percentiles for bias and skewness (Efron, Better bootstrap confidence intervals, 1987).
    """
    values_N = np.asarray(difference_N, np.float64)
    if not len(values_N):
        raise DataError("there are no samples to resample")
    if np.ptp(values_N) == 0:
        return Interval(float(values_N[0]), float(values_N[0]))
    mean_R = np.sort(_resampled(values_N, resamples, np.random.default_rng(seed)))
    shares = np.array([alpha / 2, 1 - alpha / 2])
    if method == "bca":
        shares = _bca_shares(values_N, mean_R, shares)
    low, high = np.quantile(mean_R, shares)
    return Interval(float(low), float(high))


def _resampled(values_N: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    rows = max(1, (1 << 22) // len(values_N))
    parts = [min(rows, resamples - first) for first in range(0, resamples, rows)]
    means = [values_N[random.integers(len(values_N), size=(part, len(values_N)))].mean(1) for part in parts]
    return np.concatenate(means)


def _bca_shares(values_N: np.ndarray, mean_R: np.ndarray, shares: np.ndarray) -> np.ndarray:
    mean = values_N.mean()
    below = (np.mean(mean_R < mean) + np.mean(mean_R <= mean)) / 2
    bias = _NORMAL.inv_cdf(min(max(float(below), 0.5 / len(mean_R)), 1 - 0.5 / len(mean_R)))
    off_N = values_N - mean
    skew = float((off_N**3).sum() / (6 * (off_N**2).sum() ** 1.5))  # of the jackknife, which for a mean is this
    moved = [bias + (bias + _NORMAL.inv_cdf(share)) / (1 - skew * (bias + _NORMAL.inv_cdf(share))) for share in shares]
    return np.array([_NORMAL.cdf(z) for z in moved])


def minimum_detectable(deviation: float, samples: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The mean difference that one look at ``samples`` samples finds with a chance of ``power``, two-sided."""
    return (_NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(power)) * deviation / math.sqrt(samples)


def detectable_now(sequential: Sequential, power: float = 0.8) -> float:
    """The same for the interval that is always valid: half of its width, and the chance that the mean falls short."""
    values_N, interval = sequential.difference_N, sequential.interval
    half = (interval.high - interval.low) / 2
    return half + _NORMAL.inv_cdf(power) * float(np.std(values_N)) / math.sqrt(max(len(values_N), 1))


class SampleRatio(NamedTuple):
    """Whether units came to the variants as planned.

    counts: of each variant.
    chi_square: Pearson's, and ``p``, its probability for one look.
    p_always: for as many looks as one likes.
    """

    counts: Mapping[str, int]
    chi_square: float
    p: float
    p_always: float


def sample_ratio(count_a: int, count_b: int, share_a: float = 0.5) -> SampleRatio:
    """Compare the split of units with the planned one.

    ``p_always`` is one over the Bayes factor of any split, all alike likely, against the planned one, which is not
    expected to grow while the plan holds (Lindon and Malek, Anytime-valid inference for multinomial count data, 2022).

    Args:
        share_a: share of the units that A should have.
    """
    if not 0 < share_a < 1:
        raise ConfigError("/share_a", f"a share of {share_a:g}; both variants need some")
    units = count_a + count_b
    expected = share_a * units
    off = (count_a - expected) ** 2
    chi_square = off / expected + off / (units - expected) if units else 0.0
    factor = math.lgamma(count_a + 1) + math.lgamma(count_b + 1) - math.lgamma(units + 2)
    factor -= count_a * math.log(share_a) + count_b * math.log(1 - share_a)
    p = math.erfc(math.sqrt(chi_square / 2))
    return SampleRatio({"A": count_a, "B": count_b}, chi_square, p, min(1.0, math.exp(min(0.0, -factor))))
