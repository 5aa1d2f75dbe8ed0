"""Arrays as the compiled kernels want them."""

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
