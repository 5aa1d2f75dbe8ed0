"""Conversations as tokens: which are said by whom, and which of them are learned.

    <|bos|> <|system|>TEXT<|end|> <|user|>TEXT<|end|> <|assistant|>TEXT<|end|> …

A turn of the assistant is learned, its ``<|end|>`` included and the mark before it not.  Tools that may be called
stand in the system's turn, behind what else it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trainer.data.tokenizer import Vocabulary
from trainer.errors import DataError

Message = Mapping[str, str]
ROLES = ("system", "user", "assistant", "tool")


class Said(NamedTuple):
    """Tokens, and which of them the assistant says (bool)."""

    tokens: np.ndarray
    learned: np.ndarray


def with_tools(messages: Sequence[Message], tools: str | None) -> list[Message]:
    """The messages, with the JSON text of the tools at the end of the system's turn."""
    if not tools:
        return list(messages)
    first = messages[0] if messages and messages[0]["role"] == "system" else None
    said = f"{first['content']}\n\n{tools}" if first and first["content"] else tools
    return [{"role": "system", "content": said}, *messages[1 if first else 0 :]]


def conversation(messages: Sequence[Message], tokenizer: Vocabulary) -> Said:
    """A whole conversation."""
    said = _turns(messages, tokenizer)
    begin = np.array([tokenizer.bos], tokenizer.dtype)
    return Said(np.concatenate([begin, said.tokens]), np.concatenate([[False], said.learned]))


def prompt(messages: Sequence[Message], tokenizer: Vocabulary) -> np.ndarray:
    """What an answer is asked of: ends with the mark of the assistant."""
    asked = np.array([tokenizer.special["<|assistant|>"]], tokenizer.dtype)
    return np.concatenate([conversation(messages, tokenizer).tokens, asked])


def answer(messages: Sequence[Message], tokenizer: Vocabulary) -> Said:
    """What comes behind ``prompt``: turns of which the first is the assistant's; its mark is part of the prompt."""
    if not messages or messages[0]["role"] != "assistant":
        raise DataError("an answer begins with a turn of the assistant")
    said = _turns(messages, tokenizer)
    return Said(said.tokens[1:], said.learned[1:])


def _turns(messages: Sequence[Message], tokenizer: Vocabulary) -> Said:
    texts = tokenizer.encode_all([message["content"] for message in messages])
    tokens, learned = [np.zeros(0, tokenizer.dtype)], [np.zeros(0, bool)]
    for message, text in zip(messages, texts, strict=True):
        if message["role"] not in ROLES:
            raise DataError(f"{message['role']!r} is no role; there are {', '.join(ROLES)}")
        mark = tokenizer.special[f"<|{message['role']}|>"]
        tokens.append(np.concatenate([[mark], text, [tokenizer.end]]).astype(tokenizer.dtype))
        learned.append(np.full(len(text) + 2, message["role"] == "assistant"))
        learned[-1][0] = False
    return Said(np.concatenate(tokens), np.concatenate(learned))
