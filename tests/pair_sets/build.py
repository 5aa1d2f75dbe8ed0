"""Pair sets from plain rows, and findings as dictionaries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from curation.pair_sets.findings import Findings
from curation.pair_sets.numbering import from_binary
from curation.pair_sets.pairs import PairSet


class Row(NamedTuple):
    """A pair; texts are anything with a ``repr``."""

    id: int
    prompt: int
    chosen: object
    rejected: object
    margin: float = math.nan
    priority: int = 0
    ranking: int = -1
    text: object = None  # of the prompt; its cluster where None


def digests(values: Sequence[object]) -> np.ndarray:
    raw = [blake2b(repr(value).encode(), digest_size=16).digest() for value in values]
    return from_binary(pa.array(raw, pa.binary(16)))


def ids(values: Sequence[int]) -> np.ndarray:
    return from_binary(pa.array([value.to_bytes(16, "big") for value in values], pa.binary(16)))


def pair_set(rows: Sequence[Row]) -> PairSet:
    return PairSet(
        pair_id=ids([row.id for row in rows]),
        prompt=np.array([row.prompt for row in rows], np.int64),
        prompt_digest=digests([row.prompt if row.text is None else row.text for row in rows]),
        chosen_digest=digests([row.chosen for row in rows]),
        rejected_digest=digests([row.rejected for row in rows]),
        margin=np.array([row.margin for row in rows], np.float64),
        ranking=np.array([row.ranking for row in rows], np.int64),
        priority=np.array([row.priority for row in rows], np.int64),
    )


def by_row(findings: Findings) -> dict[int, tuple[str, float, int, bool]]:
    """Findings by row; each row at most once."""
    listed = findings.listed()
    assert len({finding.row for finding in listed}) == len(listed)
    return {finding.row: (finding.rule, finding.value, finding.witness, finding.dropped) for finding in listed}


@st.composite
def rows(draw: st.DrawFn, prompts: int = 2, answers: int = 4, most: int = 24, unknown: bool = True) -> list[Row]:
    """Few prompts and answers, so that much falls together; margins are multiples of 1/4."""
    margins = st.integers(-2, 6).map(lambda value: value / 4)
    if unknown:
        margins = st.one_of(margins, margins, margins, st.just(math.nan))
    one = st.tuples(
        st.integers(0, prompts - 1),
        st.integers(0, answers - 1),
        st.integers(0, answers - 1),
        margins,
        st.integers(0, 2),
        st.integers(-1, 2),
        st.integers(0, 1),
    )
    drawn = draw(st.lists(one, max_size=most))
    names = draw(st.permutations(range(len(drawn))))
    return [
        Row(name, prompt, chosen, rejected, margin, priority, ranking, (prompt, text))
        for name, (prompt, chosen, rejected, margin, priority, ranking, text) in zip(names, drawn, strict=True)
    ]
