"""Verification of entries as a set, from what was published: what the split cuts, and that no label is swapped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation.errors import RunError
from curation.preferences import prompt_digest
from curation.preferences.messages import Message
from pipelines.compared import entry_prompt
from pipelines.ledger import KEPT
from pipelines.look import FinishedRun

BATCH = 4096


def check_set(run: FinishedRun, deep: bool) -> str:
    """What must hold of all kept entries of a run with hygiene together.

    Raises:
        RunError: at the first difference.
    """
    clusters = _check_clusters(run)
    if not deep:
        return f"none of {clusters:,} clusters of prompts is on both sides of the split"
    prompts, swapped = _check_entries(run, run.run["recipe"]["hygiene"]["conflicts"] == "keep")
    found = f"no prompt of {prompts:,}, nor any of {clusters:,} clusters of them, is on both sides of the split"
    return found + ("" if swapped is None else f"; no pair of {swapped:,} is kept with its labels swapped")


def _check_clusters(run: FinishedRun) -> int:
    table = run.table("ledger").to_table(columns=["cluster", "split"], filter=pc.field("verdict") == KEPT)
    table = table.filter(table.column("cluster").is_valid())
    sides = table.group_by("cluster").aggregate([("split", "count_distinct")])
    cut = sides.filter(pc.greater(sides.column("split_count_distinct"), 1))
    if cut.num_rows:
        raise RunError(f"the prompts of cluster {cut.column('cluster')[0]} are on both sides of the split")
    return int(sides.num_rows)


def _check_entries(run: FinishedRun, may_contradict: bool) -> tuple[int, int | None]:
    """Number of prompts, and of pairs where none may contradict another."""
    sides: dict[bytes, str | None] = {}
    said: set[bytes] = set()
    pairs = 0
    for row in _rows(run):
        prompt = _digest(entry_prompt(row)) + (row["tools"] or "").encode()
        if sides.setdefault(prompt, row["split"]) != row["split"]:
            raise RunError("the same prompt is on both sides of the split; see the column split of corpus/")
        if "chosen" in row and not may_contradict:
            chosen, rejected = _digest(row["chosen"]), _digest(row["rejected"])
            if chosen != rejected and prompt + rejected + chosen in said:
                raise RunError(f"pair {row['pair_id']} is kept, and so is one that says the opposite")
            said.add(prompt + chosen + rejected)
            pairs += 1
    return len(sides), pairs or None


def _rows(run: FinishedRun) -> Iterator[dict[str, Any]]:
    names = run.table("corpus").schema.names
    columns = [
        name for name in ("pair_id", "prompt", "chosen", "rejected", "messages", "tools", "split") if name in names
    ]
    if "split" not in names:
        return
    for batch in run.table("corpus").to_batches(columns=columns, batch_size=BATCH):
        yield from pa.Table.from_batches([batch]).to_pylist()


def _digest(turns: list[dict[str, Any]]) -> bytes:
    return bytes.fromhex(prompt_digest(tuple(Message(turn["role"], turn["content"]) for turn in turns)))
