"""Pages of a finished run's ledger: documents by what became of them, and counts by group.

Which records are wanted is told by the run's lookup; only measures and what is shown are read from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from pipelines.lookup import FATE, Lookup
from pipelines.registry import suggestion
from pipelines.rows import Place, Stretch
from pipelines.statistics import edges_of

GROUPS = ("language", "domain", "host")
SHOWN = ("id", "shard", "url", "host", "language", "domain", "verdict", "stage", "rule", "value", "threshold", "detail",
         "witness", "witness_dataset", "similarity", "cluster_size")  # fmt: skip
_READ = ("url", "value", "threshold", "detail", "witness", "witness_dataset", "similarity", "cluster_size")


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

    def mask(self, lookup: Lookup) -> np.ndarray:
        """Which records are wanted, the measure aside, ``bool[n]``; they come in the order of the ledger."""
        found = lookup.with_fate(verdict=self.verdict, stage=self.stage, rule=self.rule)
        for name in ("language", "domain", "host", "cluster"):
            word = getattr(self, name)
            if word is not None:
                found &= lookup.equal(name, word) | _nobody(lookup, name, word)
        return found


def _nobody(lookup: Lookup, name: str, word: str) -> np.ndarray | bool:
    """Records without a language, where these are wanted."""
    return lookup.codes(name) < 0 if name == "language" and word == "und" else False


def check_measure(run: FinishedRun, name: str) -> None:
    """Refuse a column that is not there or holds no numbers."""
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    known = [column for column, field in run.columns.items() if any(kind(field.type) for kind in kinds)]
    if name not in known:
        raise InputError(f"there is no measure {name!r}{suggestion(name, known)}")


def _wanted_rows(run: FinishedRun, wanted: Wanted) -> np.ndarray:
    """Rows that are wanted, rising, ``int64[m]``.

    Raises:
        InputError: for a measure that is not there.
    """
    if wanted.measure is None:
        return np.flatnonzero(wanted.mask(run.lookup))
    check_measure(run, wanted.measure)
    low = -np.inf if wanted.low is None else wanted.low
    high = np.inf if wanted.high is None else wanted.high

    def inside(values: np.ndarray) -> np.ndarray:
        return (values >= low) & (values <= high)

    mask = wanted.mask(run.lookup)
    if wanted.measure == "similarity":  # the lookup has it
        return np.flatnonzero(mask & inside(run.lookup.numbers("similarity")))
    found = _measured(run, wanted.measure, mask, inside, (low, high))
    return np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in found)])


def _wanted_mask(run: FinishedRun, wanted: Wanted) -> np.ndarray:
    """Which records are wanted, ``bool[n]``."""
    if wanted.measure is None:
        return wanted.mask(run.lookup)
    mask = np.zeros(run.lookup.count, bool)
    mask[_wanted_rows(run, wanted)] = True
    return mask


def _measured(
    run: FinishedRun, measure: str, mask: np.ndarray, chosen: Callable[[np.ndarray], np.ndarray] | None = None,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Rows and values of a measure, of the records of a mask that have it, a pair for each row group.

    Args:
        chosen: of the values, those that are wanted.
        within: least and greatest value that can be chosen; row groups that say they have none are not read.
    """
    starts, place = run.lookup.starts, list(run.columns).index(measure)

    def skips(file: int, first: int, group: Any) -> bool:
        begin = starts[file] + first
        if not mask[begin : begin + group.num_rows].any():
            return True
        told = group.column(place).statistics
        return told is not None and told.has_min_max and (told.max < within[0] or told.min > within[1])

    def take(stretch: Stretch) -> tuple[np.ndarray, np.ndarray]:
        begin = starts[stretch.file] + stretch.first
        values = numbers(stretch.table.column(measure))
        there = ~np.isnan(values) & mask[begin : begin + len(values)]
        if chosen is not None:
            there &= chosen(values)
        rows = np.flatnonzero(there)
        return rows + begin, values[rows]

    return run.ledger().over([measure], take, skips)


def _shown(run: FinishedRun, rows: Sequence[int], more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What is shown of some records; only what the lookup does not hold is read.

    Args:
        more: other columns.
    """
    lookup = run.lookup
    others = [name for name in more if name not in SHOWN]
    places = [lookup.place(row) for row in rows]
    found = []
    for row, (file, _), read in zip(rows, places, run.ledger().rows(places, [*_READ, *others]), strict=True):
        said: dict[str, Any] = {"id": lookup.id_of(row), "shard": run.ledger_shards[file]["name"]}
        said |= {name: lookup.word(name, row) for name in GROUPS}
        said |= {name: word or None for name, word in zip(FATE, lookup.fate(row), strict=True)}
        whole = said | read
        found.append({name: whole[name] for name in (*SHOWN, *others)})
    return found


def documents(
    run: FinishedRun, wanted: Wanted, after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """Documents in the order of the ledger, and the place of the last one if there are others behind it.

    Raises:
        InputError: for a measure that is not there.
    """
    rows = _wanted_rows(run, wanted)
    begin = 0 if after is None else int(np.searchsorted(rows, run.lookup.row_at(after), "right"))
    shown = rows[begin : begin + limit].tolist()
    last = run.lookup.place(shown[-1]) if shown and begin + limit < len(rows) else None
    return _shown(run, shown, [wanted.measure] if wanted.measure else []), last


def documents_by_id(run: FinishedRun, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Documents in the order asked for; those that are not there are left out."""
    rows = [run.lookup.row(id_) for id_ in ids]
    return _shown(run, [row for row in rows if row is not None])


def neighbours(run: FinishedRun, wanted: Wanted, id_: str) -> tuple[str | None, str | None]:
    """Ids of the documents before and behind one among those that are wanted, in the order of the ledger.

    Raises:
        InputError: for a document or a measure that is not there.
    """
    rows, row = _wanted_rows(run, wanted), run.lookup.row(id_)
    if row is None:
        raise InputError(f"no record has the id {id_!r} in this run")
    before, behind = np.searchsorted(rows, row, "left"), np.searchsorted(rows, row, "right")
    return (
        run.lookup.id_of(rows[before - 1]) if before > 0 else None,
        run.lookup.id_of(rows[behind]) if behind < len(rows) else None,
    )


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
    rule, mask, starts = run.rule(name), _wanted_mask(run, wanted or Wanted()), run.lookup.starts

    def best(stretch: Stretch) -> np.ndarray:
        table, begin = stretch.table, starts[stretch.file] + stretch.first
        values = numbers(table.column(rule.measure))
        limits = rule.limits({name: table.column(name) for name in rule.by}, len(values))
        distance = np.abs(values - limits)
        distance[~mask[begin : begin + len(values)]] = np.nan
        rows = _first(distance, count)
        return np.stack([distance[rows], begin + rows, values[rows], limits[rows]])

    found = run.ledger().over(
        sorted({rule.measure, *rule.by}), best,
        lambda file, first, group: not mask[starts[file] + first : starts[file] + first + group.num_rows].any(),
    )  # fmt: skip
    several = np.concatenate([np.zeros((4, 0)), *found], axis=1)
    near = several[:, _first(several[0], count)].T.tolist()
    shown = _shown(run, [int(row) for _, row, _, _ in near])
    return [
        {**row, "measured": value, "limit": limit, "distance": distance}
        for row, (distance, _, value, limit) in zip(shown, near, strict=True)
    ]


def _first(distance: np.ndarray, count: int) -> np.ndarray:
    """Places of the nearest ``count``, of those that are as near as the last the first in order.

    Args:
        distance: ``float64[n]``, NaN for none.
    """
    last = np.partition(distance, count - 1)[count - 1] if len(distance) > count > 0 else np.inf  # NaN sorts behind all
    there = np.flatnonzero(~np.isnan(distance) if np.isnan(last) else distance <= last)
    return there[np.argsort(distance[there], kind="stable")[:count]]


@lru_cache(maxsize=256)  # a finished run never changes
def breakdown(run: FinishedRun, by: str, limit: int) -> dict[str, Any]:
    """Records of each language, domain or host by what became of them, the largest groups first.

    Returns:
        ``groups``: each with ``name``, ``records``, one count a verdict, and ``reasons`` by ``stage.rule``;
        ``others``: the same sums over the groups that are not shown; ``total``: number of groups.
    """
    lookup = run.lookup
    codes, names = lookup.groups(by, "und" if by == "language" else "")
    fates, kinds = lookup.codes("fate"), len(lookup.fates)
    records = np.bincount(codes, minlength=len(names))
    there = np.flatnonzero(records)
    groups = pa.table({"name": names.take(pa.array(there)), "records": records[there], "code": there})
    order = groups.take(pc.select_k_unstable(groups, limit, [("records", "descending"), ("name", "ascending")]))
    # The groups that are shown are counted by their place, all others as one behind them.
    place = np.full(len(names), order.num_rows)
    place[np.asarray(order.column("code"))] = np.arange(order.num_rows)
    counts = np.bincount(place[codes] * kinds + fates, minlength=(order.num_rows + 1) * kinds)
    counts = counts.reshape(-1, max(1, kinds))
    shown = [
        {"name": name, **_summed(dict(zip(lookup.fates, row, strict=True)))}
        for name, row in zip(order.column("name").to_pylist(), counts[:-1].tolist(), strict=True)
    ]
    others = _summed(dict(zip(lookup.fates, counts[-1].tolist(), strict=True))) if kinds else _summed({})
    return {"groups": shown, "others": others, "total": len(there)}


def _summed(counts: dict[tuple[str, str, str], int]) -> dict[str, Any]:
    reasons = {f"{stage}.{rule}": count for (_, stage, rule), count in sorted(counts.items()) if rule and count}
    verdicts = {name: sum(c for (verdict, _, _), c in counts.items() if verdict == name) for name in VERDICTS}
    return {"records": sum(counts.values()), **verdicts, "reasons": reasons}


def histogram(run: FinishedRun, measure: str, by: str | None = None, group: str | None = None) -> dict[str, Any]:
    """Distribution of a measure over all documents that have it, or over those of one language, domain or host.

    Returns:
        ``edges``: float[b + 1]; ``counts``: int[b + 2], the first below and the last above all edges.

    Raises:
        InputError: for a measure that is not there.
    """
    check_measure(run, measure)
    edges = edges_of(measure)
    counts = np.zeros(len(edges) + 1, np.int64)
    known = run.statistics["measures"].get(measure, {}).get("histogram", {})
    if by in (None, "language", "domain"):
        tally = known.get("all", {}) if by is None else known.get(by, {}).get(group, {})
        for place, count in tally.items():
            counts[int(place)] += count
    else:
        for _, values in _measured(run, measure, Wanted(host=group).mask(run.lookup)):
            counts += np.bincount(np.digitize(values, edges), minlength=len(counts))
    return {"edges": edges.tolist(), "counts": counts.tolist()}
