"""MinHash signatures in the terms of datasketch 2, straight from an Arrow column.

The permutations are those of ``datasketch.MinHash`` (version 2.0, https://github.com/ekzhu/datasketch):
hashes are mixed once by MurmurHash3's finaliser, then permuted by ``a * h + b`` modulo 2^32 (``affine32``) or
2^64 (``affine64``), ``a`` odd, both drawn from ``numpy.random.RandomState(seed)``.  For equal shingle hashes,
seed and number of permutations the values are equal bit for bit, so that a row is what
``datasketch.MinHash(hashvalues=row, seed=seed, scheme=scheme)`` holds.  ``affine32`` permutes the low 32 bits
of the shingle hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from curation.duplicates.arrays import read_only
from curation.duplicates.folding import tables
from curation.duplicates.kernel import DONE, WORDLESS, permute, sketch_rows
from curation.duplicates.shingles import DEFINITION, check_definition, folded_texts, text_arrays, wordless_hashes
from curation.errors import InputError

Scheme = Literal["affine32", "affine64"]
_TYPES: dict[str, Any] = {"affine32": np.uint32, "affine64": np.uint64}


@dataclass(frozen=True)
class Sketches:
    """What one pass over texts leaves of them.

    Attributes:
        minima: ``uint32[n, permutations]`` (``affine32``) or ``uint64`` (``affine64``), the signatures.
        words: ``int64[n]``, number of words, not of different ones.
        text_hash: ``uint64[n, 2]``; equal for two texts just if their sequences of words are, but for a chance
            of some 2^-64.  For texts without words, of the folded text without white space around it.
    """

    minima: np.ndarray
    words: np.ndarray
    text_hash: np.ndarray

    def __len__(self) -> int:
        return int(self.words.size)


def permutations(count: int, seed: int = 1, scheme: Scheme = "affine32") -> tuple[np.ndarray, np.ndarray]:
    """Multipliers and addends, as ``datasketch.MinHash(count, seed, scheme=scheme).permutations``.

    Raises:
        InputError: an unknown scheme, or no permutation at all.
    """
    if scheme not in get_args(Scheme):
        raise InputError(f"there is no permutation scheme {scheme!r}; there are {', '.join(get_args(Scheme))}")
    if count < 1:
        raise InputError(f"a signature needs at least one permutation, not {count}")
    word = _TYPES[scheme]
    bits = 8 * word().itemsize
    generator = np.random.RandomState(seed)
    multipliers = generator.randint(0, 1 << (bits - 1), count, dtype=word) * word(2) + word(1)
    addends = generator.randint(0, 1 << bits, count, dtype=word)
    return read_only(multipliers, word), read_only(addends, word)


def minima_of(shingles: np.ndarray, count: int, seed: int = 1, scheme: Scheme = "affine32") -> np.ndarray:
    """The signature of one set of shingle hashes, ``uint64[...]``; the greatest value where there are none."""
    multipliers, addends = permutations(count, seed, scheme)
    minima = np.full(count, np.iinfo(multipliers.dtype).max, multipliers.dtype)
    permute(read_only(shingles, np.uint64), len(shingles), multipliers, addends, minima)
    return minima


def signatures(
    text: pa.Array,
    definition: str = DEFINITION,
    scheme: Scheme = "affine32",
    num_perm: int = 126,
    seed: int = 1,
) -> Sketches:
    """Signature, number of words and hash of each text, in one pass.

    Args:
        text: ``string`` or ``large_string``; null counts as empty.
        definition: of the shingles.
        scheme, num_perm, seed: of the permutations.

    Raises:
        InputError: an unknown definition or scheme.
    """
    check_definition(definition)
    lanes = permutations(num_perm, seed, scheme)
    sketches, status = _read(text, lanes, plain=False)
    rows = np.flatnonzero(status != DONE)
    if not rows.size:
        return sketches
    folded = folded_texts(text, rows)
    again, status = _read(folded, lanes, plain=True)
    wordless = np.flatnonzero(status == WORDLESS)
    again.text_hash[wordless] = wordless_hashes(folded, wordless)
    for row in wordless.tolist():
        permute(read_only(again.text_hash[row, :1], np.uint64), 1, *lanes, again.minima[row])
    sketches.minima[rows], sketches.words[rows] = again.minima, again.words
    sketches.text_hash[rows] = again.text_hash
    return sketches


def _read(text: pa.Array, lanes: tuple[np.ndarray, np.ndarray], plain: bool) -> tuple[Sketches, np.ndarray]:
    data, offsets = text_arrays(text)
    count, word = len(text), lanes[0].dtype
    minima = np.full((count, lanes[0].size), np.iinfo(word).max, word)
    sketches = Sketches(minima, np.zeros(count, np.int64), np.zeros((count, 2), np.uint64))
    status = np.zeros(count, np.int8)
    sketch_rows(data, offsets, plain, tables(), *lanes, minima, sketches.words, sketches.text_hash, status)
    return sketches, status
