"""``gristmill explain``: the recipe in full, where each value comes from, and what a run would do and need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.show import cell, line, terminal, visible

console = terminal()


def explain_command(recipe: str, inputs: list[str], models: Path | None, base: str | None) -> None:
    """Print it."""
    from pipelines.plan import make_plan
    from pipelines.recipe import load_recipe

    loaded = load_recipe(recipe, models)
    shown = loaded.expanded
    console.print(Text.assemble(cell(shown["name"], "bold"), line(f"  ({loaded.source.name})")))
    if shown["description"]:
        console.print(visible(shown["description"].strip()))
    table = Table("value", "is", "from", box=None, pad_edge=False)
    for path, value in _leaves({k: v for k, v in shown.items() if k not in ("name", "description")}, ()):
        table.add_row(cell(_name(path, shown)), cell(_text(value)), cell(_origin(path, loaded.source)))
    console.print(table)
    plan = make_plan(loaded, [])
    stages = Table("stage", "version", "measures", "rules", box=None, pad_edge=False, title="\nplan")
    for stage in plan.stages:
        rules = ", ".join(rule.name for rule in stage.rules())
        stages.add_row(stage.name, str(stage.version), cell(", ".join(stage.schema.names)), cell(rules or "–"))
    console.print(stages)
    facts = Table("stage", "fact", "is", box=None, pad_edge=False, title="\nmodels and libraries")
    for stage in plan.stages:
        for name, value in stage.facts().items():
            facts.add_row(stage.name, cell(name), cell(str(value)))
    console.print(facts)
    if inputs:
        _explain_inputs(loaded, inputs, base)


def _explain_inputs(loaded: Any, inputs: list[str], base: str | None) -> None:
    from pipelines.estimate import disk_need
    from pipelines.inputs import find_shards

    shards = find_shards(inputs, base)
    table = Table("shard", "bytes", "digest", box=None, pad_edge=False, title="\nshards")
    for shard in sorted(shards, key=lambda shard: shard.name):
        table.add_row(cell(shard.name), f"{shard.size:,}", shard.digest[:24] + "…")
    console.print(table)
    low, high = disk_need(shards)
    console.print(f"\ndisk needed: about {low / 1e9:.3f} to {high / 1e9:.3f} GB, for {len(shards)} shards")


def _leaves(value: Any, path: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, index))]
    return [(path, value)]


def _name(path: tuple[str | int, ...], shown: dict[str, Any]) -> str:
    if path[0] == "stages" and len(path) > 2:
        return ".".join([shown["stages"][path[1]]["stage"], *(str(part) for part in path[2:])])
    return ".".join(str(part) for part in path)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _origin(path: tuple[str | int, ...], source: Any) -> str:
    # A threshold written as one number stands in the expanded recipe as {default: number}.
    for given in (path, path[:-1] if path[-1] == "default" else path):
        if given in source.places:
            line, _ = source.places[given]
            return f"{source.name}:{line}"
    return "default"
