"""Stages of a finished run, as its ``run.json`` remembers them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from curation.stage import Rule


@dataclass(frozen=True)
class Remembered:
    """A stage.

    Attributes:
        name: of the stage.
        columns: that it measured.
        rules: in the order of precedence; each goes by columns that were there when it decided.
    """

    name: str
    columns: tuple[str, ...]
    rules: tuple[Rule, ...]


def remembered_stages(run: Mapping[str, Any]) -> tuple[Remembered, ...]:
    """All stages of a ``run.json``, in order."""
    stages: list[Remembered] = []
    known: set[str] = set()
    for stage in run["stages"]:
        known |= set(stage["columns"])
        rules = tuple(_rule(rule, known) for rule in stage["rules"])
        stages.append(Remembered(stage["stage"], tuple(stage["columns"]), rules))
    return tuple(stages)


def _rule(plain: Mapping[str, Any], known: AbstractSet[str]) -> Rule:
    rule = Rule(**plain)
    return replace(rule, by=tuple(name for name in rule.by if name in known))
