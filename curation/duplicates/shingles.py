"""What near-duplicates are compared by: the set of shingles of a text.

``word-5gram/1``, the definition of this house:

* The text in NFKC, then case-folded (``str.casefold``).
* A word is a maximal run of letters, marks and decimal digits (general categories L, M and Nd), except that
  each letter, mark or number (L, M, N) of the scripts Han, Hiragana, Katakana, Thai, Lao, Khmer and Myanmar,
  which are written without spaces, is a word of its own.
* A shingle is five consecutive words.  A text of one to four words has one shingle, all its words.  A text
  without any word has one shingle, its folded text without white space around it.
* The similarity of two texts is the Jaccard index of their sets of shingles.

Shingles are compared by 64-bit hashes.  Two different ones fall together with probability 2^-64, which would
change a similarity by at most one over the size of the union.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from curation.batch import text_buffers
from curation.duplicates.arrays import read_only
from curation.duplicates.folding import UNICODE_VERSION, normalised, tables
from curation.duplicates.kernel import DONE, WORDLESS, set_rows
from curation.errors import InputError

DEFINITION = "word-5gram/1"
DEFINITIONS = (DEFINITION,)


@dataclass(frozen=True)
class ShingleSets:
    """Sets of shingle hashes, one after the other.

    Attributes:
        offsets: ``int64[n + 1]``.
        values: ``uint64[offsets[n]]``; set ``i`` is ``values[offsets[i]:offsets[i + 1]]``, rising, no repeats.
    """

    offsets: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __getitem__(self, row: int) -> np.ndarray:
        values: np.ndarray = self.values[self.offsets[row] : self.offsets[row + 1]]
        return values

    @property
    def sizes(self) -> np.ndarray:
        """``int64[n]``, number of shingles of each set."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> ShingleSets:
        """The sets of some rows, in that order, copied."""
        sizes = self.sizes[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], sizes)
        return ShingleSets(offsets, self.values[places])

    @staticmethod
    def concatenate(parts: Sequence[ShingleSets]) -> ShingleSets:
        """All sets of several, one part after the other."""
        sizes = np.concatenate([part.sizes for part in parts])
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return ShingleSets(offsets, np.concatenate([part.values for part in parts]))


def shingle_sets(text: pa.Array, definition: str = DEFINITION) -> ShingleSets:
    """The set of shingle hashes of each text.

    Args:
        text: ``string`` or ``large_string``; null counts as empty.
        definition: one of :data:`DEFINITIONS`.

    Raises:
        InputError: there is no such definition.
    """
    check_definition(definition)
    sets, status = _read_sets(text, plain=False)
    rows = np.flatnonzero(status != DONE)
    if not rows.size:
        return sets
    folded = folded_texts(text, rows)
    again, status = _read_sets(folded, plain=True)
    wordless = np.flatnonzero(status == WORDLESS)
    alone = ShingleSets(np.arange(wordless.size + 1), wordless_hashes(folded, wordless)[:, 0].copy())
    source = np.arange(len(sets))
    source[rows] = len(sets) + np.arange(rows.size)
    source[rows[wordless]] = len(sets) + rows.size + np.arange(wordless.size)
    return ShingleSets.concatenate([sets, again, alone]).take(source)


def _read_sets(text: pa.Array, plain: bool) -> tuple[ShingleSets, np.ndarray]:
    data, offsets = text_arrays(text)
    set_offsets, status = np.zeros(len(text) + 1, np.int64), np.zeros(len(text), np.int8)
    values = set_rows(data, offsets, plain, tables(), set_offsets, status).copy()
    return ShingleSets(set_offsets, values), status


def text_arrays(text: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """UTF-8 bytes and offsets of a column, as the kernels take them."""
    data, offsets = text_buffers(text)
    return read_only(data, np.uint8), read_only(offsets, np.int64)


def folded_texts(text: pa.Array, rows: np.ndarray) -> pa.LargeStringArray:
    """Some texts in folded NFKC: those that the tables cannot fold, and those without words."""
    chosen = text.take(pa.array(rows)).to_pylist()
    return pa.array([normalised(value or "") for value in chosen], pa.large_string())


def wordless_hashes(folded: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Text hash of folded texts without words, ``uint64[len(rows), 2]``; the first half is their shingle's hash."""
    digests = [blake2b(folded[row].as_py().strip().encode(), digest_size=16).digest() for row in rows.tolist()]
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2).astype(np.uint64)


def check_definition(definition: str) -> None:
    """Raise :class:`InputError` where no shingle definition has this name."""
    if definition not in DEFINITIONS:
        raise InputError(f"there is no shingle definition {definition!r}; there is {', '.join(DEFINITIONS)}")


def facts() -> dict[str, str]:
    """What else fixes the sets of shingles: the version of Unicode."""
    return {"unicode": UNICODE_VERSION}
