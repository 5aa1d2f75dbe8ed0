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


def with_sample_share(recipe: Mapping[str, Any], share: float) -> dict[str, Any]:
    """The same recipe for a share of what it reads."""
    section = reading_section(recipe)
    return {**recipe, section: {**recipe.get(section, {}), "sample_share": share}}
