"""From the bytes of a page to the text that a reader would read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.extraction.stage import Extraction

__all__ = ["Extraction"]


def __getattr__(name: str) -> Any:
    """``Extraction``, loaded when asked for: the sandbox's child imports this package and must start at once."""
    if name == "Extraction":
        from curation.extraction.stage import Extraction

        return Extraction
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
