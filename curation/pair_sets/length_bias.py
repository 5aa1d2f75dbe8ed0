"""How well length alone predicts which response was chosen.

For a pair let ``d`` be the length of the chosen response less that of the rejected one.

Accuracy: how often "the longer one is chosen" is right, a pair of equal lengths counting one half.  Interval: Wilson,
Probable inference, the law of succession, and statistical inference, JASA 22 (1927).  Halves vary less than the
binomial that it assumes, so with many ties the interval is too wide, never too narrow.

AUC and correlation: pairs are shown either way round, the chosen one first (label 1, score ``d``) and the rejected
one first (label 0, score ``-d``), so that neither depends on which side a file puts first.  The AUC of these ``2 n``
scores is the mean over all ``i, j`` of ``[d_i + d_j > 0] + [d_i + d_j = 0] / 2``: the signed-rank statistic of Wilcoxon
(1945) as a share.  Interval: DeLong, DeLong, Clarke-Pearson, Comparing the areas under two or more correlated receiver
operating characteristic curves, Biometrics 44 (1988), with the variance of Obuchowski, Nonparametric analysis of
clustered ROC curve data, Biometrics 53 (1997), a pair being a cluster of one positive and one negative.  Both have the
same placement ``V_i`` here, and the variance comes to ``4 s^2(V) / n``, twice what DeLong's gives for independent
halves.  The interval is cut at 0 and 1, and has no width where every pair agrees.

Correlation: point-biserial (Pearson with the label as 0 and 1; Tate, Annals of Mathematical Statistics 25, 1954), which
comes to the mean of ``d`` over its root mean square.

:func:`balance` takes away the fewest pairs that bring the accuracy into a band around one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import InputError
from curation.pair_sets.findings import Findings, findings_of
from curation.pair_sets.numbering import order_by, seeded_hash
from curation.pair_sets.shares import as_share

RULES = ("length-balance",)
_Z = 1.959963984540054  # 97.5 % of the standard normal distribution lie below


@dataclass(frozen=True)
class Lengths:
    """Lengths of ``n`` pairs.

    Attributes:
        chosen, rejected: ``int32[n]``, in tokens or whatever else, both in the same.
        language: ``string`` of that length, or None where all is one language; null is ``und``.
    """

    chosen: np.ndarray
    rejected: np.ndarray
    language: pa.Array | None = None

    @property
    def difference(self) -> np.ndarray:
        """``int64[n]``, chosen less rejected."""
        return self.chosen.astype(np.int64) - self.rejected.astype(np.int64)


@dataclass(frozen=True)
class LengthBias:
    """Figures of one set of pairs; NaN where there are none.

    Attributes:
        pairs: number of pairs; ``longer``, ``shorter`` and ``ties`` of them have the longer, the shorter and neither
            response chosen.
        mean_difference: mean of chosen less rejected.
        accuracy, accuracy_low, accuracy_high: of "the longer one is chosen", with its 95 % interval.
        auc, auc_low, auc_high: of the difference, with its 95 % interval.
        correlation: point-biserial, of the difference with the label; NaN where all differences are 0.
    """

    pairs: int
    longer: int
    shorter: int
    ties: int
    mean_difference: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    auc: float
    auc_low: float
    auc_high: float
    correlation: float


@dataclass(frozen=True)
class LengthReport:
    """Figures of all pairs, and of each language, in order of its code."""

    overall: LengthBias
    by_language: dict[str, LengthBias]


def length_bias(lengths: Lengths, kept: np.ndarray | None = None) -> LengthReport:
    """Measure all pairs, or those that are kept: called twice, before and after."""
    difference = lengths.difference
    chosen = np.ones(difference.size, np.bool_) if kept is None else kept
    names, codes = _strata(lengths)
    by_language = {name: measure(difference[chosen & (codes == code)]) for code, name in enumerate(names)}
    return LengthReport(measure(difference[chosen]), by_language)


def measure(difference: np.ndarray) -> LengthBias:
    """The figures for some differences, ``int64[m]``."""
    count = difference.size
    longer, ties = int((difference > 0).sum()), int((difference == 0).sum())
    if not count:
        return LengthBias(0, 0, 0, 0, *([math.nan] * 8))
    accuracy = (longer + ties / 2) / count
    values = difference.astype(np.float64)
    square = float(np.mean(values**2))
    return LengthBias(
        count,
        longer,
        count - longer - ties,
        ties,
        float(values.mean()),
        accuracy,
        *wilson(accuracy, count),
        *mirrored_auc(difference),
        float(values.mean()) / math.sqrt(square) if square else math.nan,
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share among ``count`` trials."""
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def mirrored_auc(difference: np.ndarray) -> tuple[float, float, float]:
    """AUC of differences against their mirror images, and its 95 % interval; one pair alone has none (0 to 1)."""
    ordered = np.sort(difference)
    below, upto = np.searchsorted(ordered, -ordered, "left"), np.searchsorted(ordered, -ordered, "right")
    placements = 1 - (below + upto) / (2 * ordered.size)
    auc = float(placements.mean())
    if ordered.size < 2:
        return auc, 0.0, 1.0
    half = _Z * 2 * float(placements.std(ddof=1)) / math.sqrt(ordered.size)
    return auc, max(0.0, auc - half), min(1.0, auc + half)


def balance(
    lengths: Lengths,
    pair_id: np.ndarray,
    band: tuple[str | float | Fraction, str | float | Fraction] = ("0.45", "0.55"),
    *,
    seed: int = 1,
    kept: np.ndarray | None = None,
) -> Findings:
    """Drop the fewest pairs so that the accuracy of "the longer one is chosen" lies in a band, language by language.

    Above the band pairs go whose longer response was chosen, below it those whose shorter one was; nothing else brings
    it there with fewer.  Among them those go whose ids have the lowest :func:`seeded_hash`, whatever their lengths
    are; a narrower band with the same seed drops these and more.  This evens out how often the longer one wins, not
    by how much; the AUC afterwards says what is left.

    Args:
        lengths: of all pairs.
        pair_id: ``uint64[n, 2]``.
        band: lower and upper bound, with one half between them or on them.
        seed: of the hash.
        kept: ``bool[n]``, pairs that are still in the set.

    Raises:
        InputError: a band without one half.

    Returns:
        Findings whose value is the difference of lengths.
    """
    low, high = (as_share(bound, "a bound of the share in which the longer one wins") for bound in band)
    if not low <= Fraction(1, 2) <= high:
        raise InputError(f"the band from {low} to {high} must hold 1/2")
    difference, alive = lengths.difference, np.ones(len(pair_id), np.bool_) if kept is None else kept
    hashes = seeded_hash(pair_id, seed)
    dropped = np.zeros(difference.size, np.bool_)
    names, codes = _strata(lengths)
    for code in range(len(names)):
        rows = np.flatnonzero(alive & (codes == code))
        for sign, bound in ((1, high), (-1, 1 - low)):
            winning = rows[sign * difference[rows] > 0]
            ties = int((difference[rows] == 0).sum())
            surplus = _surplus(winning.size, ties, rows.size, bound)
            dropped[winning[order_by(hashes[winning], pair_id[winning])[:surplus]]] = True
    nobody = np.full(difference.size, -1, np.int64)
    return findings_of(RULES, np.where(dropped, 0, -1), difference, nobody, dropped)


def _surplus(winning: int, ties: int, count: int, bound: Fraction) -> int:
    """The least ``k`` with ``(winning - k + ties / 2) / (count - k) <= bound``, in integers."""
    p, q = bound.numerator, bound.denominator
    over = q * (2 * winning + ties) - 2 * p * count
    return max(0, -(-over // (2 * (q - p))))


def _strata(lengths: Lengths) -> tuple[list[str], np.ndarray]:
    """Language codes in order, and the place of each pair's, ``int64[n]``."""
    if lengths.language is None:
        return ["und"] if lengths.chosen.size else [], np.zeros(lengths.chosen.size, np.int64)
    return language_codes(lengths.language)


def language_codes(language: pa.Array) -> tuple[list[str], np.ndarray]:
    """Distinct values in order, and the place of each row's, ``int64[n]``; null is ``und``."""
    encoded = pc.dictionary_encode(language.cast(pa.string()).fill_null("und"))
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    return [names[number] for number in order], place[encoded.indices.to_numpy().astype(np.int64)]
