"""What the mill expects of every stage."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.batch import Batch
from curation.language import Language
from curation.pair_stages import (
    FlaggedWords,
    Instruction,
    LanguageAgreement,
    Pair,
    PromptLeak,
    Refusals,
    Truncation,
    sided,
)
from curation.personal_data import PersonalData
from curation.rules import GopherQuality
from curation.stage import Stage, decide
from tests.pair_stages.build import INSTRUCTIONS, PAIRS, all_columns, batch_of, canonical, rows

SIDED = (Language, GopherQuality, PersonalData)
OF_PAIRS: list[tuple[type[Stage], dict[str, Any]]] = [
    (Pair, {}),
    *((sided(stage), {"sides": ("prompt", "chosen", "rejected")}) for stage in SIDED),
    (LanguageAgreement, {}),
    (Refusals, {}),
    (PromptLeak, {}),
    (Truncation, {}),
    (FlaggedWords, {}),
]
OF_INSTRUCTIONS: list[tuple[type[Stage], dict[str, Any]]] = [
    (Instruction, {}),
    *((sided(stage), {"sides": ("prompt", "response")}) for stage in SIDED),
    *((stage, {"sides": ("response",)}) for stage in (LanguageAgreement, Refusals, PromptLeak, Truncation)),
    (FlaggedWords, {"sides": ("prompt", "response")}),
]
ALL = OF_PAIRS + OF_INSTRUCTIONS


def build(made: tuple[type[Stage], dict[str, Any]]) -> Stage:
    cls, given = made
    return cls(cls.Parameters(**given))


def through(stages: list[Stage], batch: Batch) -> Batch:
    """All stages one after the other, as the mill does it."""
    for stage in stages:
        result = stage.measure(batch)
        decide(stage.rules(), all_columns(batch) | result.columns, len(batch))
        table = batch.table
        if result.text is not None:
            table = table.set_column(table.column_names.index("text"), "text", result.text)
        for name, column in result.columns.items():
            assert name not in table.column_names
            table = table.append_column(name, column)
        bad = pa.array([row not in result.errors for row in range(len(batch))], pa.bool_())
        batch = Batch(table.filter(bad))
    return batch


@pytest.mark.parametrize("made", ALL, ids=lambda made: f"{made[0].__name__}-{len(made[1].get('sides', ()))}")
def test_each_stage(made: tuple[type[Stage], dict[str, Any]]) -> None:
    stage = build(made)
    assert all(stage.schema.field(name).metadata[b"description"] for name in stage.schema.names)
    rules = [rule.name for rule in stage.rules()]
    assert len(set(rules)) == len(rules)
    assert {rule.measure for rule in stage.rules()} <= set(stage.schema.names)
    assert stage.deciding <= set(type(stage.parameters).model_fields)
    assert type(stage.parameters).model_validate(json.loads(stage.parameters.model_dump_json())) == stage.parameters
    assert pickle.loads(pickle.dumps(stage)).schema.equals(stage.schema, check_metadata=True)
    json.dumps(stage.facts())


def of_its_sides(made: tuple[type[Stage], dict[str, Any]], name: str) -> bool:
    """Whether a threshold speaks of an answer that the stage looks at."""
    of_response = made[1].get("sides") == ("response",)
    only_pairs = name.startswith(("max_chosen", "max_rejected", "max_both"))
    return not (of_response and only_pairs) and (of_response or name != "max_response_refusal")


OWN = [made for made in ALL if not made[0].__name__.startswith("Sided")]
THRESHOLDS = [(made, name) for made in OWN for name in sorted(made[0].deciding) if of_its_sides(made, name)]


@pytest.mark.parametrize(("made", "name"), THRESHOLDS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_threshold_belongs_to_a_rule(made: tuple[type[Stage], dict[str, Any]], name: str) -> None:
    stage = build((made[0], {**made[1], name: {"default": 0.123456789}}))
    assert [rule for rule in stage.rules() if rule.thresholds.get("default") == 0.123456789]


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_pairs_go_through_all(values: list[dict[str, Any]]) -> None:
    batch = batch_of([canonical(value) for value in values], margin=pa.nulls(len(values), pa.float64()))
    assert len(through([build(made) for made in OF_PAIRS], batch)) == len(values)


@given(st.lists(INSTRUCTIONS, min_size=1, max_size=4))
def test_instructions_go_through_all(values: list[dict[str, Any]]) -> None:
    batch = batch_of([canonical(value) for value in values])
    assert len(through([build(made) for made in OF_INSTRUCTIONS], batch)) == len(values)


@pytest.mark.parametrize("made", [made for made in ALL if made[0] is not LanguageAgreement])
@given(st.data())
def test_rows_do_not_depend_on_their_neighbours(made: tuple[type[Stage], dict[str, Any]], data: st.DataObject) -> None:
    kind = PAIRS if made in OF_PAIRS else INSTRUCTIONS
    texts = data.draw(st.lists(st.one_of(kind.map(canonical), st.just("broken")), min_size=2, max_size=3))
    stage = build(made)
    assert rows(stage, batch_of(texts)) == [row for text in texts for row in rows(stage, batch_of([text]))]
