"""Encoding each word once: what a tokenizer says of a text, pieced together from what it said of its segments.

Byte-level BPE first cuts a text into words by an expression and merges inside them.  Where it certainly cuts can be
told from two or three ASCII characters: behind a run of letters, and before a blank or a line end and a letter.  So a
text falls into segments whose tokens follow each other, most of them seen before, and only new ones are encoded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np
from tokenizers import Tokenizer

# Letters, one character before them, up to three digits, runs of signs, line ends, blanks (as in cl100k).
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Only where WORDS cuts too.  A segment begins at a cut; then ASCII letters with another ASCII character behind them are
# a whole word, and there is a cut between a visible character, a blank and a letter, and between a line end and one.
SEGMENTS = re.compile(
    r" ?[A-Za-z]+(?=[\x00-@[-`{-\x7f])|.+?(?:(?<=[!-~])(?= [A-Za-z])|(?<=\n)(?=[A-Za-z])|\Z)", re.DOTALL
)
OVERHEAD, MOST = 100, 1 << 27  # bytes beside its characters that a segment takes, and bytes for all


class SegmentEncoder:
    """Tokens of texts, of a tokenizer that cuts by ``WORDS``; exactly those that it gives itself."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype) -> None:
        self._tokenizer, self._dtype = tokenizer, dtype
        self._known: dict[str, bytes] = {}
        self._size = 0

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        known = self._known  # only ever added to, so that threads may share it
        cut = [SEGMENTS.findall(text) for text in texts]
        new = [segment for segment in set(chain.from_iterable(cut)) if segment not in known]
        said = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        known.update(
            (segment, np.array(each.ids, self._dtype).tobytes()) for segment, each in zip(new, said, strict=True)
        )
        found = [np.frombuffer(b"".join(map(known.__getitem__, segments)), self._dtype) for segments in cut]
        self._size += sum(map(len, new)) + OVERHEAD * len(new)
        if self._size > MOST:
            self._known, self._size = {}, 0
        return found
