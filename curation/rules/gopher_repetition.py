"""Gopher's repetition rules (Rae et al., 2021, table A1) as datatrove 0.10.1 implements them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import model_validator

from curation.batch import Batch, text_buffers
from curation.rules.columns import by_language, counts, ratios
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field
from curation.text.charclass import character_flags, unicode_version
from curation.text.lines import repeated_lines
from curation.text.ngrams import REPEATED_ORDERS, TOP_ORDERS, repeated_ngrams
from curation.text.utf8 import read_only
from curation.text.words import words


class GopherRepetitionParameters(Parameters):
    """Largest shares that are kept; ``null`` switches a rule off for a language.

    Those of Chinese, Japanese, Thai, Lao, Khmer and Myanmar are FineWeb-2's, of its configurations cmn_Hani,
    jpn_Jpan, tha_Thai, lao_Laoo, khm_Khmr and mya_Mymr (https://github.com/huggingface/fineweb-2).

    Attributes:
        profile: the published rule set, and whose reading of it; ``none``: no rule but those that are given.
        max_duplicate_lines, max_duplicate_paragraphs: share of lines or paragraphs that repeat an earlier one.
        max_duplicate_line_chars, max_duplicate_paragraph_chars: share of characters in these.
        max_top_2gram_chars, max_top_3gram_chars, max_top_4gram_chars: share of characters in the most frequent
            n-gram of words.
        max_duplicate_5gram_chars and on to 10: share of characters in n-grams that repeat an earlier one.
    """

    profile: Literal["gopher-repetition@datatrove", "none"] = "gopher-repetition@datatrove"
    max_duplicate_lines: Threshold = by_language(0.3, 0.287, 0.375, 0.349, 0.327, 0.92, 0.308)
    max_duplicate_paragraphs: Threshold = by_language(0.3)
    max_duplicate_line_chars: Threshold = by_language(0.2)
    max_duplicate_paragraph_chars: Threshold = by_language(0.2)
    max_top_2gram_chars: Threshold = by_language(0.2, 0.256, 0.121, 0.221, 0.198, 0.165, 0.074)
    max_top_3gram_chars: Threshold = by_language(0.18, 0.201, 0.129, 0.197, 0.175, 0.225, 0.097)
    max_top_4gram_chars: Threshold = by_language(0.16, 0.171, 0.145, 0.162, 0.143, 0.242, 0.115)
    max_duplicate_5gram_chars: Threshold = by_language(0.15, 0.198, 0.307, 0.185, 0.187, 0.197, 0.161)
    max_duplicate_6gram_chars: Threshold = by_language(0.14, 0.182, 0.283, 0.168, 0.175, 0.168, 0.132)
    max_duplicate_7gram_chars: Threshold = by_language(0.13, 0.167, 0.264, 0.152, 0.163, 0.148, 0.118)
    max_duplicate_8gram_chars: Threshold = by_language(0.12, 0.154, 0.248, 0.137, 0.149, 0.126, 0.101)
    max_duplicate_9gram_chars: Threshold = by_language(0.11, 0.14, 0.234, 0.124, 0.135, 0.107, 0.09)
    max_duplicate_10gram_chars: Threshold = by_language(0.1, 0.127, 0.223, 0.111, 0.123, 0.094, 0.079)

    @model_validator(mode="before")
    @classmethod
    def _only_those_given(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("profile") == "none":
            return {**dict.fromkeys(name for name in cls.model_fields if name.startswith("max_")), **given}
        return given


class GopherRepetition(Stage):
    """Repeated lines, paragraphs and n-grams of words."""

    name: ClassVar[str] = "gopher-repetition"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = GopherRepetitionParameters
    deciding: ClassVar[frozenset[str]] = frozenset(GopherRepetitionParameters.model_fields) - {"profile"}
    parameters: GopherRepetitionParameters

    @property
    def schema(self) -> pa.Schema:
        ratio = pa.float64()
        fields = [
            measure_field("character_count", pa.int32(), "code points of the text"),
            measure_field("duplicate_line_ratio", ratio, "share of lines that repeat an earlier one"),
            measure_field("duplicate_paragraph_ratio", ratio, "share of paragraphs that repeat an earlier one"),
            measure_field("duplicate_line_char_ratio", ratio, "share of characters in repeated lines"),
            measure_field("duplicate_paragraph_char_ratio", ratio, "share of characters in repeated paragraphs"),
        ]
        for n in TOP_ORDERS:
            name = f"top_{n}gram_char_ratio"
            fields.append(measure_field(name, ratio, f"share of characters in the most frequent {n}-gram of words"))
        for n in REPEATED_ORDERS:
            name = f"duplicate_{n}gram_char_ratio"
            fields.append(measure_field(name, ratio, f"share of characters in repeated {n}-grams of words"))
        return pa.schema(fields)

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        rules = [
            Rule("empty", "character_count", ">=", {"default": None if p.profile == "none" else 1}),
            Rule("duplicate-paragraphs", "duplicate_paragraph_ratio", "<=", p.max_duplicate_paragraphs),
            Rule(
                "duplicate-paragraph-chars",
                "duplicate_paragraph_char_ratio",
                "<=",
                p.max_duplicate_paragraph_chars,
            ),
            Rule("duplicate-lines", "duplicate_line_ratio", "<=", p.max_duplicate_lines),
            Rule("duplicate-line-chars", "duplicate_line_char_ratio", "<=", p.max_duplicate_line_chars),
        ]
        for n in TOP_ORDERS:
            limit = getattr(p, f"max_top_{n}gram_chars")
            rules.append(Rule(f"top-{n}gram-chars", f"top_{n}gram_char_ratio", "<=", limit))
        for n in REPEATED_ORDERS:
            limit = getattr(p, f"max_duplicate_{n}gram_chars")
            rules.append(Rule(f"duplicate-{n}gram-chars", f"duplicate_{n}gram_char_ratio", "<=", limit))
        return rules

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(words)
        data, offsets = read_only(*text_buffers(batch.text))
        lines = repeated_lines(data, offsets, character_flags())
        ngrams = repeated_ngrams(found.offsets, found.hashes, found.lengths, found.marks)
        characters = lines[:, 6]
        columns = {
            "character_count": counts(characters),
            "duplicate_line_ratio": ratios(lines[:, 1], lines[:, 0]),
            "duplicate_paragraph_ratio": ratios(lines[:, 4], lines[:, 3]),
            "duplicate_line_char_ratio": ratios(lines[:, 2], characters),
            "duplicate_paragraph_char_ratio": ratios(lines[:, 5], characters),
        }
        names = [f"top_{n}gram_char_ratio" for n in TOP_ORDERS]
        names += [f"duplicate_{n}gram_char_ratio" for n in REPEATED_ORDERS]
        columns |= {name: ratios(ngrams[:, place], characters) for place, name in enumerate(names)}
        return Measured(columns)

    def facts(self) -> dict[str, str]:
        return {"unicode": unicode_version()}
