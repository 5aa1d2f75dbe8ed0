"""Which format a shard has, by its name."""

from __future__ import annotations

from curation.errors import InputError

_ARCHIVES = {"warc": "warc", "wet": "warc", "wat": "warc", "arc": "arc"}
_LINES = ("jsonl", "ndjson", "json")

FORMATS: dict[str, str] = {
    **{f".{suffix}": name for suffix, name in _ARCHIVES.items()},
    **{f".{suffix}.gz": f"{name}.gz" for suffix, name in _ARCHIVES.items()},
    **{f".{suffix}": "jsonl" for suffix in _LINES},
    **{f".{suffix}.{packed}": f"jsonl.{packed}" for suffix in _LINES for packed in ("gz", "zst")},
    ".parquet": "parquet",
}
"""Suffix of a file name → name of its format."""


def detect_format(name: str) -> str:
    """The format of a shard.

    Args:
        name: path or URI; the query of a URI is ignored.

    Returns:
        ``warc``, ``warc.gz``, ``arc``, ``arc.gz``, ``jsonl``, ``jsonl.gz``, ``jsonl.zst`` or ``parquet``.

    Raises:
        InputError: the suffix is none of ``FORMATS``.
    """
    path = name.split("?", 1)[0].split("#", 1)[0] if "://" in name else name
    lowered = path.lower()
    found = [suffix for suffix in FORMATS if lowered.endswith(suffix)]
    if not found:
        raise InputError(f"cannot tell the format from the name; understood are {' '.join(sorted(FORMATS))}", name)
    return FORMATS[max(found, key=len)]
