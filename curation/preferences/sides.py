"""Prompts and answers out of values that are texts, messages or lists of messages."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.limits import Limits
from curation.preferences.messages import Conversation, Message, read_message, read_messages
from curation.preferences.values import list_of, text_of


def prompt_of(value: object, where: str, limits: Limits) -> Conversation:
    """A list of messages, or a text that the user says."""
    if isinstance(value, list):
        return read_messages(value, where, limits)
    return (Message("user", text_of(value, where, limits)),)


def response_of(value: object, where: str, limits: Limits) -> Conversation:
    """A list of messages, one message, or a text that the assistant says."""
    if isinstance(value, list):
        return read_messages(value, where, limits)
    if isinstance(value, dict):
        return read_message(value, where, limits)
    return (Message("assistant", text_of(value, where, limits)),)


def responses_of(value: object, where: str, limits: Limits) -> tuple[Conversation, ...]:
    """Each answer of a list."""
    items = list_of(value, where)
    if len(items) > limits.responses:
        raise DocumentError("too-many-responses", f"{where} has {len(items)} responses, limit {limits.responses}")
    return tuple(response_of(item, f"{where}[{index}]", limits) for index, item in enumerate(items))


def with_system(system: object, messages: Conversation, limits: Limits) -> Conversation:
    """The conversation behind a system text that the record holds beside it; null and empty mean none."""
    if system is None or system == "":
        return messages
    return (Message("system", text_of(system, "system", limits)), *messages)
