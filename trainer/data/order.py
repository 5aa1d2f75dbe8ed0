"""The order of documents: a keyed permutation of [0, n), computed index by index.

Nothing is shuffled and nothing stored.  A Feistel network permutes the least power of two above n, and what falls
outside [0, n) is sent through again until it falls inside ("cycle walking": Black and Rogaway, "Ciphers with Arbitrary
Finite Domains", CT-RSA 2002; Luby and Rackoff, 1988, on why a few rounds are enough).  So the position in the data is
one integer for all epochs: each epoch has a key of its own.  It is a shuffle, not a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.errors import DataError

ROUNDS = 10
LEAST_BITS = 5  # on narrower halves the rounds have too few functions to choose from
_ONE = np.uint64(1)


class Permutation:
    """A permutation of ``range(size)``.

    Args:
        size: n, at least 1.
        key: any integers; other keys give other permutations.
    """

    def __init__(self, size: int, key: tuple[int, ...]) -> None:
        if not 1 <= size <= 1 << 62:
            raise DataError(f"nothing can be put in order that has {size} members")
        bits = max(LEAST_BITS, (size - 1).bit_length())
        self.size = size
        self._widths = (bits // 2, bits - bits // 2)
        self._keys = _round_keys(key)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Images (int64) of indices in [0, n)."""
        return self._walk(index, self._forward)

    def inverse(self, image: np.ndarray) -> np.ndarray:
        """Indices (int64) of images in [0, n)."""
        return self._walk(image, self._backward)

    def _walk(self, index: np.ndarray, step: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        found = step(np.asarray(index).astype(np.uint64))
        outside = np.flatnonzero(found >= np.uint64(self.size))
        while len(outside):
            again = step(found[outside])
            found[outside] = again
            outside = outside[again >= np.uint64(self.size)]
        return found.astype(np.int64)

    def _forward(self, value: np.ndarray) -> np.ndarray:
        """Each round (left, right) → (right, left ⊕ F(right)); the widths of the halves swap with them."""
        left_bits, right_bits = self._widths
        left, right = value >> np.uint64(right_bits), value & _mask(right_bits)
        for key in self._keys:
            left, right = right, left ^ (_mixed(right + key) & _mask(left_bits))
            left_bits, right_bits = right_bits, left_bits
        return (left << np.uint64(right_bits)) | right

    def _backward(self, value: np.ndarray) -> np.ndarray:
        left_bits, right_bits = self._widths
        left, right = value >> np.uint64(right_bits), value & _mask(right_bits)
        for key in self._keys[::-1]:
            left, right = right ^ (_mixed(left + key) & _mask(right_bits)), left
            left_bits, right_bits = right_bits, left_bits
        return (left << np.uint64(right_bits)) | right


@dataclass(frozen=True)
class Order:
    """``range(size)`` again and again, each time in another order: position ``p`` is of epoch ``p // size``."""

    size: int
    seed: int

    def __post_init__(self) -> None:
        Permutation(self.size, (0,))  # refuses a size that cannot be

    def at(self, positions: np.ndarray) -> np.ndarray:
        """What stands at some positions (int64, 0 and above)."""
        epochs, within = np.divmod(np.asarray(positions, np.int64), self.size)
        found = np.empty_like(within)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            found[chosen] = Permutation(self.size, (self.seed, int(epoch)))(within[chosen])
        return found


def _mask(bits: int) -> np.uint64:
    return (_ONE << np.uint64(bits)) - _ONE


def _mixed(value: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _round_keys(key: tuple[int, ...]) -> np.ndarray:
    """One word for each round; stable across machines and versions."""
    said = "/".join(str(int(part)) for part in key).encode()
    data = b"".join(hashlib.blake2b(said, digest_size=8, salt=round_.to_bytes(16, "little")).digest()
                    for round_ in range(ROUNDS))  # fmt: skip
    return np.frombuffer(data, "<u8").astype(np.uint64)
