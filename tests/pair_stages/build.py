"""What the tests of these stages share: rows, batches, and texts to try."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from curation.batch import Batch
from curation.stage import Stage, decide

ROLES = ("system", "user", "assistant", "tool")


def says(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def canonical(value: Any) -> str:
    """Written here by hand, not with the code under test."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def pair(prompt: str, chosen: str, rejected: str) -> str:
    return canonical(
        {
            "prompt": [says("user", prompt)],
            "chosen": [says("assistant", chosen)],
            "rejected": [says("assistant", rejected)],
        }
    )


def instruction(prompt: str, response: str) -> str:
    return canonical({"messages": [says("user", prompt), says("assistant", response)]})


def batch_of(texts: list[str | None], **columns: Any) -> Batch:
    return Batch(pa.table({"text": pa.array(texts, pa.large_string()), **columns}))


def all_columns(batch: Batch) -> dict[str, pa.Array]:
    """All that is known of a batch, by name."""
    return {name: batch.column(name) for name in batch.table.column_names}


def rows(stage: Stage, batch: Batch) -> list[dict[str, Any]]:
    """The columns of a stage as one dictionary for each row; their types are those of its schema."""
    result = stage.measure(batch)
    types = {name: column.type for name, column in result.columns.items()}
    assert types == {field.name: field.type for field in stage.schema}
    assert all(len(column) == len(batch) for column in result.columns.values())
    assert (result.text is not None) == stage.changes_text
    return pa.table(result.columns).to_pylist()


def failing(stage: Stage, batch: Batch) -> list[list[str]]:
    """Names of the rules that each row fails."""
    found = decide(stage.rules(), all_columns(batch) | stage.measure(batch).columns, len(batch)).failing
    return [[rule.name for rule, fails in zip(stage.rules(), column, strict=True) if fails] for column in found.T]


_PIECES = [
    "a",
    "B",
    " ",
    "\n",
    "\n\n",
    "我",
    "好",
    "。",
    "mail me@here.org",
    "8.8.8.8",
    "version ",
    '"',
    "\\",
    "\u2028",
    "```",
]
CONTENTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.sampled_from(_PIECES), max_size=12).map("".join),
)
MESSAGES = st.builds(says, st.sampled_from(ROLES), CONTENTS)
PAIRS = st.fixed_dictionaries({side: st.lists(MESSAGES, max_size=3) for side in ("prompt", "chosen", "rejected")})
INSTRUCTIONS = st.builds(
    lambda before, last: {"messages": [*before, says("assistant", last)]}, st.lists(MESSAGES, max_size=3), CONTENTS
)
