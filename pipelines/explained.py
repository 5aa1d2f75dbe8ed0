"""A recipe explained: each rule with what it measures, which parameter sets its threshold, and the default."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from curation.stage import DEFAULT, Parameters, Rule, Stage
from pipelines.recipe import LoadedRecipe
from pipelines.statistics import is_share
from pipelines.thresholds import adjustable


@dataclass(frozen=True)
class ExplainedRule:
    """A rule.

    Attributes:
        about: what its measure is, in words.
        unit: ``share`` (0 to 1), ``count``, ``yes or no``, or empty for another number.
        parameter: that sets the threshold in a recipe; None where it is fixed.
        thresholds: in this recipe, by language with ``default``; None for off.
        defaults: those that a recipe has that says nothing.
    """

    stage: str
    rule: str
    measure: str
    comparison: str
    about: str
    unit: str
    parameter: str | None
    thresholds: dict[str, float | None] = field(default_factory=dict)
    defaults: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ExplainedStage:
    """A stage with its rules, in order."""

    stage: str
    about: str
    rules: list[ExplainedRule]


def explained(recipe: LoadedRecipe) -> list[ExplainedStage]:
    """Every stage of a recipe, reading included, with its rules in the order of precedence."""
    places = adjustable(recipe)
    return [
        ExplainedStage(
            stage.name, first_line(type(stage)), [_rule(stage, given, rule, places) for rule in stage.rules()]
        )
        for stage, given in recipe.entries
    ]


def _rule(stage: Stage, given: Parameters, rule: Rule, places: dict[str, tuple[str, str]]) -> ExplainedRule:
    column = stage.schema.field(rule.measure) if rule.measure in stage.schema.names else None
    _, parameter = places.get(f"{stage.name}.{rule.name}", (None, None))
    return ExplainedRule(
        stage.name, rule.name, rule.measure, rule.comparison, describes(column), unit_of(rule.measure, column),
        parameter, dict(rule.thresholds), _default(type(given), parameter),
    )  # fmt: skip


def describes(column: pa.Field | None) -> str:
    """What a measured column says of itself."""
    return "" if column is None else (column.metadata or {}).get(b"description", b"").decode()


def unit_of(measure: str, column: pa.Field | None) -> str:
    """What the numbers of a measure are."""
    if is_share(measure):
        return "share"
    if column is None or pa.types.is_floating(column.type):
        return ""
    return "yes or no" if pa.types.is_boolean(column.type) else "count"


def _default(model: type[BaseModel], parameter: str | None) -> dict[str, float | None]:
    """Thresholds by language that a parameter has by itself."""
    if parameter is None:
        return {}
    value: Any = model.model_fields[parameter].get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return {}
    return dict(value) if isinstance(value, dict) else {DEFAULT: value}


def first_line(thing: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n")[0]
