"""Records of any other make, by the names of their fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from curation.errors import DocumentError, InputError
from curation.preferences.checked import checked_instruction, checked_pair, checked_ranking
from curation.preferences.common import Fields, tools_of
from curation.preferences.entries import Common, Instruction, Pair, Ranking
from curation.preferences.limits import DEFAULT_LIMITS, Limits
from curation.preferences.messages import Conversation, Message, read_messages
from curation.preferences.paths import Missing, value_at
from curation.preferences.recognise import as_record
from curation.preferences.shapes.alpaca_prompt import ask, read_history
from curation.preferences.shapes.base import Kind
from curation.preferences.shapes.rankings import scores_of
from curation.preferences.sides import prompt_of, response_of, responses_of, with_system
from curation.preferences.split import split_sides, whole_sides, without_prompt
from curation.preferences.values import identifier_of, label_of, number_of


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """Paths of fields (see :mod:`curation.preferences.paths`) by what they hold.

    One of four: ``chosen`` and ``rejected``; ``responses``; ``response``; ``messages``.  All but the last take
    ``prompt``; without it ``chosen`` and ``rejected`` are whole conversations that begin alike.  The values are
    texts, messages or lists of messages.

    Attributes:
        input: text below the prompt's, both in one turn; where given, the prompt is a text.
        system, history: what was said before, as in Alpaca's form.
        margin: number; with ``chosen``.
        scores: list of numbers, more is better; with ``responses``, which come best first without it.
    """

    prompt: str | None = None
    input: str | None = None
    system: str | None = None
    history: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    margin: str | None = None
    responses: str | None = None
    scores: str | None = None
    response: str | None = None
    messages: str | None = None
    tools: str | None = None
    id: str | None = None
    source: str | None = None
    language: str | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        if (self.chosen is None) != (self.rejected is None):
            raise InputError("a mapping names both 'chosen' and 'rejected', or neither")
        targets = [name for name in ("chosen", "responses", "response", "messages") if getattr(self, name) is not None]
        if len(targets) != 1:
            raise InputError("a mapping names 'chosen' and 'rejected', or 'responses', or 'response', or 'messages'")
        target = targets[0]
        if target in ("responses", "response") and self.prompt is None:
            raise InputError(f"a mapping with '{target}' names 'prompt' too")
        unused = [
            name
            for name, taken in (
                ("prompt", target != "messages"),
                ("input", self.prompt is not None),
                ("history", self.prompt is not None),
                ("margin", target == "chosen"),
                ("scores", target == "responses"),
            )
            if getattr(self, name) is not None and not taken
        ]
        if unused:
            raise InputError(f"'{unused[0]}' has no use in a mapping with '{target}' and these fields")
        if any(getattr(self, field.name) == "" for field in fields(self)):
            raise InputError("a mapping holds an empty path")

    @property
    def kind(self) -> Kind:
        """What the records hold."""
        return "pair" if self.chosen else "ranking" if self.responses else "instruction"


def read_mapped(
    record: object, mapping: ColumnMapping, limits: Limits = DEFAULT_LIMITS
) -> Pair | Ranking | Instruction:
    """The entry of a record whose fields are named.

    Raises:
        DocumentError: and nothing else; ``missing-column`` where a needed field is missing or null.
    """
    fields_ = as_record(record)
    common = _common(fields_, mapping, limits)
    if mapping.chosen is not None and mapping.rejected is not None:
        return _pair(fields_, mapping, common, limits)
    if mapping.messages is not None:
        messages = read_messages(_needed(fields_, mapping.messages), mapping.messages, limits)
        return checked_instruction(with_system(_optional(fields_, mapping.system), messages, limits), common)
    prompt = _prompt(fields_, mapping, limits)
    if mapping.response is not None:
        answer = response_of(_needed(fields_, mapping.response), mapping.response, limits)
        return checked_instruction((*prompt, *answer), common)
    assert mapping.responses is not None
    responses = responses_of(_needed(fields_, mapping.responses), mapping.responses, limits)
    given = None if mapping.scores is None else _needed(fields_, mapping.scores)
    scores = None if mapping.scores is None else scores_of(given, mapping.scores, len(responses))
    return checked_ranking(prompt, responses, scores, common)


def _pair(record: Fields, mapping: ColumnMapping, common: Common, limits: Limits) -> Pair:
    assert mapping.chosen is not None and mapping.rejected is not None
    sides = [_needed(record, path, "missing-side") for path in (mapping.chosen, mapping.rejected)]
    if mapping.prompt is None:
        prompt, chosen, rejected = split_sides(*whole_sides(sides[0], sides[1], limits))
        prompt = with_system(_optional(record, mapping.system), prompt, limits)
    else:
        asked = _prompt(record, mapping, limits)
        answers = [response_of(side, name, limits) for side, name in zip(sides, ("chosen", "rejected"), strict=True)]
        is_text = isinstance(_needed(record, mapping.prompt), str)
        prompt, chosen, rejected = without_prompt(asked, answers[0], answers[1], prompt_is_text=is_text)
    margin = _optional(record, mapping.margin)
    number = None if margin is None else number_of(margin, "margin")
    return checked_pair(prompt, chosen, rejected, number, None, common)


def _prompt(record: Fields, mapping: ColumnMapping, limits: Limits) -> Conversation:
    assert mapping.prompt is not None
    given = _needed(record, mapping.prompt)
    if mapping.input is None:
        turns = prompt_of(given, mapping.prompt, limits)
    else:
        turns = (Message("user", ask(given, _optional(record, mapping.input), limits)),)
    turns = (*read_history(_optional(record, mapping.history), limits), *turns)
    return with_system(_optional(record, mapping.system), turns, limits)


def _common(record: Fields, mapping: ColumnMapping, limits: Limits) -> Common:
    return Common(
        tools=tools_of(_optional(record, mapping.tools), limits),
        source_id=identifier_of(_optional(record, mapping.id), "id"),
        source=label_of(_optional(record, mapping.source), "source"),
        language=label_of(_optional(record, mapping.language), "language"),
        license=label_of(_optional(record, mapping.license), "license"),
    )


def _needed(record: Fields, path: str, error_class: str = "missing-column") -> Any:
    try:
        value = value_at(record, path)
    except Missing:
        raise DocumentError(error_class, f"there is no {path}") from None
    if value is None:
        raise DocumentError(error_class, f"{path} is null")
    return value


def _optional(record: Fields, path: str | None) -> Any:
    if path is None:
        return None
    try:
        return value_at(record, path)
    except Missing:
        return None
