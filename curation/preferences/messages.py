"""Messages: who speaks, and what; the roles that people write, and the order in which they may follow.

A message is a role and a text.  A call of a tool is an assistant's message whose text is the call: as it
stands in ShareGPT (``function_call``), and as the JSON text of ``tool_calls`` in OpenAI's form, which becomes
a message of its own behind the text that came with it.  Names, ids of calls and all other keys are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from curation.errors import DocumentError
from curation.preferences.limits import Limits
from curation.preferences.values import json_text, kind_of, list_of, shown, text_of

Role = Literal["system", "user", "assistant", "tool"]

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_LONGEST_ROLE = max(map(len, ROLES))

# Who may speak next.  An assistant may speak twice (a text, then a call), tools too (several calls at once).
_NEXT: Mapping[Role | None, frozenset[Role]] = {
    None: frozenset({"system", "user"}),
    "system": frozenset({"user"}),
    "user": frozenset({"assistant"}),
    "assistant": frozenset({"user", "assistant", "tool"}),
    "tool": frozenset({"assistant", "tool"}),
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str


Conversation = tuple[Message, ...]


def role_of(value: object, where: str) -> Role:
    """The role that a name stands for, whatever its case; ``wrong-role`` for a name that is not known."""
    if not isinstance(value, str):
        raise DocumentError("wrong-role", f"the role of {where} is {kind_of(value)}")
    role = ROLES.get(value.lower()) if len(value) <= _LONGEST_ROLE else None
    if role is None:
        raise DocumentError("wrong-role", f"the role of {where} is {shown(value)}")
    return role


def read_messages(value: object, where: str, limits: Limits) -> Conversation:
    """A list of messages, ``{role, content}`` or ``{from, value}`` throughout."""
    items = list_of(value, where)
    if len(items) > limits.turns:
        raise DocumentError("too-many-turns", f"{where} has {len(items)} turns, limit {limits.turns}")
    messages: list[Message] = []
    keys = None
    for index, item in enumerate(items):
        here = f"{where}[{index}]"
        found = _keys(item, here)
        if keys is not None and found != keys:
            raise DocumentError("mixed-schema", f"{here} has {found[0]!r}, the messages before it {keys[0]!r}")
        keys = found
        messages += _read(item, found, here, limits)
    return tuple(messages)


def read_message(value: object, where: str, limits: Limits) -> Conversation:
    """One message; two where an assistant both says something and calls a tool."""
    return tuple(_read(value, _keys(value, where), where, limits))


def _keys(item: object, where: str) -> tuple[str, str]:
    """The names of role and text in a message."""
    if not isinstance(item, dict):
        raise DocumentError("malformed-message", f"{where} is {kind_of(item)}")
    if ("role" in item) == ("from" in item):
        why = "has both 'role' and 'from'" if "role" in item else "has neither 'role' nor 'from'"
        raise DocumentError("malformed-message", f"{where} {why}")
    return ("role", "content") if "role" in item else ("from", "value")


def _read(item: Any, keys: tuple[str, str], where: str, limits: Limits) -> list[Message]:
    role = role_of(item[keys[0]], where)
    calls = _calls(item, where)
    if keys[1] not in item and calls is None:
        raise DocumentError("malformed-message", f"{where} has no {keys[1]!r}")
    content = item.get(keys[1])
    if calls is None:
        return [Message(role, _text(content, where, limits))]
    if role != "assistant":
        raise DocumentError("wrong-role", f"{where} calls a tool and is no assistant's")
    call = Message(role, json_text(calls, f"the call in {where}", limits))
    return [Message(role, _text(content, where, limits)), call] if content else [call]


def _calls(item: Any, where: str) -> object:
    """Calls of tools beside the text of a message; None where there are none."""
    for name, type_ in (("tool_calls", list), ("function_call", dict)):
        if item.get(name):
            if not isinstance(item[name], type_):
                raise DocumentError("malformed-message", f"{name} in {where} is {kind_of(item[name])}")
            return cast(object, item[name])
    return None


def _text(content: object, where: str, limits: Limits) -> str:
    """The text of a message; a list of parts counts where it is one part of text."""
    if not isinstance(content, list):
        return text_of(content, where, limits)
    part = content[0] if len(content) == 1 else None
    if not isinstance(part, dict) or part.get("type") != "text":
        raise DocumentError(
            "unsupported-content", f"{where} is not one part of text but {len(content)} parts or others"
        )
    return text_of(part.get("text"), where, limits)


def check_order(messages: Sequence[Message], where: str, before: Role | None = None) -> None:
    """``wrong-role`` unless each turn may follow the one before it.

    Args:
        before: the role that spoke before the first of them; None at the head of a conversation.
    """
    for index, message in enumerate(messages):
        if message.role not in _NEXT[before]:
            after = f"after a turn of {before}" if before else "at the head"
            raise DocumentError("wrong-role", f"{where}[{index}] is a turn of {message.role} {after}")
        before = message.role


def check_prompt(prompt: Conversation, where: str = "the prompt") -> None:
    """A prompt asks something, and ends where an answer is due: with a turn of the user or of a tool."""
    check_order(prompt, where)
    if not asks(prompt):
        raise DocumentError("empty-prompt", f"no turn of the user in {where} says anything")
    if prompt[-1].role not in ("user", "tool"):
        raise DocumentError("wrong-role", f"{where} ends with a turn of {prompt[-1].role}")


def check_response(prompt: Conversation, response: Conversation, where: str) -> None:
    """A response begins and ends with a turn of the assistant; it may be empty text."""
    if not response:
        raise DocumentError("missing-response", f"{where} has no turn")
    if response[0].role != "assistant":
        raise DocumentError("wrong-role", f"{where} begins with a turn of {response[0].role}")
    check_order(response, where, prompt[-1].role)
    if response[-1].role != "assistant":
        raise DocumentError("missing-response", f"{where} ends with a turn of {response[-1].role}")


def check_conversation(messages: Conversation, where: str = "messages") -> None:
    """A whole conversation: something is asked, and the last word is the assistant's."""
    check_order(messages, where)
    if not asks(messages):
        raise DocumentError("empty-prompt", f"no turn of the user in {where} says anything")
    if messages[-1].role != "assistant":
        raise DocumentError("missing-response", f"{where} ends with a turn of {messages[-1].role}")


def asks(messages: Sequence[Message]) -> bool:
    """Whether any turn of the user holds more than white space."""
    return any(message.role == "user" and message.content.strip() for message in messages)


def prompt_length(messages: Sequence[Message]) -> int:
    """How many leading turns end with the last turn of a user or tool; 0 where there is none."""
    for index in range(len(messages), 0, -1):
        if messages[index - 1].role in ("user", "tool"):
            return index
    return 0


def as_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    """As trainers and Arrow take them."""
    return [{"role": cast(str, message.role), "content": message.content} for message in messages]
