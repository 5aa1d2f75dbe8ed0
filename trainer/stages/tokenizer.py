"""Tokenizers: fitted on the texts of datasets, for one model or by themselves, so that several models can share one.

There are no steps and nothing is drawn.  The same texts, in any order, give the same bytes, so a fitting that was
interrupted begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from trainer.data.dataset import Dataset
from trainer.data.tokenizer import ByteTokenizer, Vocabulary, fit
from trainer.errors import DataError
from trainer.ranges import Checked, Range

AT_ONCE = 1024  # texts that are encoded together


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Checked):
    """The tokenizer of models that start from nothing.

    Attributes:
        kind: bytes as they are, or byte pairs fitted on the datasets of this training.
        size: of a fitted vocabulary, special tokens counted; smaller where the texts do not give as many.
    """

    kind: Literal["bytes", "bpe"] = "bpe"
    size: int = field(default=16384, metadata={"limit": Range(256, 1 << 20)})


def fitted(config: TokenizerConfig, datasets: Sequence[Dataset]) -> Vocabulary:
    """A tokenizer for the texts of datasets."""
    return ByteTokenizer() if config.kind == "bytes" else fit(texts(datasets), config.size)


def texts(datasets: Iterable[Dataset]) -> Iterator[str]:
    """Every text of datasets."""
    return (text for dataset in datasets for text in dataset.texts())


def measured(tokenizer: Vocabulary, given: Iterable[str]) -> dict[str, float]:
    """Size of the vocabulary, and how short it makes texts; special tokens around them are not counted.

    Raises:
        DataError: no text has a byte.
    """
    rest, count, size, tokens = iter(given), 0, 0, 0
    while some := list(islice(rest, AT_ONCE)):
        count += len(some)
        size += sum(len(text.encode()) for text in some)
        tokens += sum(map(len, tokenizer.encode_all(some)))
    if not tokens:
        raise DataError("the datasets have no text to fit a tokenizer on")
    return {"vocab": tokenizer.size, "texts": count, "bytes": size, "tokens": tokens, "bytes_per_token": size / tokens}
