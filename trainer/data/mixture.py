"""How often documents of each language and domain come in an epoch.

A document's weight is that of its language times that of its domain: 2 comes twice an epoch, 0.25 in every fourth
epoch, 0 never.  The documents of a group (one language, one domain) stand in a circle in a keyed order, and an epoch
takes exactly round(weight · documents) of them, going on where the last one ended.  So the counts of every epoch are
exact, a document comes ⌊w⌋ or ⌈w⌉ times in each, and the position in the data stays one integer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from trainer.data.order import Order, Permutation
from trainer.errors import DataError
from trainer.ranges import suggestion


@dataclass(frozen=True)
class Group:
    """Documents of one weight: which, and how many an epoch takes."""

    members: np.ndarray
    taken: int


class Mixture:
    """Which document stands at a position.

    Args:
        groups: disjoint groups of document numbers.
        seed: of the order.
    """

    def __init__(self, groups: Sequence[Group], seed: int) -> None:
        self.groups = [group for group in groups if group.taken]
        if not self.groups:
            raise DataError("there are no documents to train on; do all weights come to nothing?")
        self.seed = seed
        self._ends = np.cumsum([group.taken for group in self.groups])
        self.size = int(self._ends[-1])  # documents an epoch
        self._order = Order(self.size, seed)
        self._circles = [Permutation(len(group.members), (seed, -1, n)) for n, group in enumerate(self.groups)]

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Documents (int64) at some positions of the endless sequence of epochs."""
        positions = np.asarray(positions, np.int64)
        slots, epochs = self._order.at(positions), positions // self.size
        of = np.searchsorted(self._ends, slots, side="right")
        found = np.empty_like(positions)
        for number in np.unique(of):
            group, chosen = self.groups[number], of == number
            place = slots[chosen] - (self._ends[number] - group.taken) + epochs[chosen] * group.taken
            found[chosen] = group.members[self._circles[number](place % len(group.members))]
        return found


def mixture(
    documents: np.ndarray,
    seed: int,
    labels: Mapping[str, tuple[np.ndarray, Sequence[str]]] | None = None,
    weights: Mapping[str, Mapping[str, float]] | None = None,
) -> Mixture:
    """Weigh documents by their labels.

    Args:
        documents: numbers of the documents to train on.
        seed: of the order.
        labels: by kind (``language``, ``domain``): the code of each document of ``documents`` (-1: none), and the
            names of the codes.
        weights: by kind and name; what is not named weighs 1.
    """
    labels, weights = labels or {}, weights or {}
    _check(labels, weights)
    chosen = [(codes, names, weights[kind]) for kind, (codes, names) in sorted(labels.items()) if weights.get(kind)]
    if not chosen:
        return Mixture([Group(documents, len(documents))], seed)
    table = np.stack([codes for codes, _, _ in chosen], axis=1)
    combinations, of = np.unique(table, axis=0, return_inverse=True)
    groups = []
    for number, combination in enumerate(combinations):
        weight = Fraction(1)
        for code, (_, names, by_name) in zip(combination, chosen, strict=True):
            weight *= Fraction(str(by_name.get(names[code], 1))) if code >= 0 else 1
        members = documents[of.reshape(-1) == number]
        groups.append(Group(members, round(weight * len(members))))
    return Mixture(groups, seed)


def _check(labels: Mapping[str, tuple[np.ndarray, Sequence[str]]], weights: Mapping[str, Mapping[str, float]]) -> None:
    for kind, by_name in weights.items():
        if kind not in labels:
            raise DataError(f"documents are weighed by {', '.join(labels)}, not by {kind!r}")
        names = sorted(labels[kind][1])
        for name, weight in by_name.items():
            if name not in names:
                there = ", ".join(names) or "none"
                raise DataError(f"no document has the {kind} {name!r}{suggestion(name, names)}; there are: {there}")
            if not 0 <= weight < float("inf"):
                raise DataError(f"the weight of the {kind} {name!r} is {weight}; it is 0 or more")
