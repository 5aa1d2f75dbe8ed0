"""The ledger as arrays, and every decision taken again under other thresholds.

A record that an unchanged rule took away stays away by it, and a stage without a changed rule need not be looked at.
So only the measures of changed rules are read, and those of their neighbours only for documents that a changed rule
of the same stage had taken and now lets pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.batch import encoded
from curation.stage import Rule
from pipelines.columns import numbers
from pipelines.hygiene.decisions import DROPPING
from pipelines.hygiene.decisions import STAGE as HYGIENE
from pipelines.kinds import comparison_section
from pipelines.ledger import DROPPED, DUPLICATE, KEPT, QUARANTINED
from pipelines.look import FinishedRun
from pipelines.remembered import Remembered
from pipelines.rows import part_number
from pipelines.what_if.question import Asked

T = TypeVar("T")
UNDETERMINED = "undetermined"
CHUNK_ROWS = 1 << 19  # rows of a stretch that is read at once: some ten megabytes a column
_DICTIONARIES = ["verdict", "stage", "rule", "language", "domain"]
_NONE = np.iinfo(np.int16).max


@dataclass(frozen=True)
class Reason:
    """What became of a record.

    Attributes:
        verdict: one of the ledger's, or ``undetermined``.
        stage, rule: who decided; for ``undetermined`` the stage that would have to measure it, and no rule.
        ended: place of the last stage that measured it; the number of stages where it passed them all.
        place: of the rule in its stage, -1 for other reasons.
    """

    verdict: str
    stage: str
    rule: str
    ended: int
    place: int = -1


@dataclass(frozen=True)
class Chunk:
    """A stretch of one part of the ledger.

    Attributes:
        part: of the ledger: number of the shard in the plan.
        groups: row groups of the file.
        first, rows: which rows, counted through the whole ledger.
    """

    part: int
    groups: range
    first: int
    rows: int

    @property
    def span(self) -> slice:
        """Its rows in arrays over the whole ledger."""
        return slice(self.first, self.first + self.rows)


class Records:
    """All records of a finished run, in the order of shards and of records in them.

    Holds two bytes a record once it was asked for verdicts; columns are read when they are needed.
    """

    def __init__(self, run: FinishedRun, stages: Sequence[Remembered]) -> None:
        assert run.manifest is not None
        self.run, self.stages = run, tuple(stages)
        names = [name for name in run.manifest["files"] if name.startswith("ledger/")]
        self._files = {part_number(name): name for name in names}
        self._metadata = {part: self._open(part).metadata for part in sorted(self._files)}
        self.schema: pa.Schema = self._open(min(self._files)).schema_arrow
        self.chunks = tuple(self._cut())
        self.count = sum(chunk.rows for chunk in self.chunks)
        self._lock = Lock()
        self.reasons = self._known_reasons()
        self._codes = {self._key(reason): code for code, reason in enumerate(self.reasons)}

    def _open(self, part: int, metadata: Any = None) -> pq.ParquetFile:
        source = self.run.storage.open(self._files[part])
        return pq.ParquetFile(source, metadata=metadata, read_dictionary=_DICTIONARIES)

    def _cut(self) -> Iterator[Chunk]:
        first = 0
        for part, metadata in self._metadata.items():
            group = 0
            while group < metadata.num_row_groups:
                start, rows = group, 0
                while group < metadata.num_row_groups and (rows == 0 or rows < CHUNK_ROWS):
                    rows += metadata.row_group(group).num_rows
                    group += 1
                yield Chunk(part, range(start, group), first, rows)
                first += rows

    def read(self, chunk: Chunk, columns: Sequence[str]) -> pa.Table:
        """Columns of a stretch; verdict, stage, rule and language as dictionaries."""
        with self._open(chunk.part, self._metadata[chunk.part]) as file:
            return file.read_row_groups(list(chunk.groups), columns=list(columns), use_threads=False)

    def over_chunks(self, task: Callable[[Chunk], T]) -> list[T]:
        """The task for every stretch, a few at a time, in order; Arrow and NumPy release the interpreter's lock."""
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            return list(pool.map(task, self.chunks))

    def rows(self, wanted: np.ndarray, columns: Sequence[str]) -> pa.Table:
        """Columns of some rows; only the row groups that hold them are read.

        Args:
            wanted: ``int64[m]``, rising.
        """
        empty = pa.schema([self.schema.field(name).remove_metadata() for name in columns]).empty_table()

        def take(group: Chunk) -> pa.Table:
            some = wanted[slice(*np.searchsorted(wanted, [group.first, group.first + group.rows]))]
            return self._plain(self.read(group, columns).take(pa.array(some - group.first))) if len(some) else empty

        return pa.concat_tables([empty, *map(take, self._groups())]).combine_chunks()

    def _groups(self) -> Iterator[Chunk]:
        """Every row group as a stretch."""
        for chunk in self.chunks:
            first = chunk.first
            for group in chunk.groups:
                rows = self._metadata[chunk.part].row_group(group).num_rows
                yield Chunk(chunk.part, range(group, group + 1), first, rows)
                first += rows

    def _plain(self, table: pa.Table) -> pa.Table:
        return table.cast(pa.schema([self.schema.field(name).remove_metadata() for name in table.column_names]))

    def part_spans(self) -> dict[int, slice]:
        """Rows of each part, counted through the whole ledger; parts that are empty have an empty span."""
        spans, first = {}, 0
        for part, metadata in self._metadata.items():
            spans[part] = slice(first, first + metadata.num_rows)
            first += metadata.num_rows
        return spans

    # Reasons

    def _known_reasons(self) -> list[Reason]:
        last = len(self.stages)
        reasons = [Reason(KEPT, "", "", last)]
        for number, stage in enumerate(self.stages):
            reasons += [Reason(DROPPED, stage.name, r.name, number, place) for place, r in enumerate(stage.rules)]
        for number, stage in enumerate(self.stages[1:]):
            reasons.append(Reason(UNDETERMINED, stage.name, "", number))
        reasons += [Reason(DUPLICATE, self.comparison, kind, last) for kind in ("exact", "near")]
        if self.comparison == HYGIENE:
            reasons += [Reason(DROPPED, HYGIENE, rule, last) for rule in DROPPING]
        return [*reasons, Reason(UNDETERMINED, self.comparison, "", last)]

    @property
    def comparison(self) -> str:
        """What compared the documents that all stages left: ``deduplication`` or ``hygiene``."""
        return comparison_section(self.run.run["recipe"])

    @staticmethod
    def _key(reason: Reason) -> tuple[str, str, str]:
        return reason.verdict, reason.stage, reason.rule

    def code_of(self, verdict: str, stage: str = "", rule: str = "") -> int:
        """Code of a reason; error classes get theirs when they are first met."""
        key = verdict, stage, rule
        with self._lock:
            if key not in self._codes:
                names = [remembered.name for remembered in self.stages]
                assert verdict == QUARANTINED, "all other reasons follow from the recipe"
                self._codes[key] = len(self.reasons)
                self.reasons.append(Reason(QUARANTINED, stage, rule, names.index(stage)))
            return self._codes[key]

    def of_reasons(self, value: Callable[[Reason], int], codes: np.ndarray) -> np.ndarray:
        """A number of the reason of each record, ``int16[n]``."""
        values = np.array([value(reason) for reason in self.reasons], np.int16)
        return np.asarray(values[codes])

    @staticmethod
    def among(codes: np.ndarray, wanted: Iterable[int]) -> np.ndarray:
        """Which records have one of some reasons, ``bool[n]``."""
        table = np.zeros(np.iinfo(np.int16).max, bool)
        table[list(wanted)] = True
        return np.asarray(table[codes])

    @cached_property
    def before(self) -> np.ndarray:
        """Code of the reason that the run had for each record, ``int16[n]``."""
        codes = np.empty(self.count, np.int16)

        def fill(chunk: Chunk) -> None:
            codes[chunk.span] = self._stored(chunk)

        self.over_chunks(fill)
        return codes

    def _stored(self, chunk: Chunk) -> np.ndarray:
        table = self.read(chunk, ["verdict", "stage", "rule"])
        codes = np.empty(chunk.rows, np.int16)
        first = 0
        for batch in table.to_batches():  # a row group each, with dictionaries of its own
            whole, words = np.zeros(batch.num_rows, np.int32), []
            for column in batch.columns:
                indices, values = encoded(column)
                whole = whole * len(values) + indices
                words.append(values)
            code_of = np.zeros(len(words[0]) * len(words[1]) * len(words[2]), np.int16)
            for met in np.flatnonzero(np.bincount(whole)).tolist():
                verdict, stage, rule = np.unravel_index(met, [len(values) for values in words])
                code_of[met] = self.code_of(words[0][verdict], words[1][stage], words[2][rule])
            codes[first : first + batch.num_rows] = code_of[whole]
            first += batch.num_rows
        return codes

    # Deciding again

    def decided_again(self, asked: Sequence[Asked]) -> np.ndarray:
        """Code of the reason for each record under other thresholds, duplicates aside, ``int16[n]``.

        A record that passes the stage that ended it becomes undetermined at the next: nothing more was measured.
        """
        after = self.before.copy()
        if asked:
            self.over_chunks(lambda chunk: self._decide(chunk, asked, after[chunk.span]))
        return after

    def _decide(self, chunk: Chunk, asked: Sequence[Asked], after: np.ndarray) -> None:
        before = self.before[chunk.span]
        rules = [stage.rules[place] for stage in asked for place in stage.changed]
        told = {name for rule in rules if rule.differs_by_language for name in rule.by}
        table = self.read(chunk, sorted({rule.measure for rule in rules} | told))
        ended = self.of_reasons(lambda reason: reason.ended, before)
        dropped_at = self.of_reasons(lambda reason: reason.place, before)
        for stage in asked:
            first = np.full(chunk.rows, _NONE, np.int16)
            for place in reversed(stage.changed):  # so that the first failing rule is written last
                first[_failures(table, stage.rules[place])] = place
            base = self.code_of(DROPPED, self.stages[stage.number].name, stage.rules[0].name)
            standing = after == before
            passed = standing & (ended > stage.number) & (first < _NONE)
            here = standing & (ended == stage.number) & (dropped_at >= 0)
            changed = (dropped_at >= 0) & self.among(dropped_at, stage.changed)
            stays = here & (~changed | (first <= dropped_at))
            after[passed] = base + first[passed]
            after[stays] = base + np.where(changed, first, np.minimum(first, dropped_at))[stays]
            freed = np.flatnonzero(here & ~stays)
            if len(freed):
                after[freed] = self._freed(chunk, stage, freed, first[freed], base)

    def _freed(self, chunk: Chunk, stage: Asked, rows: np.ndarray, first: np.ndarray, base: int) -> np.ndarray:
        """Reasons of documents that the rule which took them lets pass: another rule of the stage, or none.

        The ledger names all rules of the deciding stage that failed, so that no measure has to be read.
        """
        name = self.stages[stage.number].name
        lists = self.read(chunk, ["failing_rules"]).column(0).take(pa.array(rows)).combine_chunks()
        indices, names = encoded(lists.flatten())
        places = {f"{name}.{rule.name}": p for p, rule in enumerate(stage.rules) if p not in stage.changed}
        failing = np.array([places.get(name, _NONE) for name in names], np.int16)[indices]
        first = first.copy()
        np.minimum.at(first, np.asarray(pc.list_parent_indices(lists)), failing)
        following = self.stages[stage.number + 1].name
        return np.where(first < _NONE, base + first, self.code_of(UNDETERMINED, following))


def _failures(table: pa.Table, rule: Rule) -> np.ndarray:
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return rule.failures(numbers(columns[rule.measure]), rule.limits(columns, table.num_rows))
