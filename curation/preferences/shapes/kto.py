"""Records with one answer and whether it is good: those of an instruction, with a label."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.common import Fields
from curation.preferences.entries import Instruction, Unpaired
from curation.preferences.limits import Limits
from curation.preferences.messages import prompt_length
from curation.preferences.shapes.base import Shape
from curation.preferences.shapes.instructions import INSTRUCTION_SHAPES
from curation.preferences.values import kind_of

_LABELS = ("label", "kto_tag")


def _label_name(record: Fields) -> str | None:
    """The field that says good or bad.  0 and 1 are taken for a label too, and refused on reading: nobody
    says which is which, and a bad answer must not be learnt from."""
    for name in _LABELS:
        label = record.get(name)
        if isinstance(label, bool) or (isinstance(label, int) and label in (0, 1)):
            return name
    return None


def _is_kto(record: Fields) -> bool:
    return _label_name(record) is not None and any(shape.matches(record) for shape in INSTRUCTION_SHAPES)


def read_kto(record: Fields, limits: Limits) -> Unpaired:
    """The answer is what follows the last turn of the user or of a tool."""
    name = _label_name(record)
    good = record[name] if name else None
    if not isinstance(good, bool):
        raise DocumentError("unknown-label", f"{name} is {kind_of(good)}, not true or false")
    shape = next(shape for shape in INSTRUCTION_SHAPES if shape.matches(record))
    read = shape.read(record, limits)
    assert isinstance(read, Instruction)
    length = prompt_length(read.messages)
    return Unpaired(read.messages[:length], read.messages[length:], good, **read.common)


KTO = Shape("kto", "unpaired", _is_kto, read_kto)
