"""What the rows of each kind of dataset become in the cache.

| kind | ragged arrays | |
|---|---|---|
| corpus | ``tokens`` | ``<\\|bos\\|>`` text ``<\\|eos\\|>`` |
| instructions | ``tokens``, ``learned`` | the conversation, and which tokens are the assistant's |
| preferences | ``prompt``, ``chosen``, ``chosen.learned``, ``rejected``, ``rejected.learned`` | |

Beside them flat arrays: ``hash`` (64 bits of what a row is held out by), ``split`` (-1 nobody said, 0 train, 1 held
out), ``language`` and ``domain`` (codes, named in the facts; -1 none), for preferences ``margin`` and ``ranking``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.data import chat
from trainer.data.cache import Entry, Writer, cache_key, cached
from trainer.data.dataset import Dataset
from trainer.data.tokenizer import Vocabulary
from trainer.errors import DataError

VERSION = 1
LABELS = ("language", "domain")
SPLITS = {None: -1, "train": 0, "held-out": 1}
COLUMNS = {
    "corpus": ("id", "text", "language", "domain", "split"),
    "instructions": ("messages", "tools", "language", "split"),
    "preferences": ("prompt", "chosen", "rejected", "margin", "ranking_id", "tools", "language", "split"),
}


def encoded(dataset: Dataset, tokenizer: Vocabulary, folder: Path, check: bool = True) -> Entry:
    """A dataset version as tokens, from the cache in ``folder`` where they are there."""
    columns = [name for name in COLUMNS[dataset.kind] if name in dataset.schema.names]
    key = cache_key(VERSION, dataset.manifest_digest, tokenizer.identity, columns)
    return cached(folder, key, lambda writer: _encode(dataset, tokenizer, columns, writer), check)


def _encode(dataset: Dataset, tokenizer: Vocabulary, columns: Sequence[str], writer: Writer) -> None:
    names: dict[str, dict[str, int]] = {label: {} for label in LABELS}
    rankings: dict[str, int] = {}
    rows = {"corpus": _corpus, "instructions": _instructions, "preferences": _preferences}[dataset.kind]
    for batch in dataset.batches(columns, 1024):
        try:
            rows(batch, tokenizer, writer)
        except DataError as error:
            raise DataError(f"{dataset.location}: {error}") from None
        writer.append("split", _split(batch))
        for label in LABELS:
            writer.append(label, _codes(_column(batch, label), names[label]))
        if dataset.kind == "preferences":
            writer.append("margin", np.array([np.nan if m is None else m for m in _column(batch, "margin")], float))
            writer.append("ranking", _codes(_column(batch, "ranking_id"), rankings))
    writer.facts.update(kind=dataset.kind, rows=dataset.rows, **{label: list(names[label]) for label in LABELS})


def _corpus(batch: pa.RecordBatch, tokenizer: Vocabulary, writer: Writer) -> None:
    texts = [text or "" for text in _column(batch, "text")]
    writer.append_ragged("tokens", enclosed(tokenizer.encode_all(texts), tokenizer))
    writer.append("hash", _hashes(_column(batch, "id")))


def enclosed(texts: Sequence[np.ndarray], tokenizer: Vocabulary) -> list[np.ndarray]:
    """Documents between ``<|bos|>`` and ``<|eos|>``."""
    begin, end = np.array([tokenizer.bos], tokenizer.dtype), np.array([tokenizer.eos], tokenizer.dtype)
    return [np.concatenate([begin, text, end]) for text in texts]


def _instructions(batch: pa.RecordBatch, tokenizer: Vocabulary, writer: Writer) -> None:
    conversations = [
        chat.with_tools(messages, tools)
        for messages, tools in zip(_column(batch, "messages"), _column(batch, "tools"), strict=True)
    ]
    said = [chat.conversation(messages, tokenizer) for messages in conversations]
    writer.append_ragged("tokens", [each.tokens for each in said])
    writer.append_ragged("learned", [each.learned for each in said])
    asked = [[turn for turn in messages if turn["role"] == "user"][:1] for messages in conversations]
    writer.append("hash", _hashes(json.dumps(turns) for turns in asked))


def _preferences(batch: pa.RecordBatch, tokenizer: Vocabulary, writer: Writer) -> None:
    prompts = [
        chat.with_tools(messages, tools)
        for messages, tools in zip(_column(batch, "prompt"), _column(batch, "tools"), strict=True)
    ]
    writer.append_ragged("prompt", [chat.prompt(messages, tokenizer) for messages in prompts])
    for side in ("chosen", "rejected"):
        said = [chat.answer(messages, tokenizer) for messages in _column(batch, side)]
        writer.append_ragged(side, [each.tokens for each in said])
        writer.append_ragged(f"{side}.learned", [each.learned for each in said])
    writer.append("hash", _hashes(json.dumps(turns) for turns in prompts))


def _column(batch: pa.RecordBatch, name: str) -> list[Any]:
    return batch.column(name).to_pylist() if name in batch.schema.names else [None] * batch.num_rows


def _split(batch: pa.RecordBatch) -> np.ndarray:
    said = _column(batch, "split")
    strange = sorted({str(name) for name in said if name not in SPLITS})
    if strange:
        raise DataError(f"the column 'split' says {strange[0]!r}; it says train, held-out or nothing")
    return np.array([SPLITS[name] for name in said], np.int8)


def _codes(values: Iterable[str | None], codes: dict[str, int]) -> np.ndarray:
    """Numbers of names, in the order in which they first come."""
    return np.array([-1 if name is None else codes.setdefault(name, len(codes)) for name in values], np.int32)


def _hashes(values: Iterable[str]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(str(value).encode(), digest_size=8).digest() for value in values)
    return np.frombuffer(digests, "<u8")
