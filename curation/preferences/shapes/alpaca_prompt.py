"""The prompt of records in Alpaca's form: instruction, input, and what was said before."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.common import Fields
from curation.preferences.limits import Limits
from curation.preferences.messages import Conversation, Message
from curation.preferences.sides import with_system
from curation.preferences.values import kind_of, text_of


def alpaca_prompt(record: Fields, limits: Limits) -> Conversation:
    """``system``, then the turns of ``history``, then the user with ``instruction`` and ``input``."""
    asked = ask(record["instruction"], record.get("input"), limits)
    turns = (*read_history(record.get("history"), limits), Message("user", asked))
    return with_system(record.get("system"), turns, limits)


def ask(instruction: object, given: object, limits: Limits) -> str:
    """Instruction and input, a line end between them; one that is blank does not count."""
    parts = [text_of(instruction, "instruction", limits)]
    if given is not None:
        parts.append(text_of(given, "input", limits))
    said = [part for part in parts if part.strip()]
    return "\n".join(said)


def read_history(value: object, limits: Limits) -> Conversation:
    """Turns of ``[[user, assistant], …]``; null and an empty text mean none."""
    if value is None or value == "":
        return ()
    if not isinstance(value, list):
        raise DocumentError("malformed-history", f"history is {kind_of(value)}")
    if 2 * len(value) > limits.turns:
        raise DocumentError("too-many-turns", f"history has {2 * len(value)} turns, limit {limits.turns}")
    turns: list[Message] = []
    for index, exchange in enumerate(value):
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise DocumentError("malformed-history", f"history[{index}] is not a question and an answer")
        turns.append(Message("user", text_of(exchange[0], f"history[{index}][0]", limits)))
        turns.append(Message("assistant", text_of(exchange[1], f"history[{index}][1]", limits)))
    return tuple(turns)
