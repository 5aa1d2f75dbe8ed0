"""Small things that the profiles share: thresholds by language, and measured columns from counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curation.stage import DEFAULT


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
