"""Whether Chinese is written in simplified or in traditional characters."""

from __future__ import annotations

from functools import cache

import numpy as np

# Languages of lid.176 that are written in Chinese characters, each in either script.
CHINESE = frozenset({"zh", "yue", "wuu", "cmn"})


@cache
def _classes() -> np.ndarray:
    """``int8[65536]``: -1 for simplified only, 1 for traditional only, 0 for all other code points.

    The character sets of the two worlds tell them apart: GB 2312 holds simplified characters, Big5
    traditional ones, both hold what never differed or serves in both (后, 里, 干).
    """
    classes = np.zeros(1 << 16, np.int8)
    for code in range(0x4E00, 0xA000):
        classes[code] = _encodes(chr(code), "big5") - _encodes(chr(code), "gb2312")
    return classes


def _encodes(character: str, charset: str) -> int:
    try:
        character.encode(charset)
    except UnicodeEncodeError:
        return 0
    return 1


def chinese_script(text: str) -> str | None:
    """``Hans`` or ``Hant`` (ISO 15924), by which kind of characters there is more of; None on a tie."""
    units = np.frombuffer(text.encode("utf-16-le"), np.uint16)
    balance = int(_classes()[units].sum(dtype=np.int64))
    if balance == 0:
        return None
    return "Hant" if balance > 0 else "Hans"
