"""Encoded dataset versions side by side, their rows numbered through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.data.cache import Entry
from trainer.data.mixture import Mixture, mixture
from trainer.errors import DataError


class Ragged:
    """Rows of different lengths of one array of several entries; nothing is copied."""

    def __init__(self, entries: Sequence[Entry], name: str) -> None:
        self._values = [entry.arrays[name] for entry in entries]
        self._ends = [entry.arrays[f"{name}.ends"] for entry in entries]
        self._firsts = np.cumsum([0, *(len(ends) for ends in self._ends)])
        lengths = [np.diff(ends, prepend=0) for ends in self._ends]
        self.lengths = np.concatenate(lengths).astype(np.uint32 if max(map(len, self._values)) < 1 << 32 else np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        which = int(np.searchsorted(self._firsts, row, side="right")) - 1
        end = int(self._ends[which][row - self._firsts[which]])
        return self._values[which][end - int(self.lengths[row]) : end]


class Documents:
    """Rows of one kind.

    Args:
        entries: of ``encoded``; all of one kind and one tokenizer.
        held_out: share that is held out, by a hash, of the rows of which nobody said whether they are.
    """

    def __init__(self, entries: Sequence[Entry], held_out: float = 0.0) -> None:
        kinds = {entry.facts["kind"] for entry in entries}
        if len(kinds) != 1:
            raise DataError(f"datasets of one kind are read together, not {', '.join(sorted(kinds)) or 'none'}")
        if not 0 <= held_out < 1:
            raise DataError(f"a share of {held_out} cannot be held out; it is from 0 up to, not including, 1")
        self.kind: str = kinds.pop()
        self.entries = list(entries)
        self.rows = sum(entry.facts["rows"] for entry in entries)
        split, hashed = self.flat("split"), self.flat("hash")
        self._out = np.where(split < 0, hashed < np.uint64(int(held_out * (1 << 64))), split == 1)

    def flat(self, name: str) -> np.ndarray:
        """One value a row."""
        return np.concatenate([entry.arrays[name] for entry in self.entries])

    def ragged(self, name: str) -> Ragged:
        """Several values a row."""
        return Ragged(self.entries, name)

    def train(self) -> np.ndarray:
        """Numbers of the rows to train on."""
        return np.flatnonzero(~self._out)

    def held_out(self) -> np.ndarray:
        """Numbers of the rows that are held out."""
        return np.flatnonzero(self._out)

    def labels(self, kind: str) -> tuple[np.ndarray, list[str]]:
        """The code of each row's language or domain, and the names of the codes."""
        names = sorted({name for entry in self.entries for name in entry.facts[kind]})
        places = {name: place for place, name in enumerate(names)}
        codes = []
        for entry in self.entries:
            table = np.array([*(places[name] for name in entry.facts[kind]), -1], np.int32)
            codes.append(table[entry.arrays[kind]])  # -1 is the last of the table
        return np.concatenate(codes), names

    def mixture(self, rows: np.ndarray, seed: int, weights: Mapping[str, Mapping[str, float]] | None = None) -> Mixture:
        """An endless sequence of some rows, weighed by language and domain."""
        labels = {}
        for kind in ("language", "domain"):
            codes, names = self.labels(kind)
            labels[kind] = (codes[rows], names)
        return mixture(rows, seed, labels, weights)
