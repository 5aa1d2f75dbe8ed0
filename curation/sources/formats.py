"""Which format a shard has, by its name, and how it is compressed, by its first bytes."""

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

GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def detect_format(name: str) -> str:
    """The format of a shard.

    Args:
        name: path or URI; the query of a URI is ignored.

    Returns:
        ``warc``, ``warc.gz``, ``arc``, ``arc.gz``, ``jsonl``, ``jsonl.gz``, ``jsonl.zst`` or ``parquet``.

    Raises:
        InputError: the suffix is none of ``FORMATS``.
    """
    found = find_format(name)
    if found is None:
        raise InputError(f"cannot tell the format from the name; understood are {' '.join(sorted(FORMATS))}", name)
    return found


def find_format(name: str) -> str | None:
    """The same, None where the suffix is none of ``FORMATS``."""
    lowered = _path(name)
    found = [suffix for suffix in FORMATS if lowered.endswith(suffix)]
    return FORMATS[max(found, key=len)] if found else None


def may_be_array(name: str) -> bool:
    """Whether a name promises JSON, which may be an array, and not JSON Lines."""
    return _path(name).endswith(tuple(f".json{packed}" for packed in ("", ".gz", ".zst")))


def _path(name: str) -> str:
    """A path in lower case, without what may stand behind it in a URI."""
    return (name.split("?", 1)[0].split("#", 1)[0] if "://" in name else name).lower()


def line_packing(first: bytes, packed: str) -> str:
    """How a JSON Lines file is compressed: ``gz``, ``zst`` or not at all.

    Args:
        first: its first four bytes, fewer if it has fewer.  What they say goes before the name.
        packed: what its name says.
    """
    if first.startswith(GZIP_MAGIC):
        return "gz"
    if first == ZSTD_MAGIC:
        return "zst"
    return "" if first.startswith(b"{") else packed
