"""Preference pairs: for a reward model by ranking, for direct preference optimisation one by one.

Shapes: S sequences, each a prompt with one answer; T tokens; P pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.data.batches import empty_batch, write_piece
from trainer.data.documents import Documents
from trainer.data.order import Order
from trainer.data.streams import State, checked_state
from trainer.errors import DataError


class PairBatch(NamedTuple):
    """Whole groups of pairs.  An answer that several pairs of a ranking compare is one sequence.

    tokens_ST, documents_ST (0, or -1 where padded), targets_ST (-100 but for the tokens of answers): int64.
    ends_S: place of each sequence's last token.
    chosen_P, rejected_P: sequences that each pair compares.
    margin_P: float64, NaN where nobody said.
    weight_P: float64, one over the pairs of the ranking, so that each prompt counts once.
    rows_P: number of the pair in the data.
    """

    tokens_ST: Tensor
    documents_ST: Tensor
    targets_ST: Tensor
    ends_S: Tensor
    chosen_P: Tensor
    rejected_P: Tensor
    margin_P: Tensor
    weight_P: Tensor
    rows_P: Tensor


class Pairs:
    """Batches of pairs.  The position is one integer: groups given so far, of all ranks.

    A prompt that leaves no room for its answers loses its begin.  Pairs with an answer that does not fit at all are
    left out; ``left_out`` says how many.

    Args:
        documents: of kind ``preferences``.
        rows: which pairs.
        groups: rankings in each batch of this rank; a pair without a ranking is one of its own.
        tokens: the longest sequence.
        padding: the token that pads.
        seed: of the order.
        grouped: False: every pair is a group of its own.
        multiple: widths are multiples of this (C, for a model that has chunks).
        epochs: how often to go through the data; None: for ever.
        rank, world: of how many that share each step.
    """

    def __init__(
        self, documents: Documents, rows: np.ndarray, *, groups: int, tokens: int, padding: int, seed: int,
        grouped: bool = True, multiple: int = 8, epochs: int | None = None, rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        if documents.kind != "preferences":
            raise DataError(f"pairs are read from preferences, not from {documents.kind}")
        if tokens % multiple:
            raise DataError(f"sequences of up to {tokens} tokens are no multiple of {multiple}")
        names = ("prompt", "chosen", "chosen.learned", "rejected", "rejected.learned")
        self._ragged = {name: documents.ragged(name) for name in names}
        longest = np.maximum(self._ragged["chosen"].lengths, self._ragged["rejected"].lengths)[rows]
        self.left_out = int((longest >= tokens).sum())
        self._members = _groups(documents, rows[longest < tokens], grouped)
        self._margin = documents.flat("margin")
        self._order = Order(len(self._members), seed)
        self._groups, self._tokens, self._multiple = groups, tokens, multiple
        self._padding, self._rank, self._world = padding, rank, world
        self._end = None if epochs is None else epochs * self._order.size
        self._position = 0

    def state(self) -> State:
        return {"position": self._position}

    def restore(self, state: State) -> None:
        (self._position,) = checked_state(state, ("position",))

    def __iter__(self) -> Pairs:
        return self

    def __next__(self) -> PairBatch:
        end = self._position + self._groups * self._world
        if self._end is not None:
            end = min(end, self._end)
        if end <= self._position:
            raise StopIteration
        places = np.arange(self._position + self._rank, end, self._world)
        batch = self._batch([self._members[group] for group in self._order.at(places)])
        self._position = end
        return batch

    def _batch(self, groups: list[np.ndarray]) -> PairBatch:
        sequences: list[_Sequence] = []
        sides: dict[str, list[int]] = {"chosen": [], "rejected": []}
        for rows in groups:
            known: dict[tuple[bytes, bytes], int] = {}
            room = self._tokens - max(len(self._ragged[side][row]) for side in sides for row in rows)
            for row in rows:
                for side, numbers in sides.items():
                    sequence = self._sequence(row, side, room)
                    number = known.setdefault(sequence.key(), len(sequences))
                    if number == len(sequences):
                        sequences.append(sequence)
                    numbers.append(number)
        rows_P = np.concatenate([np.zeros(0, np.int64), *groups])
        weight_P = np.concatenate([np.zeros(0), *(np.full(len(rows), 1 / len(rows)) for rows in groups)])
        pairs = (sides["chosen"], sides["rejected"], self._margin[rows_P], weight_P, rows_P)
        return PairBatch(*self._rows(sequences), *(torch.from_numpy(np.asarray(a, _type(a))) for a in pairs))

    def _sequence(self, row: int, side: str, room: int) -> _Sequence:
        prompt = self._ragged["prompt"][row]
        prompt = prompt[max(0, len(prompt) - room) :]
        return _Sequence(prompt, self._ragged[side][row], self._ragged[f"{side}.learned"][row])

    def _rows(self, sequences: list[_Sequence]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lengths = [len(each.prompt) + len(each.answer) for each in sequences]
        width = -(-max(lengths, default=1) // self._multiple) * self._multiple
        arrays = empty_batch(len(sequences), width, self._padding)
        for number, (prompt, answer, learned) in enumerate(sequences):
            mask = np.concatenate([np.zeros(len(prompt), bool), learned])
            tokens = np.concatenate([prompt, answer])
            write_piece([array[number] for array in arrays], 0, 0, tokens, 0, len(tokens), mask)
        tokens_ST, documents_ST, targets_ST = map(torch.from_numpy, arrays)
        return tokens_ST, documents_ST, targets_ST, torch.tensor(lengths, dtype=torch.int64) - 1


class _Sequence(NamedTuple):
    prompt: np.ndarray
    answer: np.ndarray
    learned: np.ndarray

    def key(self) -> tuple[bytes, bytes]:
        return self.prompt.tobytes(), self.answer.tobytes()


def _type(values: object) -> type:
    return np.float64 if isinstance(values, np.ndarray) and values.dtype.kind == "f" else np.int64


def _groups(documents: Documents, rows: np.ndarray, grouped: bool) -> list[np.ndarray]:
    """Rows by ranking, in the order in which rankings first come."""
    if not len(rows):
        raise DataError("there is no pair to train on that fits")
    if not grouped:
        return list(rows[:, None])
    first, keys = 0, []
    for entry in documents.entries:
        codes, alone = entry.arrays["ranking"], np.arange(entry.facts["rows"])
        keys.append(np.where(codes < 0, -1 - (first + alone), first + codes.astype(np.int64)))
        first += entry.facts["rows"]
    _, begins, of = np.unique(np.concatenate(keys)[rows], return_index=True, return_inverse=True)
    by_group = rows[np.argsort(of, kind="stable")]
    found = np.split(by_group, np.cumsum(np.bincount(of))[:-1])
    return [found[group] for group in np.argsort(begins)]
