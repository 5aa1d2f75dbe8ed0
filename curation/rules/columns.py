"""Small things that the profiles share: thresholds by language, and measured columns from counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curation.stage import DEFAULT

# Languages whose words are single characters here.
UNSPACED = ("zh", "ja", "th", "lo", "km", "my")
OTHER_CHINESE = ("yue", "wuu")


def by_language(default: float, *unspaced: float | None, **others: float | None) -> dict[str, float | None]:
    """A threshold by language.

    Args:
        default: for every language not named.
        unspaced: for each of ``UNSPACED`` in that order.
        others: by language code, instead of all of these.  What holds for ``zh`` holds for Cantonese and Wu.
    """
    named = dict(zip(UNSPACED, unspaced, strict=True)) if unspaced else others
    chinese = {code: named["zh"] for code in OTHER_CHINESE} if "zh" in named else {}
    return {DEFAULT: default, **named, **chinese}


def counts(values: np.ndarray) -> pa.Array:
    """Counts as ``int32``."""
    return pa.array(values.astype(np.int32))


def ratios(part: np.ndarray, whole: np.ndarray) -> pa.Array:
    """``part / whole`` in double precision, null where ``whole`` is 0 or ``part`` negative."""
    undefined = (whole == 0) | (part < 0)
    values = part / np.where(undefined, 1, whole)
    return pa.array(values, pa.float64(), mask=undefined)


def of_language(thresholds: dict[str, float | None], languages: list[str], off: float) -> np.ndarray:
    """``int64[n]``: the threshold of each document's language, ``off`` where there is none."""
    chosen = [thresholds.get(code, thresholds.get(DEFAULT)) for code in languages]
    return np.array([off if value is None else value for value in chosen], np.float64).astype(np.int64)
