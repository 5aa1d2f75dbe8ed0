"""Shingle sets and signatures of the documents that somebody wants to compare, computed where their texts lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from curation.duplicates.shingles import ShingleSets, shingle_sets
from curation.duplicates.signature import signatures
from pipelines.deduplication.copies import copies_of
from pipelines.deduplication.records import Step, corrupt, forget, records
from pipelines.deduplication.work import Work

# ``stored`` is ``size``, or 0 where only the size is asked for.  ``check`` is of the values, ``minima_check`` of
# the signature: both are read here and there, so each document has its own.
DOCUMENT = np.dtype([("number", "<u4"), ("size", "<u4"), ("stored", "<u4"), ("check", "<u8"), ("minima_check", "<u8")])
VALUE = np.dtype("<u8")


def run_sets(work: Work, holder: int) -> None:
    """Sets of a holder's documents that are in a candidate pair or a large bucket; sizes of those with copies."""
    compared = _compared(work, holder)
    counted = _with_copies(work, holder)
    rows, places = np.unique(np.concatenate([compared["row"], counted["row"]]), return_index=True)
    number = np.concatenate([compared["number"], counted["number"]])[places]
    stored = np.isin(rows, compared["row"])
    documents: list[np.ndarray] = [np.empty(0, DOCUMENT)]
    minima: list[np.ndarray] = []

    def values() -> Iterator[np.ndarray]:
        for inside, text in _texts(work, holder, rows):
            place = np.searchsorted(rows, inside)
            sets = shingle_sets(text, work.parameters.definition)
            kept = sets.take(np.flatnonzero(stored[place]))
            minima.append(_signatures(work, text.take(pa.array(np.flatnonzero(stored[place])))))
            check = np.zeros(len(inside), np.uint64)
            minima_check = np.zeros(len(inside), np.uint64)
            check[stored[place]] = checks(kept.offsets, kept.values)
            minima_check[stored[place]] = row_checks(minima[-1])
            documents.append(
                records(
                    DOCUMENT, number=number[place], size=sets.sizes, stored=np.where(stored[place], sets.sizes, 0),
                    check=check, minima_check=minima_check,
                )
            )  # fmt: skip
            yield kept.values

    writer = work.writer("sets", holder)
    writer.write("values", VALUE, values())
    writer.write("documents", DOCUMENT, [np.concatenate(documents)])
    writer.write("minima", np.dtype(_word(work)), (part.reshape(-1) for part in minima))
    writer.commit()


def _compared(work: Work, holder: int) -> np.ndarray:
    steps = [work.step("merge", block) for block in range(work.sizes.blocks)] + [work.step("families", 0)]
    compared: np.ndarray = np.concatenate([step.read("needed", holder) for step in steps])
    return compared


def _with_copies(work: Work, holder: int) -> np.ndarray:
    """Representatives of copies that lie here."""
    copies: np.ndarray = copies_of(work, min(holder, work.shards))
    copies = copies[copies["number"] == copies["representative"]]
    if holder < work.shards:
        return copies
    first, end = work.earlier.part_firsts[holder - work.shards : holder - work.shards + 2]
    copies = copies[(copies["number"] >= first) & (copies["number"] < end)]
    copies["row"] = copies["number"] - first
    return copies


def _texts(work: Work, holder: int, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Rows and texts, rising."""
    if holder >= work.shards:
        yield from work.earlier.texts(holder - work.shards, rows)
        return
    first = 0
    for table in work.documents(holder, ["text"]) if len(rows) else ():
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(table))]
        if len(inside):
            yield inside, work.compared(table.take(pa.array(inside - first)))
        first += len(table)


def _signatures(work: Work, text: pa.Array) -> np.ndarray:
    given = work.parameters
    return signatures(text, given.definition, given.scheme, work.bands.permutations, given.seed).minima


def _word(work: Work) -> str:
    return "<u4" if work.parameters.scheme == "affine32" else "<u8"


_MIX = np.uint64(0x9E3779B97F4A7C15)


def checks(offsets: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A checksum of each set: any single changed value changes it.  ``uint64[n]``."""
    if offsets.size == 1:
        return np.empty(0, np.uint64)
    mixed = (values ^ values >> np.uint64(29)) * _MIX
    result: np.ndarray = np.add.reduceat(mixed, offsets[:-1])
    return result


def row_checks(minima: np.ndarray) -> np.ndarray:
    """A checksum of each signature, ``uint64[n]``; the place of a value counts."""
    weights = 2 * np.arange(minima.shape[1], dtype=np.uint64) + np.uint64(1)
    result: np.ndarray = (minima.astype(np.uint64) * _MIX * weights).sum(axis=1, dtype=np.uint64)
    return result


@dataclass
class _Holder:
    step: Step
    documents: np.ndarray
    offsets: np.ndarray
    place: np.ndarray  # of each wanted document, in the holder's files
    wanted: np.ndarray  # which of the wanted documents lie here

    @cached_property
    def minima(self) -> np.ndarray:
        return self.step.mapped("minima")

    @cached_property
    def values(self) -> np.ndarray:
        return self.step.mapped("values")


@dataclass
class Sketches:
    """Sets and signatures of some documents, read from wherever they lie, a few at a time.

    Args:
        work: the deduplication.
        numbers: of the documents, rising.
        needed: the step whose ``needed`` says where they lie.
    """

    work: Work
    numbers: np.ndarray
    needed: Step
    _holders: list[_Holder] = field(default_factory=list)
    sizes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = np.zeros(len(self.numbers), np.int64)
        for holder in range(self.work.holders):
            own = np.sort(self.needed.read("needed", holder)["number"])
            own = own[np.isin(own, self.numbers)]
            if len(own):
                self._add(self.work.step("sets", holder), own)

    def _add(self, step: Step, own: np.ndarray) -> None:
        documents = step.read("documents", 0)
        order = np.argsort(documents["number"], kind="stable")
        place = order[np.searchsorted(documents["number"][order], own)]
        offsets = np.concatenate([[0], np.cumsum(documents["stored"])]).astype(np.int64)
        wanted = np.searchsorted(self.numbers, own)
        self._holders.append(_Holder(step, documents, offsets, place, wanted))
        self.sizes[wanted] = documents["size"][place]

    def minima(self) -> np.ndarray:
        """Signatures of all, ``[n, permutations]``."""
        permutations = self.work.bands.permutations
        result = np.zeros((len(self.numbers), permutations), _word(self.work))
        for holder in self._holders:
            stored = np.cumsum(holder.documents["stored"] > 0) - 1
            rows = holder.minima.reshape(-1, permutations)[stored[holder.place]]
            if not np.array_equal(row_checks(rows), holder.documents["minima_check"][holder.place]):
                raise corrupt(self.work.storage, holder.step.folder, "minima", "a signature")
            result[holder.wanted] = rows
            forget(holder.minima)
        return result

    def sets(self, rows: np.ndarray) -> ShingleSets:
        """Sets of some of them, in the order of ``rows`` (places in ``numbers``, rising)."""
        parts, places = [], []
        for holder in self._holders:
            chosen = np.isin(holder.wanted, rows)
            if not chosen.any():
                continue
            whole = ShingleSets(holder.offsets, holder.values)
            found = whole.take(holder.place[chosen])
            if not np.array_equal(checks(found.offsets, found.values), holder.documents["check"][holder.place[chosen]]):
                raise corrupt(self.work.storage, holder.step.folder, "values", "a set of shingles")
            forget(holder.values)
            parts.append(found)
            places.append(holder.wanted[chosen])
        if not parts:
            return ShingleSets(np.zeros(1, np.int64), np.empty(0, np.uint64))
        return ShingleSets.concatenate(parts).take(np.argsort(np.concatenate(places), kind="stable"))


def blocks_of(sizes: np.ndarray, most: int) -> Iterable[slice]:
    """Cut a row of sizes into stretches whose sums are at most ``most``, or of one."""
    first, total = 0, 0
    for place, size in enumerate(sizes.tolist()):
        if total + size > most and place > first:
            yield slice(first, place)
            first, total = place, 0
        total += size
    if first < len(sizes):
        yield slice(first, len(sizes))
