"""Pages of a finished run's ledger: documents by what became of them, and counts by group.

Everything goes through the ledger in its own order, a stretch at a time, and reads texts only of what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import InputError
from pipelines.columns import numbers
from pipelines.ledger import VERDICTS
from pipelines.look import FinishedRun
from pipelines.registry import suggestion
from pipelines.rows import Place, Rows
from pipelines.statistics import edges_of

GROUPS = ("language", "domain", "host")
SHOWN = ("id", "shard", "url", "host", "language", "domain", "verdict", "stage", "rule", "value", "threshold", "detail",
         "witness", "witness_dataset", "similarity", "cluster_size")  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which documents; None where it does not matter.

    Attributes:
        verdict, stage, rule, language, domain, host, cluster: equal to these; ``und`` is no language.
        measure: whose value lies in ``low`` to ``high``, both inclusive.
    """

    verdict: str | None = None
    stage: str | None = None
    rule: str | None = None
    language: str | None = None
    domain: str | None = None
    host: str | None = None
    measure: str | None = None
    low: float | None = None
    high: float | None = None
    cluster: str | None = None

    def columns(self) -> list[str]:
        """What has to be read to tell."""
        named = ("verdict", "stage", "rule", "language", "domain", "host", "cluster")
        return [name for name in named if getattr(self, name) is not None] + ([self.measure] if self.measure else [])

    def mask(self, table: pa.Table) -> np.ndarray:
        """Which rows of a table are wanted, ``bool[n]``."""
        found = np.ones(table.num_rows, bool)
        for name in self.columns():
            if name == self.measure:
                values = numbers(table.column(name))
                found &= ~np.isnan(values)
                found &= True if self.low is None else values >= self.low
                found &= True if self.high is None else values <= self.high
            else:
                found &= _equals(table.column(name), getattr(self, name), name)
        return found


def _equals(column: pa.ChunkedArray, wanted: str, name: str) -> np.ndarray:
    plain = column.cast(pa.string()) if not pa.types.is_dictionary(column.type) else column
    same = pc.fill_null(pc.equal(plain, wanted), name == "language" and wanted == "und")
    return np.asarray(same.to_numpy(zero_copy_only=False), bool)


def check_measure(ledger: Rows, name: str) -> None:
    """Refuse a column that is not there or holds no numbers."""
    known = ledger.measures()
    if name not in known:
        raise InputError(f"there is no measure {name!r}{suggestion(name, known)}")


def documents(
    run: FinishedRun, wanted: Wanted, after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """Documents in the order of the ledger, and the place of the last one if there are others behind it.

    Raises:
        InputError: for a measure that is not there.
    """
    ledger = run.ledger()
    if wanted.measure:
        check_measure(ledger, wanted.measure)
    places: list[Place] = []
    for stretch in ledger.stretches(wanted.columns() or ["verdict"], after):
        rows = np.flatnonzero(wanted.mask(stretch.table)) + stretch.first
        if after is not None and stretch.file == after[0]:
            rows = rows[rows > after[1]]
        places += [(stretch.file, int(row)) for row in rows[: limit + 1 - len(places)]]
        if len(places) > limit:
            break
    shown = places[:limit]
    columns = [*SHOWN, *([wanted.measure] if wanted.measure and wanted.measure not in SHOWN else [])]
    return ledger.rows(shown, columns), shown[-1] if len(places) > limit else None


def neighbours(run: FinishedRun, wanted: Wanted, id_: str) -> tuple[str | None, str | None]:
    """Ids of the documents before and behind one among those that are wanted, in the order of the ledger.

    Raises:
        InputError: for a document or a measure that is not there.
    """
    ledger = run.ledger()
    if wanted.measure:
        check_measure(ledger, wanted.measure)
    place = ledger.place(id_)
    if place is None:
        raise InputError(f"no record has the id {id_!r} in this run")
    before = _last_before(ledger, wanted, place)
    rows, _ = documents(run, wanted, place, 1)
    previous = None if before is None else str(ledger.rows([before], ["id"])[0]["id"])
    return previous, rows[0]["id"] if rows else None


def _last_before(ledger: Rows, wanted: Wanted, place: Place) -> Place | None:
    for stretch in ledger.stretches_back(wanted.columns() or ["verdict"], place):
        rows = np.flatnonzero(wanted.mask(stretch.table)) + stretch.first
        if stretch.file == place[0]:
            rows = rows[rows < place[1]]
        if rows.size:
            return stretch.file, int(rows[-1])
    return None


def nearest(run: FinishedRun, name: str, count: int, wanted: Wanted | None = None) -> list[dict[str, Any]]:
    """Documents whose value lies nearest to a rule's threshold, on both sides, nearest first.

    Args:
        name: ``stage.rule`` or the rule alone.
        wanted: only among these.

    Returns:
        Rows with ``measured``, ``limit`` (the threshold that held for the document) and ``distance``.

    Raises:
        InputError: for a rule that is not there.
    """
    rule, ledger = run.rule(name), run.ledger()
    filters = wanted or Wanted()
    best: list[tuple[float, Place, float, float]] = []
    columns = sorted({rule.measure, *rule.by, *filters.columns()})
    for stretch in ledger.stretches(columns):
        table = stretch.table
        values = numbers(table.column(rule.measure))
        limits = rule.limits({name: table.column(name) for name in rule.by}, len(values))
        distance = np.abs(values - limits)
        chosen = filters.columns()
        if chosen:
            distance[~filters.mask(table.select(chosen))] = np.nan
        there = np.flatnonzero(~np.isnan(distance))
        if len(there) > count:  # of those that are as near as the last, the first in order
            last = np.partition(distance[there], count - 1)[count - 1]
            there = np.concatenate([there[distance[there] < last], there[distance[there] == last][:count]])
        best += [
            (float(distance[r]), (stretch.file, stretch.first + int(r)), float(values[r]), float(limits[r]))
            for r in there
        ]
        best = sorted(best)[:count]
    rows = ledger.rows([place for _, place, _, _ in best], SHOWN)
    return [
        {**row, "measured": value, "limit": limit, "distance": distance}
        for row, (distance, _, value, limit) in zip(rows, best, strict=True)
    ]


@lru_cache(maxsize=256)  # a finished run never changes
def breakdown(run: FinishedRun, by: str, limit: int) -> dict[str, Any]:
    """Records of each language, domain or host by what became of them, the largest groups first.

    Returns:
        ``groups``: each with ``name``, ``records``, one count a verdict, and ``reasons`` by ``stage.rule``;
        ``others``: the same sums over the groups that are not shown; ``total``: number of groups.
    """
    keys = [by, "verdict", "stage", "rule"]
    nobody = "und" if by == "language" else ""
    parts = []
    for stretch in run.ledger().stretches(keys):
        texts = [
            pc.fill_null(stretch.table.column(name).cast(pa.string()), nobody if name == by else "") for name in keys
        ]
        parts.append(_counted(pa.table(dict(zip(keys, texts, strict=True))), keys))
    if not parts:
        return {"groups": [], "others": _summed({}), "total": 0}
    whole = _added(pa.concat_tables(parts), keys)
    order = _added(whole, [by]).sort_by([("records", "descending"), (by, "ascending")])
    names = order.column(by).slice(0, limit)
    chosen = pc.is_in(whole.column(by), value_set=names.combine_chunks())
    counts: dict[str, dict[tuple[str, str, str], int]] = {name: {} for name in names.to_pylist()}
    for row in whole.filter(chosen).to_pylist():
        counts[row[by]][row["verdict"], row["stage"], row["rule"]] = row["records"]
    rest = _added(whole.filter(pc.invert(chosen)), keys[1:]).to_pylist()
    others = {(row["verdict"], row["stage"], row["rule"]): row["records"] for row in rest}
    shown = [{"name": name, **_summed(found)} for name, found in counts.items()]
    return {"groups": shown, "others": _summed(others), "total": order.num_rows}


def _counted(table: pa.Table, keys: list[str]) -> pa.Table:
    """Rows by what they have in common, with how many there are."""
    return table.group_by(keys).aggregate([([], "count_all")]).rename_columns([*keys, "records"])


def _added(table: pa.Table, keys: list[str]) -> pa.Table:
    """The same of counts."""
    return table.group_by(keys).aggregate([("records", "sum")]).rename_columns([*keys, "records"])


def _summed(counts: dict[tuple[str, str, str], int]) -> dict[str, Any]:
    reasons = {f"{stage}.{rule}": count for (_, stage, rule), count in sorted(counts.items()) if rule}
    verdicts = {name: sum(c for (verdict, _, _), c in counts.items() if verdict == name) for name in VERDICTS}
    return {"records": sum(counts.values()), **verdicts, "reasons": reasons}


def histogram(run: FinishedRun, measure: str, by: str | None = None, group: str | None = None) -> dict[str, Any]:
    """Distribution of a measure over all documents that have it, or over those of one language, domain or host.

    Returns:
        ``edges``: float[b + 1]; ``counts``: int[b + 2], the first below and the last above all edges.

    Raises:
        InputError: for a measure that is not there.
    """
    check_measure(run.ledger(), measure)
    edges = edges_of(measure)
    counts = np.zeros(len(edges) + 1, np.int64)
    known = run.statistics["measures"].get(measure, {}).get("histogram", {})
    if by in (None, "language", "domain"):
        tally = known.get("all", {}) if by is None else known.get(by, {}).get(group, {})
        for place, count in tally.items():
            counts[int(place)] += count
    else:
        wanted = Wanted(host=group)
        for stretch in run.ledger().stretches([measure, "host"]):
            values = numbers(stretch.table.column(measure))[wanted.mask(stretch.table.select(["host"]))]
            counts += np.bincount(np.digitize(values[~np.isnan(values)], edges), minlength=len(counts))
    return {"edges": edges.tolist(), "counts": counts.tolist()}
