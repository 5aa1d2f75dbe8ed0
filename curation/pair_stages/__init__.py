"""Stages for preference pairs and instruction data.

The text of a row is canonical JSON (:mod:`~curation.pair_stages.canonical`).  ``pair`` or ``instruction`` comes
first; :func:`sided` runs a stage for documents on each side; the others look at answers beside their prompt.
"""

from curation.pair_stages.agreement import LanguageAgreement
from curation.pair_stages.canonical import INSTRUCTION, PAIR, Side, dump, parse
from curation.pair_stages.flagged_words import FlaggedWords
from curation.pair_stages.instruction import Instruction
from curation.pair_stages.pair import Pair
from curation.pair_stages.prompt_leak import PromptLeak
from curation.pair_stages.refusals import Refusals
from curation.pair_stages.sided import Sided, sided, sided_parameters
from curation.pair_stages.sides import Sides, sides_of
from curation.pair_stages.truncation import Truncation

__all__ = [
    "INSTRUCTION",
    "PAIR",
    "FlaggedWords",
    "Instruction",
    "LanguageAgreement",
    "Pair",
    "PromptLeak",
    "Refusals",
    "Side",
    "Sided",
    "Sides",
    "Truncation",
    "dump",
    "parse",
    "sided",
    "sided_parameters",
    "sides_of",
]
