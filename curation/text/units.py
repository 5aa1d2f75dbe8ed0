"""The size of a text in word units, whatever its language: the token count of the ledger.

A unit is a maximal run of letters, marks and decimal digits, except that each letter, mark or number of a script
written without spaces is a unit of its own.  It is the word of the duplicate definition ``word-5gram/1``, taken
from the text as it stands instead of its folded form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numba import njit

from curation.batch import text_buffers
from curation.text.charclass import SOLO, UNIT, character_flags
from curation.text.utf8 import decode_at, read_only

_SOLO, _UNIT = SOLO, UNIT


@njit(cache=True, nogil=True)
def _count_units(data: Any, offsets: Any, flags: Any) -> Any:
    counts = np.zeros(offsets.size - 1, np.int32)
    for row in range(offsets.size - 1):
        i, inside = offsets[row], False
        while i < offsets[row + 1]:
            c, width = decode_at(data, i)
            own = flags[c]
            solo = own & _SOLO != 0
            unit = own & _UNIT != 0
            counts[row] += solo or (unit and not inside)
            inside = unit and not solo
            i += width
    return counts


def count_units(texts: pa.Array) -> np.ndarray:
    """How many units each text has.

    Args:
        texts: ``string`` or ``large_string`` array; nulls count as empty.

    Returns:
        ``int32[n]``.
    """
    data, offsets = read_only(*text_buffers(texts))
    counts: np.ndarray = _count_units(data, offsets, character_flags())
    return counts
