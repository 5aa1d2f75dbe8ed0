"""From one parsed JSON record to its entry."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.entries import Comparison, Instruction, Pair, Ranking, Result, Unpaired
from curation.preferences.limits import DEFAULT_LIMITS, Limits
from curation.preferences.recognise import as_record, require_shape
from curation.preferences.shapes.base import Shape


def read_entry(record: object, expected: Shape | None = None, limits: Limits = DEFAULT_LIMITS) -> Result:
    """The entry that a record holds, a single rated answer too.

    Args:
        record: what a JSON parser gave, whatever it is.
        expected: the shape of the records before it; ``mixed-schema`` where this one has another.

    Raises:
        DocumentError: and nothing else.
    """
    shape = require_shape(record)
    if expected is not None and shape.name != expected.name:
        raise DocumentError("mixed-schema", f"the record is {shape.name} among {expected.name}")
    return shape.read(as_record(record), limits)


def read_record(
    record: object, expected: Shape | None = None, limits: Limits = DEFAULT_LIMITS
) -> Pair | Ranking | Comparison | Instruction:
    """The entry that a record holds by itself; ``unpaired`` where it holds one rated answer, see ``read_unpaired``."""
    entry = read_entry(record, expected, limits)
    if isinstance(entry, Unpaired):
        raise DocumentError("unpaired", "one answer with a label; pairs need a good and a bad one to the same prompt")
    return entry


def read_unpaired(record: object, expected: Shape | None = None, limits: Limits = DEFAULT_LIMITS) -> Unpaired:
    """The rated answer that a record holds; ``mixed-schema`` where it holds something else."""
    entry = read_entry(record, expected, limits)
    if not isinstance(entry, Unpaired):
        raise DocumentError("mixed-schema", "the record is no single answer with a label")
    return entry
