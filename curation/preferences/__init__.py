"""Preference pairs and instructions: the shapes in which people keep them, and one schema.

Pure functions on one parsed JSON record.  In order of use: ``recognise`` (which shape), ``read_entry`` or, by
the names of fields, ``read_mapped`` (its entry), ``pairs_of`` (pairs of a ranking or of votes),
``pair_unpaired`` (pairs of single rated answers), ``preference_table`` and ``instruction_table``.  What a record
holds never raises anything but ``DocumentError``.
"""

from curation.preferences.digests import instruction_digest, pair_digest, prompt_digest, question_digest, ranking_digest
from curation.preferences.entries import Comparison, Instruction, Pair, Ranking, Result, Unpaired, Votes
from curation.preferences.expand import Expand, pairs_of
from curation.preferences.limits import Limits
from curation.preferences.mapping import ColumnMapping, read_mapped
from curation.preferences.messages import Message
from curation.preferences.read import read_entry, read_record, read_unpaired
from curation.preferences.recognise import BY_NAME, SHAPES, recognise, require_shape
from curation.preferences.schema import INSTRUCTIONS, PREFERENCES, instruction_table, preference_table
from curation.preferences.shapes.base import Shape
from curation.preferences.unpaired import pair_answers, pair_unpaired

__all__ = [
    "BY_NAME",
    "INSTRUCTIONS",
    "PREFERENCES",
    "SHAPES",
    "ColumnMapping",
    "Comparison",
    "Expand",
    "Instruction",
    "Limits",
    "Message",
    "Pair",
    "Ranking",
    "Result",
    "Shape",
    "Unpaired",
    "Votes",
    "instruction_digest",
    "instruction_table",
    "pair_answers",
    "pair_digest",
    "pair_unpaired",
    "pairs_of",
    "preference_table",
    "prompt_digest",
    "question_digest",
    "ranking_digest",
    "read_entry",
    "read_mapped",
    "read_record",
    "read_unpaired",
    "recognise",
    "require_shape",
]
