"""What a record lacks that is nearly of some shape."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.common import Fields
from curation.preferences.shapes.base import carriers, has
from curation.preferences.values import kind_of, shown

_SIDES = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("response1", "response2"),
    ("response 1", "response 2"),
    ("output_1", "output_2"),
)
_LABELS = {"response1": "annotator1", "response 1": "label", "output_1": "preference"}
_ANSWERS = ("output", "response", "completion")
_NAMES_SHOWN = 8


def near_miss(record: Fields) -> DocumentError:
    """The error of a record that has no shape; the nearest shape decides what is said."""
    for first, second in _SIDES:
        if has(record, first) != has(record, second):
            there, missing = (first, second) if has(record, first) else (second, first)
            why = "is null" if missing in record else "is missing"
            return DocumentError("missing-side", f"has '{there}' but '{missing}' {why}")
        if has(record, first, second):
            return _unusable_sides(record, first, second)
    asked = carriers(record)
    if has(record, "responses") or has(record, "completions"):
        return _unusable_list(record)
    if len(asked) > 1:
        return DocumentError("ambiguous-shape", f"has {_all(asked)}; name the fields in a mapping")
    if asked:
        return _no_answer(record, asked.pop())
    if any(has(record, name) for name in _ANSWERS):
        return DocumentError("missing-prompt", "has an answer but no 'instruction', 'prompt', 'messages'")
    return DocumentError("unknown-shape", _names(record))


def _unusable_sides(record: Fields, first: str, second: str) -> DocumentError:
    asked = carriers(record)
    if len(asked) > 1:
        return DocumentError("ambiguous-shape", f"has {_all(asked)}; name the fields in a mapping")
    if first == "preferred_output":
        return DocumentError("missing-prompt", "has both outputs but no 'input' with 'messages'")
    if not asked:
        return DocumentError("missing-prompt", f"has '{first}' and '{second}' but no 'prompt', and no turns in both")
    label = _LABELS.get(first)
    if label is not None:
        return DocumentError("unknown-shape", f"has '{first}' and '{second}' but no '{label}' of a shape with them")
    one, other = kind_of(record[first]), kind_of(record[second])
    return DocumentError("unknown-shape", f"beside '{asked.pop()}', '{first}' is {one} and '{second}' is {other}")


def _unusable_list(record: Fields) -> DocumentError:
    name = "responses" if has(record, "responses") else "completions"
    if not carriers(record):
        return DocumentError("missing-prompt", f"has '{name}' but no 'prompt'")
    if name == "responses" and not has(record, "scores"):
        return DocumentError("missing-scores", "has 'responses' but no 'scores'")
    return DocumentError("unknown-shape", f"'{name}' is {kind_of(record[name])} beside {_all(carriers(record))}")


def _no_answer(record: Fields, asked: str) -> DocumentError:
    if has(record, "response", "completion"):
        return DocumentError("ambiguous-shape", "has 'response' and 'completion'; name the fields in a mapping")
    wanted = "'output'" if asked == "instruction" else "'response' or 'completion'"
    return DocumentError("missing-response", f"has '{asked}' but no {wanted}")


def _all(names: set[str]) -> str:
    return " and ".join(f"'{name}'" for name in sorted(names))


def _names(record: Fields) -> str:
    names = [shown(str(name)) for name in list(record)[:_NAMES_SHOWN]]
    more = ", …" if len(record) > _NAMES_SHOWN else ""
    return f"has {', '.join(names)}{more}" if names else "is empty"
