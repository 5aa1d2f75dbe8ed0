"""Columns of a ledger as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers or truth values as ``float64[n]``, null as NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
