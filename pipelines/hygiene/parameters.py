"""What a recipe says about hygiene, for its steps."""

from __future__ import annotations

from pipelines.deduplication.work import Work
from pipelines.recipe import Hygiene


def hygiene_of(work: Work) -> Hygiene:
    """The section of the recipe."""
    parameters = work.parameters
    assert isinstance(parameters, Hygiene), "only a recipe of entries has these steps"
    return parameters
