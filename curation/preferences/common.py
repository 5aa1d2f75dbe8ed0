"""What records say about themselves under names that all shapes share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curation.errors import DocumentError
from curation.preferences.entries import Common
from curation.preferences.limits import Limits
from curation.preferences.values import identifier_of, json_text, label_of, number_of, text_of

Fields = Mapping[str, Any]


def common_of(record: Fields, limits: Limits) -> Common:
    """``id`` (or ``idx``), ``source``, ``language``, ``license`` and ``tools``; of another type they are errors."""
    name = "id" if record.get("id") is not None else "idx"
    return Common(
        tools=tools_of(record.get("tools"), limits),
        source_id=identifier_of(record.get(name), name),
        source=label_of(record.get("source"), "source"),
        language=label_of(record.get("language"), "language"),
        license=label_of(record.get("license"), "license"),
    )


def tools_of(value: object, limits: Limits) -> str | None:
    """JSON text of a list of tools, a text as it stands; None where there are none."""
    if value is None or value == [] or (isinstance(value, str) and value.strip() in ("", "[]")):
        return None
    if isinstance(value, str):
        if not _is_list(value):
            raise DocumentError("not-a-list", "tools is a text that is no JSON list")
        return text_of(value, "tools", limits)
    if not isinstance(value, list):
        raise DocumentError("not-a-list", "tools is neither a list nor its JSON text")
    return json_text(value, "tools", limits)


def _is_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def margin_of(record: Fields) -> float | None:
    """``margin``, or else the difference of ``score_chosen`` and ``score_rejected``; None without them."""
    if record.get("margin") is not None:
        return number_of(record["margin"], "margin")
    if record.get("score_chosen") is None or record.get("score_rejected") is None:
        return None
    return number_of(record["score_chosen"], "score_chosen") - number_of(record["score_rejected"], "score_rejected")


def ranking_id_of(record: Fields) -> str | None:
    """``ranking_id``, as this package writes it."""
    return label_of(record.get("ranking_id"), "ranking_id")
