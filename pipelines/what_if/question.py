"""A question: rules of a finished run with other thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from curation.errors import InputError
from curation.stage import Rule, Threshold
from pipelines.registry import suggestion
from pipelines.remembered import Remembered

_THRESHOLD: TypeAdapter[dict[str, float | None]] = TypeAdapter(Threshold)


@dataclass(frozen=True)
class Asked:
    """A stage with rules that shall have other thresholds.

    Attributes:
        number: place of the stage among all.
        rules: all of it, with the thresholds asked for.
        changed: places of the rules whose thresholds differ from the run's, rising.
    """

    number: int
    rules: tuple[Rule, ...]
    changed: tuple[int, ...]


def ask(stages: tuple[Remembered, ...], schema: pa.Schema, thresholds: Mapping[str, Any]) -> tuple[Asked, ...]:
    """Check a question.

    Args:
        schema: of the ledger.
        thresholds: by ``stage.rule``.  As in a recipe, each value takes the place of *all* thresholds of its rule: a
            number is for every language (``{"default": number}``), a mapping for those that it names, null switches
            the rule off.

    Returns:
        Stages with at least one rule that changes, in order.

    Raises:
        InputError: for a rule that is not there, for what is no threshold, and for a number where the rule compares
            with a fixed value (``==``, truth values): such a rule can only be switched off.
    """
    known = [f"{stage.name}.{rule.name}" for stage in stages for rule in stage.rules]
    for name in thresholds:
        if name not in known:
            raise InputError(f"there is no rule {name!r}{suggestion(name, known)}")
    asked = []
    for number, stage in enumerate(stages):
        rules = list(stage.rules)
        for place, rule in enumerate(stage.rules):
            name = f"{stage.name}.{rule.name}"
            if name in thresholds:
                rules[place] = replace(rule, thresholds=_checked(name, rule, schema, thresholds[name]))
        changed = tuple(p for p, rule in enumerate(stage.rules) if _differ(rule, rules[p]))
        if changed:
            asked.append(Asked(number, tuple(rules), changed))
    return tuple(asked)


def _checked(name: str, rule: Rule, schema: pa.Schema, value: Any) -> dict[str, float | None]:
    try:
        threshold = _THRESHOLD.validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{name}: {said}") from None
    fixed = rule.comparison == "==" or pa.types.is_boolean(schema.field(rule.measure).type)
    if fixed and any(limit is not None for limit in threshold.values()):
        raise InputError(
            f"{name}: this rule compares with a fixed value; null switches it off, nothing else changes it"
        )
    return threshold


def _differ(old: Rule, new: Rule) -> bool:
    """Whether any language meets another threshold."""
    codes = {*old.thresholds, *new.thresholds, "default"}
    return any(old.threshold_of(code) != new.threshold_of(code) for code in codes)
