"""How many characters of a text can be seen."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa

# White space, controls, and what Unicode calls default ignorable; fillers that are drawn as a blank.
_INVISIBLE = re.compile(
    "[\\s\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]+"
)


def visible_characters(texts: pa.Array) -> np.ndarray:
    """``int32[n]``: code points of each text that are drawn; null counts as empty."""
    return np.array([len(_INVISIBLE.sub("", text or "")) for text in texts.to_pylist()], np.int32)
