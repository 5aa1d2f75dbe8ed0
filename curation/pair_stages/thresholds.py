"""Thresholds of the stages on pairs and instructions: shares, and rules that are off until somebody asks for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from curation.stage import DEFAULT, Threshold


def off() -> dict[str, float | None]:
    """No threshold for any language."""
    return {DEFAULT: None}


def _share(thresholds: dict[str, float | None]) -> dict[str, float | None]:
    if any(value is not None and value > 1 for value in thresholds.values()):
        raise ValueError("a share is between 0 and 1")
    return thresholds


# A threshold of a measure that is never above 1.
Share = Annotated[Threshold, AfterValidator(_share)]
