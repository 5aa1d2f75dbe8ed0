"""Packed rows of documents: corpora to pretrain on, conversations to tune on.

Shapes: B rows of this rank, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.data.documents import Documents
from trainer.data.mixture import Mixture
from trainer.data.order import Permutation
from trainer.data.packing import Placed, pack
from trainer.data.streams import State, checked_state
from trainer.errors import DataError

NO_TARGET = -100
NO_DOCUMENT = -1


class Batch(NamedTuple):
    """Rows of packed documents, all int64.

    tokens_BT: the tokens; padding where documents_BT is -1.
    documents_BT: number of the document within its row, from 0 on.
    targets_BT: the token that follows in the document; -100 at its end and where nothing is to be learned.  Where a
        document was cut, the last token of a piece still has its target, so that every token is learned once.
    """

    tokens_BT: Tensor
    documents_BT: Tensor
    targets_BT: Tensor


class Packed:
    """Batches of packed rows, window of documents by window.

    The documents of a window are packed as their lengths alone decide; its rows come in a keyed order.  The position
    is two integers, the window and the row in it, the same for all ranks: row ``n`` of a step is of rank
    ``n % world``, so any number of ranks sees the same rows in the same order.

    Args:
        documents: of kind ``corpus`` or ``instructions``.
        order: which of them, and when.
        rows: B, of this rank in each batch.
        tokens: T, of a row.
        chunk: C, of a model that has chunks.
        padding: the token that pads.
        window: documents that are packed together; memory is in proportion.
        fill: see ``pack``.
        epochs: how often to go through the data; None: for ever.  The last batch is filled up with empty rows.
        rank, world: of how many that share each step.
    """

    def __init__(
        self, documents: Documents, order: Mixture, *, rows: int, tokens: int, chunk: int | None = None, padding: int,
        window: int = 8192, fill: float = 0.995, epochs: int | None = None, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        if documents.kind == "preferences":
            raise DataError("pairs are not packed as documents")
        self._tokens = documents.ragged("tokens")
        self._learned = documents.ragged("learned") if documents.kind == "instructions" else None
        self._order, self._size = order, window
        self._rows, self._shape = rows, (tokens, chunk, fill)
        self._padding, self._rank, self._world = padding, rank, world
        self._end = None if epochs is None else epochs * order.size
        self._at = (0, 0)
        self._window = self._packed(0)

    @property
    def epoch(self) -> float:
        """How often the data was gone through, to the window."""
        return self._at[0] * self._size / self._order.size

    def state(self) -> State:
        return {"window": self._at[0], "row": self._at[1]}

    def restore(self, state: State) -> None:
        window, row = checked_state(state, ("window", "row"))
        if window != self._at[0]:
            self._window = self._packed(window)
        self._at = (window, row)

    def __iter__(self) -> Packed:
        return self

    def __next__(self) -> Batch:
        batch = empty_batch(self._rows, self._shape[0], self._padding)
        if not self._forward():
            raise StopIteration
        for number in range(self._rows * self._world):
            if not self._forward():
                break
            if number % self._world == self._rank:
                self._write(batch, number // self._world)
            self._at = (self._at[0], self._at[1] + 1)
        return Batch(*map(torch.from_numpy, batch))

    def _forward(self) -> bool:
        """Go to the next window where this one is used up; False at the end of the data."""
        while self._window is not None and self._at[1] >= self._window.placed.rows:
            self._at = (self._at[0] + 1, 0)
            self._window = self._packed(self._at[0])
        return self._window is not None

    def _packed(self, number: int) -> _Window | None:
        first = number * self._size
        end = first + self._size if self._end is None else min(first + self._size, self._end)
        if first >= end:
            return None
        documents = self._order.at(np.arange(first, end))
        placed = pack(self._tokens.lengths[documents], *self._shape)
        order = Permutation(placed.rows, (self._order.seed, -2, number))(np.arange(placed.rows))
        return _Window(documents, placed, order, np.searchsorted(placed.row, np.arange(placed.rows + 1)))

    def _write(self, batch: tuple[np.ndarray, np.ndarray, np.ndarray], into: int) -> None:
        assert self._window is not None
        documents, placed, order, firsts = self._window
        row = order[self._at[1]]
        pieces = range(firsts[row], firsts[row + 1])
        for count, piece in enumerate(pieces):
            document, place = documents[placed.document[piece]], int(placed.place[piece])
            start, length = int(placed.start[piece]), int(placed.length[piece])
            learned = self._learned[document] if self._learned else None
            write_piece([array[into] for array in batch], place, count, self._tokens[document], start, length, learned)


class _Window(NamedTuple):
    documents: np.ndarray
    placed: Placed
    order: np.ndarray
    firsts: np.ndarray


def empty_batch(rows: int, tokens: int, padding: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, documents and targets of rows in which nothing stands yet."""
    return tuple(np.full((rows, tokens), value, np.int64) for value in (padding, NO_DOCUMENT, NO_TARGET))  # type: ignore[return-value]


def write_piece(
    row: list[np.ndarray], place: int, number: int, tokens: np.ndarray, start: int, length: int,
    learned: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Write ``tokens[start : start + length]`` of a document into tokens, documents and targets of a row."""
    row[0][place : place + length] = tokens[start : start + length]
    row[1][place : place + length] = number
    following = tokens[start + 1 : start + 1 + length].astype(np.int64)
    if learned is not None:
        following[~learned[start + 1 : start + 1 + length]] = NO_TARGET
    row[2][place : place + len(following)] = following
