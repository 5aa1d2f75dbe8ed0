"""Which parameter of a recipe sets the threshold of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from curation.errors import InputError
from curation.stage import DEFAULT, Parameters, Stage
from pipelines.kinds import reading_section
from pipelines.recipe import LoadedRecipe
from pipelines.registry import suggestion

# Values that no recipe has: a rule whose threshold becomes one of them is set by the parameter that was given it.
_PROBES: tuple[Any, ...] = ({DEFAULT: 0.123456789}, 0.123456789, 123456)


def adjustable(recipe: LoadedRecipe) -> dict[str, tuple[str, str]]:
    """Stage and parameter behind each rule whose threshold a recipe can set, by ``stage.rule``."""
    found = {}
    for stage, given in recipe.entries:
        for parameter in sorted(stage.deciding):
            for rule in _ruled_by(stage, given, parameter):
                found[f"{stage.name}.{rule}"] = (stage.name, parameter)
    return found


def _ruled_by(stage: Stage, given: Parameters, parameter: str) -> list[str]:
    for probe in _PROBES:
        plain = {**stage.parameters.model_dump(mode="python"), parameter: probe}
        try:
            probed = type(stage)(type(given).model_validate(plain))
        except (ValidationError, InputError):
            continue
        value = probe[DEFAULT] if isinstance(probe, Mapping) else probe
        rules = [rule.name for rule in probed.rules() if rule.thresholds.get(DEFAULT) == float(value)]
        if rules:
            return rules
    return []


def with_thresholds(recipe: LoadedRecipe, plain: Mapping[str, Any], thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data of a recipe with other thresholds.

    Args:
        recipe: as built from ``plain``.
        plain: the recipe.
        thresholds: by ``stage.rule``: a number, null to switch the rule off, or a mapping by language.

    Raises:
        InputError: for a rule that is not there, or whose threshold no parameter sets.
    """
    places = adjustable(recipe)
    changed = deepcopy(dict(plain))
    for name, threshold in thresholds.items():
        if name not in places:
            known = [f"{stage.name}.{rule.name}" for stage in recipe.stages for rule in stage.rules()]
            why = (
                "its threshold is fixed" if name in known else f"there is no such rule{suggestion(name, list(places))}"
            )
            raise InputError(f"{name}: {why}")
        stage, parameter = places[name]
        entry = changed.setdefault(reading_section(changed), {}) if stage == "read" else _entry(changed, stage)
        entry[parameter] = threshold
    return changed


def _entry(recipe: dict[str, Any], stage: str) -> dict[str, Any]:
    entry: dict[str, Any] = next(entry for entry in recipe["stages"] if entry["stage"] == stage)
    return entry
