"""Arrays as the compiled kernels want them, and what several of these modules ask of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def read_only(array: np.ndarray, type_: Any) -> np.ndarray:
    """A contiguous view of one type that cannot be written, copied only where it must be.

    Numba compiles a kernel anew for arrays that differ in type, layout or writability; inputs from Arrow
    cannot be written, those from NumPy can.  With all of them alike each kernel is compiled once.
    """
    view = np.ascontiguousarray(array, type_).view()
    view.flags.writeable = False
    return view


def run_starts(values: np.ndarray) -> np.ndarray:
    """Where another value begins, ``int64[k]``; equal values (rows, where there are two axes) stand together."""
    new = np.ones(len(values), np.bool_)
    differs = values[1:] != values[:-1]
    new[1:] = differs.any(axis=1) if differs.ndim == 2 else differs
    return np.flatnonzero(new)
