"""Codes of the reasons that deduplication gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.ledger import DUPLICATE, KEPT
from pipelines.what_if.records import UNDETERMINED, Records


@dataclass(frozen=True)
class Codes:
    """Kept, both kinds of duplicates, and undetermined as one."""

    kept: int
    exact: int
    near: int
    unknown: int

    @classmethod
    def of(cls, records: Records) -> Codes:
        """Those of some records."""
        return cls(
            records.code_of(KEPT),
            records.code_of(DUPLICATE, "deduplication", "exact"),
            records.code_of(DUPLICATE, "deduplication", "near"),
            records.code_of(UNDETERMINED, "deduplication"),
        )

    @property
    def left(self) -> tuple[int, int, int]:
        """Of the documents that deduplication decided about."""
        return self.kept, self.exact, self.near

    def are_left(self, codes: np.ndarray) -> np.ndarray:
        """Which records it decided about, ``bool[n]``."""
        return Records.among(codes, self.left)
