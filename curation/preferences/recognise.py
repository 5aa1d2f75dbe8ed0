"""Which shape a record has, and what is wrong with one that has none."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.common import Fields
from curation.preferences.near_miss import near_miss
from curation.preferences.shapes.base import KINDS, Shape
from curation.preferences.shapes.comparisons import COMPARISON_SHAPES
from curation.preferences.shapes.instructions import INSTRUCTION_SHAPES
from curation.preferences.shapes.kto import KTO
from curation.preferences.shapes.pairs import PAIR_SHAPES
from curation.preferences.shapes.rankings import RANKING_SHAPES
from curation.preferences.values import kind_of

SHAPES: tuple[Shape, ...] = (*PAIR_SHAPES, *COMPARISON_SHAPES, *RANKING_SHAPES, KTO, *INSTRUCTION_SHAPES)
BY_NAME = {shape.name: shape for shape in SHAPES}


def recognise(record: object) -> Shape | None:
    """The shape of a record; None where it has none, or two of which neither goes before the other."""
    found = candidates(record)
    return found[0] if len(found) == 1 else None


def require_shape(record: object) -> Shape:
    """The shape of a record; an error that names what is missing where there is none."""
    found = candidates(record)
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(shape.name for shape in found)
        raise DocumentError("ambiguous-shape", f"could be {names}; name the fields in a mapping")
    raise near_miss(as_record(record))


def candidates(record: object) -> list[Shape]:
    """All shapes of the first kind, in the order of ``KINDS``, of which one matches."""
    if not isinstance(record, dict):
        return []
    matching = [shape for shape in SHAPES if shape.matches(record)]
    first = min((KINDS.index(shape.kind) for shape in matching), default=0)
    return [shape for shape in matching if shape.kind == KINDS[first]]


def as_record(value: object) -> Fields:
    """A JSON object; ``malformed-json-record`` for anything else."""
    if not isinstance(value, dict):
        raise DocumentError("malformed-json-record", f"the record is {kind_of(value)}, not an object")
    return value
