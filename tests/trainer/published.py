"""Published dataset versions for tests of the trainer: made by the mill, or by hand in the same form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.preferences.schema import INSTRUCTIONS, PREFERENCES
from pipelines.tables import CORPUS
from tests.support.runs import run_recipe, write_recipe

SCHEMAS = {"corpus": CORPUS, "preferences": PREFERENCES, "instructions": INSTRUCTIONS}
TEXT = "name: text\nstages: [{stage: extraction}]\nlimits: {max_quarantined_share: 1}\n"
PAIRS = """
name: pairs
entries: {kind: preferences}
stages: [{stage: pair}]
hygiene: {held_out: {share: 0.1}}
limits: {max_quarantined_share: 1}
"""
CONVERSATIONS = """
name: conversations
entries: {kind: instructions}
stages: [{stage: instruction}]
hygiene: {held_out: {share: 0.1}}
limits: {max_quarantined_share: 1}
"""


def milled(folder: Path, recipe: str, *inputs: Path) -> Path:
    """A version as the project's own pipeline publishes it."""
    folder.mkdir(parents=True, exist_ok=True)
    run_recipe(write_recipe(folder, recipe), list(inputs), folder / "out")
    return folder / "out"


def publish(folder: Path, kind: str, rows: Sequence[dict[str, Any]], parts: int = 1, **options: Any) -> Path:
    """A version of given rows; columns that a row does not name are null."""
    schema = SCHEMAS[kind]
    files = {}
    (folder / "corpus").mkdir(parents=True)
    for part, some in enumerate(np.array_split(np.arange(len(rows)), parts)):
        table = pa.Table.from_pylist([{n: rows[i].get(n) for n in schema.names} for i in some], schema=schema)
        name = f"corpus/part-{part:05d}.parquet"
        pq.write_table(table, folder / name, **options)
        files[name] = {**measured(folder / name), "rows": len(some)}
    write_manifest(folder, files)
    return folder


def measured(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "digest": "blake2b:" + hashlib.blake2b(data, digest_size=32).hexdigest()}


def write_manifest(folder: Path, files: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps({"key": "k", "totals": {}, "files": files}))


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": [turn("user", prompt)], "chosen": [turn("assistant", chosen)],
            "rejected": [turn("assistant", rejected)], **more}  # fmt: skip
