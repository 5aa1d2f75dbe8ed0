"""What a run found to be repeated: how alike, in which families, and what repeats what.

A family is what the ledger calls a cluster: documents that are connected by verified pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.kinds import comparison_of, comparison_section
from pipelines.ledger import DUPLICATE, KEPT
from pipelines.look import FinishedRun
from pipelines.lookup import Lookup

KINDS = ("exact", "near")
STANDINGS = ("uncompared", *KINDS, "kept")  # what a record is to a comparison, by code
EDGES = np.arange(102) / 100  # of similarities; 1 has a bin of its own
GROUPS = ("language", "domain", "host")
FORM = 1  # of the answer; another one must not be taken for it


LISTED = 12  # of each list, where nobody says otherwise


@lru_cache(maxsize=64)  # a finished run never changes
def duplicates(run: FinishedRun, limit: int = LISTED) -> dict[str, Any] | None:
    """Everything about the duplicates of a run; None where nothing was compared.

    Args:
        limit: of each list that has an end only with the run: groups, families, pairs, examples.

    Returns:
        ``stage``, ``threshold``; ``documents_in``, ``kept``, ``exact``, ``near``: amounts; ``similarities``: counts of
        each kind in the bins of ``EDGES``; ``groups``: by language, domain and host; ``families``: by size; ``largest``
        families; ``points``: what duplicates repeat; ``closest``: near-duplicates of the lowest similarity.
    """
    comparison = comparison_of(run.run["recipe"])
    if comparison is None:
        return None
    return run.remembered(f"duplicates-{FORM}-{limit}", lambda: _counted(run, comparison, limit))


def _counted(run: FinishedRun, comparison: Mapping[str, Any], limit: int) -> dict[str, Any]:
    lookup, counts = run.lookup, run.statistics["deduplication"]
    standing = _standing(lookup)
    tokens = lookup.numbers("tokens").astype(np.float64)  # sums of them are exact: they are far below 2**53
    return {
        "stage": comparison_section(run.run["recipe"]), "threshold": float(comparison["threshold"]),
        "documents_in": counts["in"], "kept": counts["kept"], "exact": counts["exact"], "near": counts["near"],
        "similarities": {"edges": EDGES.tolist(), **{kind: _binned(lookup, standing, kind) for kind in KINDS}},
        "groups": {by: _groups(lookup, by, standing, tokens, limit) for by in GROUPS},
        "families": _families(lookup), "largest": _largest(lookup, standing, limit),
        "points": _points(run, standing, limit), "closest": _closest(lookup, standing, limit),
    }  # fmt: skip


def _standing(lookup: Lookup) -> np.ndarray:
    """Code of what each record is to the comparison, ``int8[n]``."""
    codes = {(KEPT, ""): "kept", **{(DUPLICATE, kind): kind for kind in KINDS}}
    of_fate = [STANDINGS.index(codes.get((verdict, rule), "uncompared")) for verdict, _, rule in lookup.fates]
    return np.asarray(np.array([*of_fate, 0], np.int8)[lookup.codes("fate")])


def _rows(standing: np.ndarray, *kinds: str) -> np.ndarray:
    """Rows of some kinds, rising."""
    chosen = np.zeros(len(STANDINGS), bool)
    chosen[[STANDINGS.index(kind) for kind in kinds]] = True
    return np.flatnonzero(chosen[standing])


def _binned(lookup: Lookup, standing: np.ndarray, kind: str) -> list[int]:
    """Counts in the bins: one more than edges, the first below and the last above all."""
    found = np.digitize(lookup.numbers("similarity")[_rows(standing, kind)], EDGES)
    return [int(count) for count in np.bincount(found, minlength=len(EDGES) + 1)]


def _groups(
    lookup: Lookup, by: str, standing: np.ndarray, of_each: np.ndarray, limit: int
) -> list[dict[str, Any]]:  # fmt: skip
    """Documents and tokens of each kind and of what was kept, the groups that lost most first."""
    codes, names = lookup.groups(by, "und" if by == "language" else "")
    both, shape = codes * len(STANDINGS) + standing, (len(names), len(STANDINGS))
    documents = np.bincount(both, minlength=shape[0] * shape[1]).reshape(shape)
    tokens = np.bincount(both, of_each, shape[0] * shape[1]).astype(np.int64).reshape(shape)
    lost = documents[:, [STANDINGS.index(kind) for kind in KINDS]].sum(1)
    return [
        {
            "name": names[code].as_py(),
            **{kind: {"documents": int(documents[code, at]), "tokens": int(tokens[code, at])}
               for at, kind in enumerate(STANDINGS) if at},
        }
        for code in _most(lost, names, limit)
    ]  # fmt: skip


def _most(counts: np.ndarray, names: pa.Array, limit: int) -> list[int]:
    """Codes with the greatest counts above 0, of equal ones the first by name."""
    there = np.flatnonzero(counts)
    table = pa.table({"count": counts[there], "name": names.take(pa.array(there)), "code": there})
    order = pc.select_k_unstable(table, limit, [("count", "descending"), ("name", "ascending")])
    found: list[int] = table.column("code").take(order).to_pylist()
    return found


def _families(lookup: Lookup) -> list[dict[str, int]]:
    """Families by the documents of this run in them: 2, 3 to 4, 5 to 8, and so on by doubling."""
    codes = lookup.codes("cluster")
    sizes = np.bincount(codes[codes >= 0])
    sizes = sizes[sizes > 0]
    steps = np.ceil(np.log2(sizes)).astype(np.int64)
    return [
        {
            "least": 2 ** (step - 1) + 1 if step else 1, "most": 2**step,
            "families": int((steps == step).sum()), "documents": int(sizes[steps == step].sum()),
        }
        for step in np.unique(steps).tolist()
    ]  # fmt: skip


def _largest(lookup: Lookup, standing: np.ndarray, limit: int) -> list[dict[str, Any]]:
    """The largest families, each with the first document of it that is kept."""
    codes, names = lookup.codes("cluster"), lookup.words("cluster")
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    order = _most(counts, names, limit)
    chosen = np.zeros(len(names) + 1, bool)  # the last one is for those that are in none
    chosen[order] = True
    rows = np.flatnonzero(chosen[codes])
    hosts = lookup.codes("host")
    found = []
    for code in order:
        own = rows[codes[rows] == code]
        amounts = dict(zip(STANDINGS, np.bincount(standing[own], minlength=len(STANDINGS)).tolist(), strict=True))
        stays = own[standing[own] == STANDINGS.index("kept")]
        found.append(
            {
                "cluster": names[code].as_py(), "documents": len(own),
                **{kind: amounts[kind] for kind in STANDINGS[1:]},
                "hosts": len(np.unique(hosts[own][hosts[own] >= 0])),
                "kept_id": lookup.id_of(int(stays[0])) if len(stays) else None,
            }
        )  # fmt: skip
    return found


def _points(run: FinishedRun, standing: np.ndarray, limit: int) -> dict[str, Any]:
    """Where the kept document stands that a duplicate repeats."""
    lookup, gone = run.lookup, _rows(standing, *KINDS)
    witness = lookup.numbers("witness")[gone]
    rows, others = gone[witness >= 0], witness[witness >= 0]
    hosts, names = lookup.groups("host", "")
    shards = np.searchsorted(lookup.starts, np.stack([rows, others]), "right") - 1
    same_host = (hosts[rows] == hosts[others]) & (hosts[rows] != pc.index(names, "").as_py())
    return {
        "here": len(rows), "earlier": len(gone) - len(rows), "same_host": int(same_host.sum()),
        "same_shard": int((shards[0] == shards[1]).sum()),
        "hosts": _pairs(hosts[rows], hosts[others], limit, lambda code: str(names[code].as_py())),
        "shards": _pairs(shards[0], shards[1], limit, lambda file: str(run.ledger_shards[file]["name"])),
    }  # fmt: skip


def _pairs(first: np.ndarray, second: np.ndarray, limit: int, name: Any) -> list[dict[str, Any]]:
    """The most frequent pairs of codes, by name."""
    width = int(second.max(initial=0)) + 1
    pairs, counts = np.unique(first.astype(np.int64) * width + second, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit].tolist()
    return [
        {"of": name(int(pairs[at] // width)), "to": name(int(pairs[at] % width)), "documents": int(counts[at])}
        for at in order
    ]


def _closest(lookup: Lookup, standing: np.ndarray, limit: int) -> list[dict[str, Any]]:
    """Near-duplicates that were nearest to being kept: of the lowest similarity, of equal ones the first."""
    rows = _rows(standing, "near")
    values = lookup.numbers("similarity")[rows]
    order = np.argsort(values, kind="stable")[:limit]
    witness = lookup.numbers("witness")[rows[order]].tolist()
    return [
        {"id": lookup.id_of(row), "similarity": value, "witness": lookup.id_of(other) if other >= 0 else None}
        for row, value, other in zip(rows[order].tolist(), values[order].tolist(), witness, strict=True)
    ]
