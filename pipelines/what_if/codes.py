"""Codes of the reasons that a comparison gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.hygiene.decisions import DROPPING
from pipelines.hygiene.decisions import STAGE as HYGIENE
from pipelines.ledger import DROPPED, DUPLICATE, KEPT
from pipelines.what_if.records import UNDETERMINED, Records


@dataclass(frozen=True)
class Codes:
    """Kept, both kinds of duplicates, what hygiene drops by rule, and undetermined as one."""

    kept: int
    exact: int
    near: int
    unknown: int
    dropped: Mapping[str, int]

    @classmethod
    def of(cls, records: Records) -> Codes:
        """Those of some records."""
        return cls(
            records.code_of(KEPT),
            records.code_of(DUPLICATE, records.comparison, "exact"),
            records.code_of(DUPLICATE, records.comparison, "near"),
            records.code_of(UNDETERMINED, records.comparison),
            {rule: records.code_of(DROPPED, HYGIENE, rule) for rule in DROPPING if records.comparison == HYGIENE},
        )

    @property
    def left(self) -> tuple[int, ...]:
        """Of the documents that the comparison decided about."""
        return self.kept, self.exact, self.near, *self.dropped.values()

    def are_left(self, codes: np.ndarray) -> np.ndarray:
        """Which records it decided about, ``bool[n]``."""
        return Records.among(codes, self.left)
