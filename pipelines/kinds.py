"""What a recipe makes, told from its plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kind_of(recipe: Mapping[str, Any]) -> str:
    """``corpus``, ``preferences`` or ``instructions``."""
    entries = recipe.get("entries")
    return str(entries["kind"]) if entries else "corpus"


def reading_section(recipe: Mapping[str, Any]) -> str:
    """The section that says what is read, ``read`` or ``entries``."""
    return "entries" if recipe.get("entries") else "read"


def comparison_section(recipe: Mapping[str, Any]) -> str:
    """The section that says how what was read is compared, ``deduplication`` or ``hygiene``."""
    return "hygiene" if recipe.get("entries") else "deduplication"


def comparison_of(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """That section of a stored recipe; None where nothing was compared."""
    found: dict[str, Any] | None = recipe.get(comparison_section(recipe))
    return found


def compares(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe, as somebody wrote it, compares what it reads: they all do unless they say otherwise."""
    section = comparison_section(recipe)
    return section not in recipe or recipe[section] is not None


def with_sample_share(recipe: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The same recipe for a share of what it reads."""
    section = reading_section(recipe)
    return {**recipe, section: {**recipe.get(section, {}), "sample_share": share}}
