"""The order of staying, from what the ledger says of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def priority_of(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Columns and directions of a ``run.json`` that deduplicates, in order of weight."""
    return [(entry["column"], entry["order"]) for entry in run["recipe"]["deduplication"]["priority"]]


def ranks(table: pa.Table, priority: Sequence[tuple[str, str]]) -> np.ndarray:
    """Place of each document in the order of staying, ``int64[n]``, 0 first.

    NaN comes behind all numbers and null last, whatever the direction; the id decides last.

    Args:
        table: with the columns of the priority and ``id``.
    """
    columns = {
        f"{place}": table.column(name).cast(pa.float64(), safe=False) for place, (name, _) in enumerate(priority)
    }
    keys = [(f"{place}", order) for place, (_, order) in enumerate(priority)]
    order = pc.sort_indices(pa.table({**columns, "id": table.column("id")}), sort_keys=[*keys, ("id", "ascending")])
    rank = np.empty(table.num_rows, np.int64)
    rank[order.to_numpy()] = np.arange(table.num_rows)
    return rank
