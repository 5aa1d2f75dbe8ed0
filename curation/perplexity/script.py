"""Chinese in one script: a model of simplified Chinese says nothing about traditional characters.

Used for scoring and for fitting only; the text of the corpus stays as it is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import opencc
import pyarrow as pa

_CONFIGURATION = "t2s"  # OpenCC: traditional to simplified


@lru_cache(maxsize=1)
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC(_CONFIGURATION)


def simplify(texts: Iterable[str]) -> list[str]:
    """Each text in simplified characters."""
    convert = _converter().convert
    return [convert(text) for text in texts]


def to_simplified(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Each text in simplified characters; null counts as empty."""
    return pa.array(simplify(text or "" for text in texts.to_pylist()), pa.large_string())
