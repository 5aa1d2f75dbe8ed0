"""Versions that a job is given, as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def given(versions: Iterable[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Versions of datasets or models as the API takes them.

    Args:
        versions: ``NAME``, ``NAME@VERSION``, ``NAME@ALIAS``, each perhaps behind ``ROLE=``; or as the API has them.
    """
    return [_of_text(one) if isinstance(one, str) else dict(one) for one in versions]


def _of_text(text: str) -> dict[str, str]:
    role, sign, rest = text.rpartition("=")
    name, at, version = rest.partition("@")
    return {"name": name, **({"version": version} if at else {}), **({"role": role} if sign else {})}
