"""A question decided: the reason of every record before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.hygiene.decisions import STAGE as HYGIENE
from pipelines.kinds import comparison_of
from pipelines.look import FinishedRun
from pipelines.remembered import remembered_stages
from pipelines.what_if.codes import Codes
from pipelines.what_if.compare import compare_again
from pipelines.what_if.duplicates import settle_duplicates
from pipelines.what_if.entries import settle_entries
from pipelines.what_if.evidence import evidence_of
from pipelines.what_if.ledger_only import settle_by_ledger
from pipelines.what_if.order import priority_of
from pipelines.what_if.question import Asked, ask
from pipelines.what_if.records import UNDETERMINED, Chunk, Records


@dataclass(frozen=True)
class Decided:
    """A question and its answer, record by record.

    Attributes:
        run: the run that was asked.
        records: of it.
        asked: stages whose rules change.
        after: code of the reason of each record, ``int16[n]``.
    """

    run: FinishedRun
    records: Records
    asked: tuple[Asked, ...]
    after: np.ndarray

    @property
    def kept(self) -> int:
        """Code of what is kept."""
        return Codes.of(self.records).kept

    @property
    def open(self) -> set[int]:
        """Codes of what is undetermined."""
        return {code for code, reason in enumerate(self.records.reasons) if reason.verdict == UNDETERMINED}


def decide_again(run: FinishedRun, thresholds: Mapping[str, Any]) -> Decided:
    """Decide about all records of a run under other thresholds.

    Raises:
        InputError: for thresholds that the run's rules cannot have.
    """
    stages = remembered_stages(run.run)
    records = Records(run, stages)
    asked = ask(stages, records.schema, thresholds)
    after = records.decided_again(asked)
    if asked and comparison_of(run.run["recipe"]) is not None:
        after = _compared(run, records, after)
    return Decided(run, records, asked, after)


def _compared(run: FinishedRun, records: Records, after: np.ndarray) -> np.ndarray:
    codes = Codes.of(records)
    if records.comparison == HYGIENE:
        balanced = run.run["recipe"]["hygiene"]["length_balance"] is not None
        return settle_entries(records, after, codes, balanced)
    if not ((records.before == codes.kept) & (after != codes.kept)).any():
        return after
    settled, evidence = after.copy(), evidence_of(run, records)
    if evidence is not None:
        settle_duplicates(evidence, records.before, settled, codes)
    else:
        settle_by_ledger(records, settled, priority_of(run.run))
    if (settled == codes.unknown).any():
        compared = compare_again(run, records, after, codes)
        return settled if compared is None else compared
    return settled


def kept_ids(run: FinishedRun, thresholds: Mapping[str, Any]) -> list[str]:
    """Ids of the documents that are kept under other thresholds, in the order of the ledger.

    What is undetermined is not among them.
    """
    decided = decide_again(run, thresholds)
    return ids_with(decided, {decided.kept})


def undetermined_ids(run: FinishedRun, thresholds: Mapping[str, Any]) -> list[str]:
    """Ids of the documents whose fate the run does not tell, in the order of the ledger."""
    decided = decide_again(run, thresholds)
    return ids_with(decided, decided.open)


def ids_with(decided: Decided, codes: set[int]) -> list[str]:
    """Ids of the records whose reason is one of some, in the order of the ledger."""

    def ids(chunk: Chunk) -> pa.ChunkedArray:
        chosen = decided.records.among(decided.after[chunk.span], codes)
        return decided.records.read(chunk, ["id"]).column("id").filter(pa.array(chosen))

    return [id_ for part in decided.records.over_chunks(ids) for id_ in part.to_pylist()]
