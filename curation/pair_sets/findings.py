"""What a check says: which pairs are affected, by which rule, and which other pair bears witness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Finding(NamedTuple):
    """One affected pair, for people; see :class:`Findings`."""

    row: int
    rule: str
    value: float
    witness: int
    dropped: bool


@dataclass(frozen=True)
class Findings:
    """Affected pairs, one entry for each pair and rule, in order of rows.

    Attributes:
        rules: names of the rules.
        row: ``int64[k]``, the pair.
        rule: ``int8[k]``, place in ``rules``.
        value: ``float64[k]``, what the rule measured; NaN is nothing.
        witness: ``int64[k]``, the row that shows what is wrong; -1 is none.
        dropped: ``bool[k]``, whether the policy takes the pair away.
    """

    rules: tuple[str, ...]
    row: np.ndarray
    rule: np.ndarray
    value: np.ndarray
    witness: np.ndarray
    dropped: np.ndarray

    def __len__(self) -> int:
        return self.row.size

    def listed(self) -> list[Finding]:
        """The same, one by one."""
        columns = (self.row, self.rule, self.value, self.witness, self.dropped)
        parts = zip(*(column.tolist() for column in columns), strict=True)
        return [Finding(row, self.rules[rule], value, witness, gone) for row, rule, value, witness, gone in parts]

    def kept(self, count: int) -> np.ndarray:
        """Which of all pairs stay, ``bool[count]``."""
        kept = np.ones(count, np.bool_)
        kept[self.row[self.dropped]] = False
        return kept

    def counts(self) -> dict[str, int]:
        """Number of pairs by rule, each rule named."""
        found = np.bincount(self.rule, minlength=len(self.rules)).tolist()
        return dict(zip(self.rules, found, strict=True))


def findings_of(
    rules: tuple[str, ...],
    rule: np.ndarray,
    value: np.ndarray,
    witness: np.ndarray,
    dropped: np.ndarray,
) -> Findings:
    """Findings from columns with one value for each pair; ``rule`` is -1 where a pair is not affected."""
    row = np.flatnonzero(rule >= 0)
    return Findings(
        rules,
        row,
        rule[row].astype(np.int8),
        value[row].astype(np.float64),
        witness[row],
        dropped[row].astype(np.bool_),
    )


def joined(parts: Sequence[Findings]) -> Findings:
    """Findings of several checks in order of rows, then of rules."""
    rules = tuple(rule for part in parts for rule in part.rules)
    starts = np.cumsum([0, *(len(part.rules) for part in parts)])[: len(parts)]
    codes = [part.rule + start for part, start in zip(parts, starts, strict=True)]
    row, rule = np.concatenate([part.row for part in parts]), np.concatenate(codes).astype(np.int8)
    order = np.lexsort((rule, row))
    value, witness, dropped = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("value", "witness", "dropped")
    )
    return Findings(rules, row[order], rule[order], value, witness, dropped)


@dataclass(frozen=True)
class Groups:
    """Pairs that belong together.  Groups stand in the order of their first members, members in order of priority.

    Attributes:
        offsets: ``int64[g + 1]``.
        rows: ``int64[m]``; group ``i`` is ``rows[offsets[i]:offsets[i + 1]]``.
    """

    offsets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __getitem__(self, group: int) -> np.ndarray:
        if not 0 <= group < len(self):
            raise IndexError(group)
        rows: np.ndarray = self.rows[self.offsets[group] : self.offsets[group + 1]]
        return rows


def grouped(group: np.ndarray, order: np.ndarray) -> Groups:
    """Groups from a number for each pair.

    Args:
        group: ``int64[n]``, negative for pairs that belong nowhere.
        order: rows in order of priority.
    """
    rows = order[group[order] >= 0]
    if not rows.size:
        return Groups(np.zeros(1, np.int64), rows)
    _, first, inverse, sizes = np.unique(group[rows], return_index=True, return_inverse=True, return_counts=True)
    by_first = np.argsort(first)
    place = np.empty_like(by_first)
    place[by_first] = np.arange(by_first.size)
    offsets = np.concatenate([[0], np.cumsum(sizes[by_first])]).astype(np.int64)
    return Groups(offsets, rows[np.argsort(place[inverse], kind="stable")])
