"""Benchmark items in documents: the word n-grams that they share, exact, with the item and the place as witness.

``Decontamination`` is the stage; ``index_of`` and ``search`` do the same for any column of texts.
"""

from curation.decontamination.benchmark import Benchmark, read_benchmark
from curation.decontamination.index import Cut, Index, index_of
from curation.decontamination.search import Finding, search
from curation.decontamination.stage import Decontamination, DecontaminationParameters

__all__ = [
    "Benchmark",
    "Cut",
    "Decontamination",
    "DecontaminationParameters",
    "Finding",
    "Index",
    "index_of",
    "read_benchmark",
    "search",
]
