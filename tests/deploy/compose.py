"""The Compose file as Compose sees it: merged, and with the defaults of its variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"
# $$, ${NAME}, ${NAME:-default}; the file uses no other form, and a test says so.
VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z][A-Z0-9_]*)(?::-([^{}$]*))?\})")

# What the dashboard shows, and the API tells.
METRICS = {
    "gristmill_runs", "gristmill_http_requests_total", "gristmill_http_request_seconds_bucket",
    "gristmill_queue_oldest_seconds", "gristmill_deliveries", "gristmill_attempts_open", "gristmill_database_up",
}  # fmt: skip


def interpolated(value: Any, given: Mapping[str, str]) -> Any:
    """A value with its variables replaced, as the Compose specification says."""
    if isinstance(value, dict):
        return {name: interpolated(inner, given) for name, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner, given) for inner in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: found[1] or given.get(found[2]) or found[3] or "", value)
    return value


def load(given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file, with variables as somebody sets them in ``.env``."""
    found: dict[str, Any] = interpolated(yaml.safe_load(FILE.read_text()), given or {})
    return found


def environment(service: str, given: Mapping[str, str] | None = None, **instead: str) -> dict[str, str]:
    """What a service's process finds in its environment.

    Args:
        instead: values that differ here; each must be one that the service has.
    """
    found: dict[str, str | None] = load(given)["services"][service].get("environment", {})
    unknown = instead.keys() - found.keys()
    assert not unknown, f"{service} has no {unknown}"
    passed = {name: (given or {}).get(name) if value is None else str(value) for name, value in found.items()}
    return {name: value for name, value in {**passed, **instead}.items() if value is not None}
