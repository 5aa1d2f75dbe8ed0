"""Two finished runs side by side: their funnels, and the documents that changed sides."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.funnel import funnel
from pipelines.look import FinishedRun

_FATE = ["verdict", "stage", "rule"]


def compare(first: FinishedRun, second: FinishedRun, samples: int) -> dict[str, Any]:
    """What differs between two runs.

    Args:
        samples: documents shown of each kind of change.

    Returns:
        ``funnel``: a line for each reason of either run; ``changes``: from which fate to which, how many, and the
        first ``samples`` ids of each; ``only_first``, ``only_second``: records that the other has not read.
    """
    changes: Counter[tuple[str, str]] = Counter()
    shown: dict[tuple[str, str], list[str]] = {}
    alone = [0, 0]
    parts = [_parts(run) for run in (first, second)]
    for shard in sorted({*parts[0], *parts[1]}):
        sides = [_fates(run, names.get(shard)) for run, names in zip((first, second), parts, strict=True)]
        _count(sides, changes, shown, alone)
    # An id is random but repeatable, so the smallest are a sample that is the same each time.
    listed = [
        {"was": was, "now": is_, "documents": count, "samples": sorted(shown[was, is_])[:samples]}
        for (was, is_), count in sorted(changes.items(), key=lambda entry: (-entry[1], entry[0]))
    ]
    return {
        "funnel": _funnels(first, second), "changes": listed, "only_first": alone[0], "only_second": alone[1],
        "same": sum(_read(run) for run in (first,)) - alone[0] - sum(changes.values()),
    }  # fmt: skip


def _read(run: FinishedRun) -> int:
    return int(run.statistics["records"]["read"])


def _parts(run: FinishedRun) -> dict[str, str]:
    """File of the ledger by identity of its shard."""
    assert run.manifest is not None
    names = {int(name.split("-")[1]): name for name in run.manifest["files"] if name.startswith("ledger/")}
    return {shard["identity"]: names[n] for n, shard in enumerate(run.run["shards"]) if n in names}


def _fates(run: FinishedRun, name: str | None) -> pa.Table:
    """Ids of a shard, each with its fate in one word."""
    if name is None:
        return pa.table({"id": pa.array([], pa.string()), "fate": pa.array([], pa.string())})
    table = pq.read_table(run.storage.open(name), columns=["id", *_FATE])
    verdict, stage, rule = (table.column(column) for column in _FATE)
    reasons = pc.binary_join_element_wise(pc.binary_join_element_wise(verdict, stage, ": "), rule, ".")
    return pa.table({"id": table.column("id"), "fate": pc.coalesce(reasons, verdict)})


def _count(sides: list[pa.Table], changes: Counter[tuple[str, str]], shown: Any, alone: list[int]) -> None:
    """Add one shard's changes."""
    if sides[0].column("id").equals(sides[1].column("id")):
        ids, was, is_ = sides[0].column("id"), sides[0].column("fate"), sides[1].column("fate")
    else:
        joined = sides[0].join(sides[1].rename_columns(["id", "other"]), "id", join_type="inner").sort_by("id")
        alone[0] += sides[0].num_rows - joined.num_rows
        alone[1] += sides[1].num_rows - joined.num_rows
        ids, was, is_ = joined.column("id"), joined.column("fate"), joined.column("other")
    differ = pc.not_equal(was, is_)
    columns = [column.filter(differ).to_pylist() for column in (ids, was, is_)]
    for id_, before, after in zip(*columns, strict=True):
        changes[before, after] += 1
        shown.setdefault((before, after), []).append(id_)


def _funnels(first: FinishedRun, second: FinishedRun) -> list[dict[str, Any]]:
    """Lines of both funnels, those of the first in order, then what only the second has."""
    sides = [{(r.stage, r.reason, r.verdict): r for r in funnel(run.statistics)} for run in (first, second)]
    lines = []
    for key in [*sides[0], *(key for key in sides[1] if key not in sides[0])]:
        counts = [(row.documents, row.tokens) if (row := side.get(key)) else (0, 0) for side in sides]
        lines.append(
            {
                "stage": key[0], "reason": key[1], "verdict": key[2],
                "first": {"documents": counts[0][0], "tokens": counts[0][1]},
                "second": {"documents": counts[1][0], "tokens": counts[1][1]},
                "documents": counts[1][0] - counts[0][0], "tokens": counts[1][1] - counts[0][1],
            }
        )  # fmt: skip
    kept = [line for line in lines if line["verdict"] == "kept"]
    return [line for line in lines if line["verdict"] != "kept"] + kept
