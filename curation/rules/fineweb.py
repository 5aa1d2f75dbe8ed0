"""FineWeb's own rules (Penedo et al., 2024, section 3.5), to be used after Gopher's and C4's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from curation.batch import Batch, text_buffers
from curation.rules.columns import by_language, counts, of_language, ratios
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field
from curation.text.charclass import character_flags, unicode_version
from curation.text.lines import prose_lines
from curation.text.utf8 import read_only
from curation.text.words import words, words_are_characters


class FineWebParameters(Parameters):
    """Thresholds of the rules; ``null`` switches a rule off for a language.

    Those of Chinese, Japanese, Thai, Lao, Khmer and Myanmar are FineWeb-2's, newlines per word divided by 1.6 or
    3 characters a word; but short lines, of which FineWeb-2 makes nothing, count in Chinese and Japanese, too.

    Attributes:
        profile: the published rule set.
        min_line_punctuation: share of lines that end with a terminal mark.
        max_short_lines: share of short lines.
        short_line_length: the most characters that a short line has.
        max_line_duplicate_chars: share of characters in repeated lines.
        max_newlines_per_word: newlines per word.
    """

    profile: Literal["fineweb@1"] = "fineweb@1"
    min_line_punctuation: Threshold = by_language(0.12, 0.106, 0.167, 0.0, 0.0, 0.077, 0.0)
    max_short_lines: Threshold = by_language(0.67, th=None, lo=None, km=None, my=None)
    short_line_length: Threshold = by_language(30, zh=15, ja=15)
    max_line_duplicate_chars: Threshold = by_language(0.01, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
    max_newlines_per_word: Threshold = by_language(0.3, 0.111, 0.101, 0.051, 0.067, 0.222, 0.042)


class FineWeb(Stage):
    """Lines that end like sentences, short lines, repeated lines, lists."""

    name: ClassVar[str] = "fineweb"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = FineWebParameters
    deciding: ClassVar[frozenset[str]] = frozenset(FineWebParameters.model_fields) - {
        "profile",
        "short_line_length",
    }
    parameters: FineWebParameters

    @property
    def schema(self) -> pa.Schema:
        ratio = pa.float64()
        return pa.schema(
            [
                measure_field("nonblank_line_count", pa.int32(), "lines with more than white space"),
                measure_field("line_punctuation_ratio", ratio, "share of lines that end with a terminal mark"),
                measure_field("short_line_ratio", ratio, "share of short lines"),
                measure_field(
                    "line_duplicate_char_ratio",
                    ratio,
                    "share of characters in repeated lines, newlines apart",
                ),
                measure_field("newline_word_ratio", ratio, "newlines per word"),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        return [
            Rule("empty", "nonblank_line_count", ">=", {"default": 1}),
            Rule("line-punctuation", "line_punctuation_ratio", ">=", p.min_line_punctuation),
            Rule("short-lines", "short_line_ratio", "<=", p.max_short_lines),
            Rule("line-duplicates", "line_duplicate_char_ratio", "<=", p.max_line_duplicate_chars),
            Rule("lists", "newline_word_ratio", "<=", p.max_newlines_per_word),
        ]

    def measure(self, batch: Batch) -> Measured:
        languages = batch.languages()
        data, offsets = read_only(*text_buffers(batch.text))
        short = of_language(self.parameters.short_line_length, languages, off=-1)
        lines = prose_lines(data, offsets, character_flags(), short, words_are_characters(languages))
        word_count = np.diff(batch.feature(words).offsets)
        columns = {
            "nonblank_line_count": counts(lines[:, 0]),
            "line_punctuation_ratio": ratios(lines[:, 1], lines[:, 0]),
            "short_line_ratio": ratios(lines[:, 2], lines[:, 0]),
            "line_duplicate_char_ratio": ratios(lines[:, 3], lines[:, 5]),
            "newline_word_ratio": ratios(lines[:, 4], word_count),
        }
        return Measured(columns)

    def facts(self) -> dict[str, str]:
        return {"unicode": unicode_version()}
