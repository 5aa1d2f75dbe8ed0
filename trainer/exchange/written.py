"""Whether a folder is an export as it was written, and what it then says of where the model comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.exchange.read import read_json

FACTS = "gristmill.json"


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file but ``FACTS``."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != FACTS}


def facts_of(folder: Path) -> dict[str, Any] | None:
    """Facts of the model that was exported there; None where something was added, changed or lost since then."""
    if not (folder / FACTS).is_file():
        return None
    written = read_json(folder / FACTS)
    facts = written.get("facts")
    return dict(facts) if isinstance(facts, Mapping) and written.get("files") == sizes(folder) else None
