"""Fields for thresholds: one for each rule, and one for each language that has another.

A field ``t.STAGE.RULE`` is the threshold of all languages that have none of their own, ``t.STAGE.RULE.LANGUAGE`` that
of one.  An empty field switches the rule off; a field that is not there changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from api.problems import Fault

DEFAULT = "default"
MOST_LANGUAGES = 4  # that have fields of their own: an address holds a hundred parameters


class Ruled(Protocol):
    """A rule of a recipe or of a run."""

    stage: str
    rule: str
    thresholds: dict[str, float | None]


class Field(NamedTuple):
    """One field.

    Attributes:
        name: of the field.
        language: ``default`` or a code.
        now: text of the threshold as it is.
        text: what is shown in the field.
    """

    name: str
    language: str
    now: str
    text: str

    @property
    def changed(self) -> bool:
        """Whether it says something else than what is."""
        return self.text != self.now


def spelled(value: float | None) -> str:
    """A threshold as a field has it: empty for off."""
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def name_of(rule: Ruled, language: str = DEFAULT) -> str:
    """The field of a rule."""
    return f"t.{rule.stage}.{rule.rule}" + ("" if language == DEFAULT else f".{language}")


def fields_of(rule: Ruled, given: Mapping[str, str], languages: Iterable[str]) -> list[Field]:
    """The fields of a rule.

    Args:
        given: what was sent, by name of the field.
        languages: that matter, the most frequent first.
    """
    default = rule.thresholds.get(DEFAULT)
    own = [code for code in languages if code in rule.thresholds and rule.thresholds[code] != default]
    found = []
    for language in [DEFAULT, *own[:MOST_LANGUAGES]]:
        name, now = name_of(rule, language), spelled(rule.thresholds.get(language, default))
        found.append(Field(name, language, now, given.get(name, now)[:40]))
    return found


def frequent(counts: Mapping[str, int]) -> list[str]:
    """Languages of one document in a hundred or more, the most frequent first."""
    least = sum(counts.values()) / 100
    return sorted((name for name in counts if counts[name] >= least), key=lambda name: (-counts[name], name))


def changed_thresholds(
    rules: Iterable[Ruled], given: Mapping[str, str]
) -> tuple[dict[str, dict[str, float | None]], list[Fault]]:
    """What a form changes, as the API takes it, and what is wrong in it.

    A number takes the place of the one threshold that its field stands for; those of other languages stay.
    """
    thresholds: dict[str, dict[str, float | None]] = {}
    faults: list[Fault] = []
    for rule in rules:
        start = name_of(rule)
        changed = dict(rule.thresholds)
        for name in [name for name in given if name == start or name.startswith(f"{start}.")]:
            language = name[len(start) + 1 :] or DEFAULT
            try:
                value = number(given[name])
            except ValueError:
                message = "is a number that is not negative, or empty to switch the rule off"
                faults.append(Fault(pointer=f"/{name}", code="threshold", message=message))
                continue
            if value != rule.thresholds.get(language, rule.thresholds.get(DEFAULT)):
                changed[language] = value
        if changed != rule.thresholds:
            thresholds[f"{rule.stage}.{rule.rule}"] = changed
    return thresholds, faults


def number(text: str) -> float | None:
    """A threshold of a field; None where it is empty.

    Raises:
        ValueError: for anything that cannot be one.
    """
    if not text.strip():
        return None
    value = float(text.strip().replace("_", "x"))
    if not math.isfinite(value) or value < 0:
        raise ValueError("no threshold")
    return value


def as_fields(thresholds: Mapping[str, Mapping[str, float | None]], rules: Collection[Ruled]) -> dict[str, Any]:
    """Thresholds as the fields that say the same; what stays as it is is left out."""
    found = {}
    for rule in rules:
        for language, value in thresholds.get(f"{rule.stage}.{rule.rule}", {}).items():
            if language not in rule.thresholds or value != rule.thresholds[language]:
                found[name_of(rule, language)] = spelled(value)
    return found
