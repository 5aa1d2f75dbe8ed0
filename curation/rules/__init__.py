"""Published quality rules as named profiles, one a file: measures of every document, and thresholds on them."""

from curation.rules.c4 import C4
from curation.rules.fineweb import FineWeb
from curation.rules.gopher_quality import GopherQuality
from curation.rules.gopher_repetition import GopherRepetition

__all__ = ["C4", "FineWeb", "GopherQuality", "GopherRepetition"]
