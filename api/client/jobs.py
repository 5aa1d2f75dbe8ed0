"""What a job is made of, in the short forms that people write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from curation.errors import InputError


def job(
    inputs: Iterable[str | dict[str, Any]],
    recipe: str | dict[str, Any] | None = None,
    recipe_yaml: str | None = None,
    pipeline: str | dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The body of a job.

    Args:
        inputs: ``SOURCE:PATH`` each, or as the API has them.
        recipe: a packaged recipe by its name, or a recipe as plain data.
        recipe_yaml: a recipe as YAML instead.
        pipeline: ``NAME`` or ``NAME@REVISION`` instead.
        more: ``name``, ``thresholds``, ``publish``, ``earlier``, ``tags``, …; what is None is left out.
    """
    chosen = choice(recipe, recipe_yaml, pipeline, **more)
    if "earlier" in chosen:
        chosen["earlier"] = [reference(one, "version") for one in chosen["earlier"]]
    return {**chosen, "inputs": [input_path(one) for one in inputs]}


def choice(recipe: Any = None, recipe_yaml: str | None = None, pipeline: Any = None, **more: Any) -> dict[str, Any]:
    """A recipe, its YAML or a pipeline, and what else a body has."""
    named = {"recipe": recipe, "recipe_yaml": recipe_yaml, **more}
    if pipeline is not None:
        named["pipeline"] = reference(pipeline, "revision")
    return {name: value for name, value in named.items() if value is not None}


def input_path(given: str | dict[str, Any]) -> dict[str, Any]:
    """``SOURCE:PATH`` as the API has it; ``SOURCE`` alone is all of it."""
    if not isinstance(given, str):
        return dict(given)
    source, _, path = given.partition(":")
    return {"source": source, "path": path}


def reference(given: str | dict[str, Any], number: str) -> dict[str, Any]:
    """``NAME`` or ``NAME@NUMBER`` as the API has it.

    Raises:
        InputError: what stands behind the ``@`` is no number.
    """
    if not isinstance(given, str):
        return dict(given)
    name, sign, digits = given.partition("@")
    if not sign:
        return {"name": name}
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise InputError(f"{given!r}: what stands behind '@' is the number of a {number}")
    return {"name": name, number: int(digits)}
