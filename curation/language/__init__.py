"""Which language a document is in."""

from curation.language.stage import Language

__all__ = ["Language"]
