r"""Transcripts of Anthropic's HH-RLHF: turns that begin with "\n\nHuman:" or "\n\nAssistant:".

A marker counts wherever it stands behind an empty line; one space behind it belongs to it.  Everything else
is text of a turn, to the character, so that ``join_transcript`` gives the transcript back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from curation.errors import DocumentError
from curation.preferences.limits import Limits
from curation.preferences.messages import Conversation, Message, Role
from curation.preferences.values import shown, text_of

_SPEAKERS: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}
_NAMES = {role: name for name, role in _SPEAKERS.items()}
_MARKER = re.compile(r"\n\n(Human|Assistant): ?")
_HEAD = re.compile(r"\n{0,2}(Human|Assistant):")


def is_transcript(value: object) -> bool:
    """Whether a value is a text that begins with a turn; the empty line before the first may be missing."""
    return isinstance(value, str) and _HEAD.match(value) is not None


def split_transcript(value: object, where: str, limits: Limits) -> Conversation:
    """The turns of a transcript; ``malformed-transcript`` where it does not begin with one."""
    text = text_of(value, where, limits)
    head = _HEAD.match(text)
    if head is None:
        raise DocumentError("malformed-transcript", f"{where} begins with {shown(text)}, not with '\\n\\nHuman:'")
    parts = _MARKER.split("\n\n" + text[head.start(1) :])
    if len(parts) // 2 > limits.turns:
        raise DocumentError("too-many-turns", f"{where} has {len(parts) // 2} turns, limit {limits.turns}")
    return tuple(Message(_SPEAKERS[name], said) for name, said in zip(parts[1::2], parts[2::2], strict=True))


def join_transcript(messages: Sequence[Message]) -> str:
    """The transcript of turns of users and assistants."""
    return "".join(f"\n\n{_NAMES[message.role]}: {message.content}" for message in messages)


def split_prompt(value: object, where: str, limits: Limits) -> Conversation:
    """The turns of a transcript that ends with the marker of the answer to come, which goes."""
    turns = split_transcript(value, where, limits)
    if turns[-1].role != "assistant" or turns[-1].content.strip():
        raise DocumentError("malformed-transcript", f"{where} does not end with '\\n\\nAssistant:'")
    return turns[:-1]
