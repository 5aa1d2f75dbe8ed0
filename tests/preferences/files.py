"""The real files, read with nothing but json."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any


def load(path: Path) -> list[dict[str, Any]]:
    """Records of a gzipped JSON array or of gzipped JSON Lines."""
    text = gzip.decompress(path.read_bytes()).decode()
    if text.lstrip().startswith("["):
        records: list[dict[str, Any]] = json.loads(text)
        return records
    return [json.loads(line) for line in text.split("\n") if line.strip()]
