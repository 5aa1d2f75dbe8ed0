"""Gopher's quality rules (Rae et al., 2021, section A1.1) as datatrove 0.10.1 implements them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numba import njit
from pydantic import Field, field_validator

from curation.batch import Batch, text_buffers
from curation.rules.columns import by_language, counts, ratios
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field
from curation.text.charclass import character_flags, unicode_version
from curation.text.hashing import find, fold, key_table
from curation.text.lines import marked_lines
from curation.text.ngrams import script_class
from curation.text.utf8 import read_only
from curation.text.words import HAS_LETTER, NOT_SYMBOLIC, Words, split_texts, words

_HAS_LETTER, _NOT_SYMBOLIC = HAS_LETTER, NOT_SYMBOLIC
_MOST_STOP_WORDS = 64  # one bit each

_ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")
# Frequent particles, one character each, in simplified and traditional form.
_CHINESE = tuple("的了是在和有不也就都而与與为為于於被由这這那其以之")
_JAPANESE = tuple("のにをはたてがとでしもな")


class GopherQualityParameters(Parameters):
    """Thresholds of the rules; ``null`` switches a rule off for a language.

    Where words are single characters (Chinese, Japanese, Thai, Lao, Khmer, Myanmar) thresholds on numbers of
    words follow from the published ones by 1.6 or 3 characters a word.

    Attributes:
        profile: the published rule set, and whose reading of it.
        min_words, max_words: words that are more than punctuation.
        min_mean_word_length, max_mean_word_length: characters.
        max_hash_ratio: number signs per word.
        max_ellipsis_ratio: ellipses per word.
        max_bullet_lines: share of lines that start with a bullet.
        max_ellipsis_lines: share of lines that end with an ellipsis.
        min_alphabetic_words: share of words with a letter.
        min_stop_words: distinct stop words of the document's language.
        stop_words: stop words by language code, at most 64 each; the rule is off for languages without.
    """

    profile: Literal["gopher-quality@datatrove"] = "gopher-quality@datatrove"
    min_words: Threshold = by_language(50, 80, 80, 150, 150, 150, 150)
    max_words: Threshold = by_language(100_000, 160_000, 160_000, 300_000, 300_000, 300_000, 300_000)
    min_mean_word_length: Threshold = by_language(3)
    max_mean_word_length: Threshold = by_language(10)
    max_hash_ratio: Threshold = by_language(0.1, 0.0625, 0.0625, 0.033, 0.033, 0.033, 0.033)
    max_ellipsis_ratio: Threshold = by_language(0.1, 0.0625, 0.0625, 0.033, 0.033, 0.033, 0.033)
    max_bullet_lines: Threshold = by_language(0.9)
    max_ellipsis_lines: Threshold = by_language(0.3)
    min_alphabetic_words: Threshold = by_language(0.8, zh=0.735, ja=0.759)
    min_stop_words: Threshold = by_language(2)
    stop_words: dict[str, tuple[str, ...]] = Field(
        default={
            "en": _ENGLISH,
            "und": _ENGLISH,
            "zh": _CHINESE,
            "yue": _CHINESE,
            "wuu": _CHINESE,
            "ja": _JAPANESE,
        }
    )

    @field_validator("stop_words")
    @classmethod
    def _check_stop_words(cls, lists: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for code, items in lists.items():
            if len(set(items)) > _MOST_STOP_WORDS:
                raise ValueError(f"{code}: at most {_MOST_STOP_WORDS} stop words")
            single = np.diff(split_texts(list(items), [code != "en"] * len(items)).offsets) == 1
            if not single.all():
                raise ValueError(f"{code}: {items[int(np.argmin(single))]!r} is not one word, so it is never found")
        return lists


class GopherQuality(Stage):
    """Number and length of words, symbols, bullets, letters and stop words."""

    name: ClassVar[str] = "gopher-quality"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = GopherQualityParameters
    deciding: ClassVar[frozenset[str]] = frozenset(GopherQualityParameters.model_fields) - {
        "profile",
        "stop_words",
    }
    parameters: GopherQualityParameters

    @property
    def schema(self) -> pa.Schema:
        ratio = pa.float64()
        return pa.schema(
            [
                measure_field("word_count", pa.int32(), "words that are more than punctuation"),
                measure_field(
                    "mean_word_length",
                    ratio,
                    "their mean length in characters; null where words are single characters",
                ),
                measure_field("hash_word_ratio", ratio, "number signs per word"),
                measure_field("ellipsis_word_ratio", ratio, "ellipses per word"),
                measure_field("bullet_line_ratio", ratio, "share of lines that start with a bullet or hyphen"),
                measure_field("ellipsis_line_ratio", ratio, "share of lines that end with an ellipsis"),
                measure_field("alphabetic_word_ratio", ratio, "share of words with a letter"),
                measure_field(
                    "stop_word_count", pa.int32(), "distinct stop words; null where the language has no list"
                ),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        return [
            Rule("few-words", "word_count", ">=", p.min_words),
            Rule("many-words", "word_count", "<=", p.max_words),
            Rule("short-words", "mean_word_length", ">=", p.min_mean_word_length),
            Rule("long-words", "mean_word_length", "<=", p.max_mean_word_length),
            Rule("hashes", "hash_word_ratio", "<=", p.max_hash_ratio),
            Rule("ellipses", "ellipsis_word_ratio", "<=", p.max_ellipsis_ratio),
            Rule("bullet-lines", "bullet_line_ratio", "<=", p.max_bullet_lines),
            Rule("ellipsis-lines", "ellipsis_line_ratio", "<=", p.max_ellipsis_lines),
            Rule("few-alphabetic-words", "alphabetic_word_ratio", ">=", p.min_alphabetic_words),
            Rule("few-stop-words", "stop_word_count", ">=", p.min_stop_words),
        ]

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(words)
        data, offsets = read_only(*text_buffers(batch.text))
        lines = marked_lines(data, offsets, character_flags())
        of_words = self._words(found, batch.languages())
        total, symbolic_free, characters, alphabetic, script, stop_words = of_words.T
        columns = {
            "word_count": counts(symbolic_free),
            "mean_word_length": ratios(np.where(script == 0, characters, -1), symbolic_free),
            "hash_word_ratio": ratios(lines[:, 0], total),
            "ellipsis_word_ratio": ratios(lines[:, 1], total),
            "bullet_line_ratio": ratios(lines[:, 3], lines[:, 2]),
            "ellipsis_line_ratio": ratios(lines[:, 4], lines[:, 2]),
            "alphabetic_word_ratio": ratios(alphabetic, total),
            "stop_word_count": pa.array(stop_words, pa.int32(), mask=stop_words < 0),
        }
        return Measured(columns)

    def facts(self) -> dict[str, str]:
        return {"unicode": unicode_version()}

    def _words(self, found: Words, languages: list[str]) -> np.ndarray:
        """See ``_count_words``; stop words are -1 where the language has no list or does not fit the text."""
        lists = {code: number for number, code in enumerate(self.parameters.stop_words)}
        numbers = np.array([lists.get(code, -1) for code in languages], np.int64)
        keys, bits = _stop_word_table(self.parameters.stop_words)
        sums: np.ndarray = _count_words(found.offsets, found.hashes, found.lengths, found.marks, numbers, keys, bits)
        # No language is known: the list for it is English, which says nothing about words that are characters.
        undetermined = np.array([code == "und" for code in languages], bool) & (sums[:, 4] > 0)
        sums[undetermined | (numbers < 0), 5] = -1
        return sums


@njit(cache=True, nogil=True)
def _count_words(offsets: Any, hashes: Any, lengths: Any, marks: Any, lists: Any, keys: Any, bits: Any) -> Any:
    """Counts of each document's words.

    Returns:
        ``int64[n, 6]``: words, those that are not only symbols, their code points, words with a letter, script
        class, distinct stop words.
    """
    found = np.zeros((offsets.size - 1, 6), np.int64)
    for row in range(offsets.size - 1):
        plain, characters, alphabetic, seen = 0, 0, 0, np.uint64(0)
        salt = np.uint64(lists[row] + 1)
        for i in range(offsets[row], offsets[row + 1]):
            if marks[i] & _NOT_SYMBOLIC:
                plain += 1
                characters += lengths[i]
            if marks[i] & _HAS_LETTER:
                alphabetic += 1
            slot = find(keys, fold(salt, hashes[i]))
            if slot >= 0:
                seen |= np.uint64(1) << np.uint64(bits[slot])
        distinct = 0
        while seen != np.uint64(0):
            seen &= seen - np.uint64(1)
            distinct += 1
        found[row, 0], found[row, 1], found[row, 2] = offsets[row + 1] - offsets[row], plain, characters
        found[row, 3], found[row, 4] = alphabetic, script_class(marks, offsets[row], offsets[row + 1])
        found[row, 5] = distinct
    return found


def _stop_word_table(lists: dict[str, tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Table of list number and stop word, and the bit of the word in each slot."""
    keys, bits = [], []
    for number, (code, items) in enumerate(lists.items()):
        distinct = list(dict.fromkeys(items))
        hashes = split_texts(distinct, [code != "en"] * len(distinct)).hashes
        for bit, item in enumerate(hashes):
            keys.append(int(fold(np.uint64(number + 1), item)))
            bits.append(bit)
    table, numbers = key_table(keys)
    return table, np.array([*bits, 0], np.int64)[numbers]
