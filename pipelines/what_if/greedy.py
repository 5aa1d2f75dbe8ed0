"""The greedy pass over stored pairs, some of which may be missing: kept, removed, or not to be told.

Documents are numbered in their order.  One is removed if a pair joins it with a kept one before it.  It is kept if all
documents before it with which it may be a pair are removed.  Otherwise nobody knows.

Most documents are decided in rounds over arrays; what long chains and families leave is taken one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KEPT, REMOVED, UNKNOWN, _OPEN = 0, 1, 2, 3
ROUNDS = 16


class Families(NamedTuple):
    """Documents that may have pairs that are not known; of two of a family, the first *there* must have been kept.

    Attributes:
        family: ``int64[n]``, 0 for none.
        place: ``int64[n]``, in the order of the pass that proved the pairs.
        kept: ``bool[n]``, what that pass decided.
    """

    family: np.ndarray
    place: np.ndarray
    kept: np.ndarray


def keep_again(first: np.ndarray, last: np.ndarray, pinned: np.ndarray, families: Families) -> np.ndarray:
    """Decide about all documents, ``int8[n]``.

    Args:
        first, last: ``int64[k]``, pairs that are known, the earlier document first.
        pinned: ``bool[n]``, documents that are kept; before all others.
    """
    state = np.where(pinned, KEPT, _OPEN).astype(np.int8)
    alone = families.family == 0
    for _ in range(ROUNDS):
        state[last[state[first] == KEPT]] = REMOVED
        open_ = state == _OPEN
        standing = open_[first] & open_[last]
        first, last = first[standing], last[standing]
        waiting = np.zeros(len(state), bool)
        waiting[last] = True
        ready = open_ & alone & ~waiting
        if not ready.any():
            break
        state[ready] = KEPT
    _in_turn(state, first, last, families)
    return state


def _in_turn(state: np.ndarray, first: np.ndarray, last: np.ndarray, families: Families) -> None:
    """Decide about what is still open, one document after the other."""
    open_ = np.flatnonzero(state == _OPEN)
    if not len(open_):
        return
    order = np.argsort(last, kind="stable")
    bounds = (np.searchsorted(last[order], open_, side).tolist() for side in ("left", "right"))  # type: ignore[call-overload]
    before, states = first[order].tolist(), bytearray(state.tobytes())
    columns = (column[open_].tolist() for column in families)
    # Of each family, among documents so far that may stay: the first there that was not kept, and the last there.
    least: dict[int, int] = {}
    most: dict[int, int] = {}
    for document, start, end, family, place, kept in zip(open_.tolist(), *bounds, *columns, strict=True):
        found = KEPT
        for other in before[start:end]:
            if states[other] == KEPT:
                found = REMOVED
                break
            if states[other] == UNKNOWN:
                found = UNKNOWN
        if family and found == KEPT:
            unknown = least.get(family, place) < place or (not kept and most.get(family, place) > place)
            found = UNKNOWN if unknown else KEPT
        states[document] = found
        if family and found != REMOVED:
            most[family] = max(most.get(family, place), place)
            if not kept:
                least[family] = min(least.get(family, place), place)
    state[:] = np.frombuffer(states, np.int8)
