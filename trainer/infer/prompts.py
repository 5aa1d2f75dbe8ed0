"""What language models are asked: prompts of published versions, or given ones, as tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from trainer.data import chat
from trainer.data.chat import Message
from trainer.data.dataset import Dataset
from trainer.data.encode import SPLITS
from trainer.data.tokenizer import Vocabulary
from trainer.errors import ConfigError, DataError

Form = Literal["chat", "text"]
Split = Literal["train", "held-out"]


class Asked(NamedTuple):
    """A prompt of a dataset.

    messages: turns before the answer, with the tools that may be called.
    reference: the answer that the data has: the better one of a pair, the last one of a conversation.
    """

    messages: list[Message]
    reference: list[Message]


def asked(datasets: Sequence[Dataset], first: int, split: Split | None = None) -> list[Asked]:
    """The first different prompts of preferences and instructions, in published order.

    Args:
        split: of rows that say so themselves; None: all rows.

    Raises:
        DataError: there is none, or a dataset is a corpus.
    """
    found: dict[str, Asked] = {}
    for dataset in datasets:
        for each in _read(dataset, split):
            found.setdefault(json.dumps(each.messages, sort_keys=True), each)
            if len(found) == first:
                return list(found.values())
    if not found:
        raise DataError("the datasets have no prompts" + (f" whose column 'split' says {split!r}" if split else ""))
    return list(found.values())


def _read(dataset: Dataset, split: Split | None) -> Iterator[Asked]:
    if dataset.kind == "corpus":
        raise DataError(f"{dataset.location}: prompts are read from preferences or instructions, not from a corpus")
    wanted = ("prompt", "chosen") if dataset.kind == "preferences" else ("messages",)
    columns = [name for name in (*wanted, "tools", "split") if name in dataset.schema.names]
    for batch in dataset.batches(columns, 1024):
        for row in rows_of(batch, split):
            turns = row["prompt"] + row["chosen"] if dataset.kind == "preferences" else row["messages"]
            last = max((n for n, turn in enumerate(turns) if turn["role"] != "assistant"), default=-1) + 1
            begin = len(row["prompt"]) if dataset.kind == "preferences" else last
            if turns[begin:]:
                yield Asked(chat.with_tools(turns[:begin], row.get("tools")), turns[begin:])


def rows_of(batch: pa.RecordBatch, split: Split | None) -> list[dict[str, Any]]:
    """Rows of one split, of those that name one; all without."""
    rows: list[dict[str, Any]] = batch.to_pylist()
    if split is None:
        return rows
    return [row for row in rows if SPLITS.get(row.get("split")) == SPLITS[split]]


def with_system(messages: Sequence[Message], system: str | None) -> list[Message]:
    """The messages behind a turn of the system, unless they have one."""
    if system is None or (messages and messages[0]["role"] == "system"):
        return list(messages)
    return [{"role": "system", "content": system}, *messages]


def form_of(facts: Mapping[str, Any], wanted: Form | None) -> Form:
    """How a model is asked: ``wanted``, or what suits it by the stage that it comes from."""
    return wanted or ("text" if facts.get("stage") == "pretrain" else "chat")


def encode(messages: Sequence[Message], tokenizer: Vocabulary, form: Form) -> np.ndarray:
    """Tokens of a prompt (int64): as a chat that the assistant is to answer, or as text to go on with."""
    if form == "chat":
        return chat.prompt(messages, tokenizer).astype(np.int64)
    text = "\n\n".join(message["content"] for message in messages)
    return np.concatenate([[tokenizer.bos], tokenizer.encode(text)]).astype(np.int64)


def key_of(tokens: np.ndarray) -> int:
    """A prompt's identity for random numbers: the same wherever it stands."""
    return int.from_bytes(hashlib.blake2b(tokens.tobytes(), digest_size=8).digest(), "little")


def given_prompts(prompts: Iterable[Any], pointer: str = "/config/prompts") -> list[list[Message]]:
    """Prompts of a configuration, each a text or a list of messages.

    Raises:
        ConfigError: for anything else.
    """
    found: list[list[Message]] = []
    for number, prompt in enumerate(prompts):
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            known = ", ".join(chat.ROLES)
            raise ConfigError(
                f"{pointer}/{number}", f"a text or a list of messages with 'role' ({known}) and 'content' is expected"
            )
        found.append(messages)
    return found


def _is_message(turn: Any) -> bool:
    if not isinstance(turn, Mapping) or set(turn) != {"role", "content"}:
        return False
    return turn["role"] in chat.ROLES and isinstance(turn["content"], str)


def stops(tokenizer: Vocabulary) -> frozenset[int]:
    """Tokens that end an answer: all special ones, as whoever says one has ended or fallen out of its part."""
    return frozenset(tokenizer.special.values())
