"""The tables of preferences and instructions, in the form that TRL's trainers take as it is.

``prompt``, ``chosen`` and ``rejected`` are TRL's conversational preference format with an explicit prompt,
``messages`` its conversational language modelling format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from curation.preferences.entries import Instruction, Pair
from curation.preferences.messages import as_dicts

MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))


def _described(*fields: tuple[str, pa.DataType, str]) -> list[pa.Field]:
    return [pa.field(name, type_, metadata={"description": text}) for name, type_, text in fields]


_ORIGIN = (
    ("tools", pa.string(), "JSON text of the tools that the assistant may call; null where there are none"),
    ("source", pa.string(), "where the record is from"),
    ("language", pa.string(), "language code"),
    ("license", pa.string(), "licence of the record"),
    ("split", pa.string(), "train or held-out; null where the set is not split"),
)

PREFERENCES = pa.schema(
    _described(
        ("pair_id", pa.string(), "id of the pair"),
        ("prompt", MESSAGES, "what both answers answer: turns that end with the user's or a tool's"),
        ("chosen", MESSAGES, "the better answer: turns that begin and end with the assistant's"),
        ("rejected", MESSAGES, "the worse answer, likewise"),
        ("margin", pa.float64(), "how much better, on the scale of its source; null where nobody said"),
        ("ranking_id", pa.string(), "the ranking that the pair is part of; null where it came as a pair"),
        *_ORIGIN,
    ),
    metadata={"gristmill.schema": "preferences/1"},
)

INSTRUCTIONS = pa.schema(
    _described(
        ("id", pa.string(), "id of the conversation"),
        ("messages", MESSAGES, "turns that end with the assistant's"),
        *_ORIGIN,
    ),
    metadata={"gristmill.schema": "instructions/1"},
)


def preference_row(pair: Pair, pair_id: str) -> dict[str, Any]:
    """A row of ``PREFERENCES``."""
    return {
        "pair_id": pair_id,
        "prompt": as_dicts(pair.prompt),
        "chosen": as_dicts(pair.chosen),
        "rejected": as_dicts(pair.rejected),
        "margin": pair.margin,
        "ranking_id": pair.ranking_id,
        "tools": pair.tools,
        "source": pair.source,
        "language": pair.language,
        "license": pair.license,
        "split": None,
    }


def instruction_row(instruction: Instruction, id_: str) -> dict[str, Any]:
    """A row of ``INSTRUCTIONS``."""
    return {
        "id": id_,
        "messages": as_dicts(instruction.messages),
        "tools": instruction.tools,
        "source": instruction.source,
        "language": instruction.language,
        "license": instruction.license,
        "split": None,
    }


def preference_table(pairs: Sequence[Pair], ids: Iterable[str]) -> pa.Table:
    """Pairs with an id each."""
    rows = [preference_row(pair, id_) for pair, id_ in zip(pairs, ids, strict=True)]
    return pa.Table.from_pylist(rows, schema=PREFERENCES)


def instruction_table(instructions: Sequence[Instruction], ids: Iterable[str]) -> pa.Table:
    """Instructions with an id each."""
    rows = [instruction_row(instruction, id_) for instruction, id_ in zip(instructions, ids, strict=True)]
    return pa.Table.from_pylist(rows, schema=INSTRUCTIONS)
