"""The text of a row of preference or instruction data: canonical JSON of its conversations.

A pair is ``{"chosen":[…],"prompt":[…],"rejected":[…]}``, an instruction ``{"messages":[…]}``; a message is
``{"content":…,"role":…}``.  Canonical: sorted keys, no white space, nothing escaped that need not be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from curation.errors import DocumentError
from curation.preferences.messages import Conversation, Message, Role, as_dicts
from curation.preferences.values import kind_of, list_of, shown
from curation.read import clean

Side = Literal["prompt", "chosen", "rejected", "response"]
Entry = Mapping[Side, Conversation]

PAIR: tuple[Side, ...] = ("prompt", "chosen", "rejected")
INSTRUCTION: tuple[Side, ...] = ("prompt", "response")
_ROLES = frozenset(get_args(Role))


def parse(text: str | None) -> Entry:
    """The conversations of a row by side: those of ``PAIR``, or those of ``INSTRUCTION``.

    The response of an instruction is its last turn, the prompt all before it.  Sides of a pair may have no turn.

    Raises:
        DocumentError: and nothing else, whatever the text is.
    """
    record = _load(text or "")
    if set(record) == {"messages"}:
        messages = _messages(record["messages"], "messages")
        if not messages or messages[-1].role != "assistant":
            end = f"ends with a turn of {messages[-1].role}" if messages else "has no turn"
            raise DocumentError("missing-response", f"messages {end}")
        return {"prompt": messages[:-1], "response": messages[-1:]}
    if set(record) == set(PAIR):
        return {side: _messages(record[side], side) for side in PAIR}
    names = ", ".join(shown(name) for name in sorted(record)[:5])
    raise DocumentError("unknown-shape", f"neither a pair nor an instruction: has {names or 'no field'}")


def dump(entry: Entry) -> str:
    """The canonical text of a row."""
    if "response" in entry:
        return _json({"messages": as_dicts([*entry["prompt"], *entry["response"]])})
    return _json({side: as_dicts(entry[side]) for side in PAIR})


def _load(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise DocumentError("malformed-json-record", f"the text is {why}") from None
    if not isinstance(record, dict):
        raise DocumentError("malformed-json-record", f"the text is {kind_of(record)}, not an object")
    return record


def _messages(value: object, side: str) -> Conversation:
    return tuple(_message(item, f"{side}[{index}]") for index, item in enumerate(list_of(value, side)))


def _message(item: object, where: str) -> Message:
    if not isinstance(item, dict) or set(item) != {"content", "role"}:
        raise DocumentError("malformed-message", f"{where} is not an object with 'content' and 'role'")
    role, content = item["role"], item["content"]
    if not isinstance(role, str) or role not in _ROLES:
        raise DocumentError("wrong-role", f"the role of {where} is {shown(role) if isinstance(role, str) else 'none'}")
    if not isinstance(content, str):
        raise DocumentError("not-a-string", f"{where} is {kind_of(content)}")
    return Message(role, clean(content) or "")  # type: ignore[arg-type]


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _json(value: object) -> str:
    return _ENCODER.encode(value)
