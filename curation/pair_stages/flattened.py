"""Texts as they compare when case, width and white space do not count."""

from __future__ import annotations

from curation.duplicates.folding import normalised


def flattened(text: str) -> str:
    """Folded NFKC with one space for any white space."""
    return " ".join(normalised(text).split())
