"""The ``flagged-words`` stage: how many words of a list each side holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa
from pydantic import Field

from curation.batch import Batch
from curation.duplicates.shingles import facts
from curation.errors import InputError
from curation.pair_stages.canonical import Side
from curation.pair_stages.sides import SideNames, result, sides_of
from curation.pair_stages.thresholds import off
from curation.preferences.digests import normalised
from curation.rules.columns import UNSPACED
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field

_SIDES: tuple[Side, ...] = ("prompt", "chosen", "rejected")
_LARGEST = 4 << 20


class FlaggedWordsParameters(Parameters):
    """Parameters of the stage; without a list nothing is measured.

    Attributes:
        sides: the sides that are looked at.
        words: by language code, a file with one word or phrase a line; ``#`` begins a remark.
        max_flagged_words: how many a side may hold.
    """

    sides: SideNames = _SIDES
    words: dict[str, Path] = Field(default_factory=dict)
    max_flagged_words: Threshold = off()

    def resolved(self, root: Path) -> Self:
        return self.model_copy(update={"words": {code: root / path for code, path in self.words.items()}})


class FlaggedWords(Stage):
    """Occurrences of listed words, by all lists whatever the language is: people swear in several.

    Words of scripts written with spaces are found between characters that are no letters or digits, others anywhere.
    """

    name: ClassVar[str] = "flagged-words"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = FlaggedWordsParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"max_flagged_words"})
    parameters: FlaggedWordsParameters

    def __init__(self, parameters: FlaggedWordsParameters) -> None:
        super().__init__(parameters)
        self._lists = {code: _read(path) for code, path in sorted(parameters.words.items())}

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field(f"{side}_flagged_words", pa.int32(), f"{side}: flagged words; null without a list")
                for side in self.parameters.sides
            ]
        )

    def rules(self) -> Sequence[Rule]:
        limit = self.parameters.max_flagged_words
        return [Rule(f"{side}-flagged-words", f"{side}_flagged_words", "<=", limit) for side in self.parameters.sides]

    def facts(self) -> dict[str, str]:
        """Digests of the lists, version of Unicode."""
        return {**facts(), **{f"words.{code}": digest for code, (digest, _) in self._lists.items()}}

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(sides_of)
        pattern = _pattern(tuple((code, words) for code, (_, words) in self._lists.items()))
        columns = {
            f"{side}_flagged_words": pa.array(
                [None if pattern is None else _count(pattern, text) for text in found.text(side).to_pylist()],
                pa.int32(),
            )
            for side in self.parameters.sides
        }
        return result(columns, found.without(self.parameters.sides))


def _count(pattern: re.Pattern[str], text: str) -> int:
    return sum(1 for _ in pattern.finditer(normalised(text)))


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest and words of a list."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"the list of words cannot be read: {error.strerror}", str(path)) from None
    except UnicodeDecodeError:
        raise InputError("the list of words is not UTF-8", str(path)) from None
    if len(content) > _LARGEST:
        raise InputError(f"a list of words has at most {_LARGEST} bytes", str(path))
    words = {normalised(line) for line in text.splitlines() if not line.startswith("#")} - {""}
    if not words:
        raise InputError("the list of words is empty", str(path))
    return hashlib.sha256(content).hexdigest(), tuple(sorted(words, key=lambda word: (-len(word), word)))


@cache
def _pattern(lists: tuple[tuple[str, tuple[str, ...]], ...]) -> re.Pattern[str] | None:
    """All lists as one expression, longer words first."""
    spelled = [
        (word, re.escape(word) if code in UNSPACED else rf"(?<!\w){re.escape(word)}(?!\w)")
        for code, words in lists
        for word in words
    ]
    ordered = sorted(spelled, key=lambda pair: (-len(pair[0]), pair))
    return re.compile("|".join(expression for _, expression in ordered)) if ordered else None
