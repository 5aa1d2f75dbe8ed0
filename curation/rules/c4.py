"""C4's rules (Raffel et al., 2020, section 2.2) as datatrove 0.10.1 implements them: lines go, then pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from curation.batch import Batch, text_buffers
from curation.rules import c4_lines
from curation.rules.c4_lines import kept_lines
from curation.rules.columns import by_language, counts, of_language
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field
from curation.text.charclass import character_flags, unicode_version
from curation.text.utf8 import read_only
from curation.text.words import count_sentences, words_are_characters

_NEVER = 1 << 62


class C4Parameters(Parameters):
    """Thresholds of the rules; ``null`` switches a rule off for a language.

    Where words are single characters, words of a line follow from the published three by 1.6 or 3 characters a
    word.

    Attributes:
        profile: the published rule set, and whose reading of it.
        min_sentences: sentences that are left of a page.
        min_words_per_line: a line with fewer words is taken out.
        max_word_length: a line with a word of more characters is taken out.
        without_terminal_marks: languages whose lines need no terminal mark, because their script has none.
        max_lorem_ipsum_lines: lines with "lorem ipsum" that a page may have.
        max_curly_bracket_lines: lines with ``{`` that a page may have.
    """

    profile: Literal["c4@datatrove"] = "c4@datatrove"
    min_sentences: Threshold = by_language(5, zh=3, ja=3, th=None, lo=None)
    min_words_per_line: Threshold = by_language(3, 5, 5, 9, 9, 9, 9)
    max_word_length: Threshold = by_language(1000)
    without_terminal_marks: tuple[str, ...] = ("th", "lo")
    max_lorem_ipsum_lines: Threshold = by_language(0)
    max_curly_bracket_lines: Threshold = by_language(0)


_LINE_COUNTS = {
    "c4_line_count": (c4_lines.LINES, "lines of the page"),
    "c4_kept_line_count": (c4_lines.KEPT, "lines that are left"),
    "c4_long_word_line_count": (c4_lines.LONG_WORD, "lines taken out for a word that is too long"),
    "c4_unfinished_line_count": (c4_lines.UNFINISHED, "lines taken out for want of a terminal mark"),
    "c4_few_word_line_count": (c4_lines.FEW_WORDS, "lines taken out for too few words"),
    "c4_javascript_line_count": (c4_lines.WITH_JAVASCRIPT, "lines taken out for naming JavaScript"),
    "c4_policy_line_count": (c4_lines.WITH_POLICY, "lines taken out for naming a policy or cookies"),
    "c4_lorem_ipsum_line_count": (c4_lines.WITH_LOREM_IPSUM, "finished lines with lorem ipsum"),
    "c4_curly_bracket_line_count": (c4_lines.WITH_CURLY, "finished lines with a curly bracket"),
}


class C4(Stage):
    """Keeps the lines that end like sentences; drops pages of code, of placeholder text and of few sentences."""

    name: ClassVar[str] = "c4"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = C4Parameters
    deciding: ClassVar[frozenset[str]] = frozenset(
        {"min_sentences", "max_lorem_ipsum_lines", "max_curly_bracket_lines"}
    )
    parameters: C4Parameters

    @property
    def schema(self) -> pa.Schema:
        fields = [measure_field(name, pa.int32(), text) for name, (_, text) in _LINE_COUNTS.items()]
        return pa.schema([*fields, measure_field("c4_sentence_count", pa.int32(), "sentences of the lines left")])

    @property
    def changes_text(self) -> bool:
        return True

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        return [
            Rule("lorem-ipsum", "c4_lorem_ipsum_line_count", "<=", p.max_lorem_ipsum_lines),
            Rule("curly-bracket", "c4_curly_bracket_line_count", "<=", p.max_curly_bracket_lines),
            Rule("few-sentences", "c4_sentence_count", ">=", p.min_sentences),
        ]

    def measure(self, batch: Batch) -> Measured:
        languages = batch.languages()
        data, offsets = read_only(*text_buffers(batch.text))
        unspaced = words_are_characters(languages)
        out, out_offsets, starts, stops, first_lines, found = kept_lines(
            data,
            offsets,
            character_flags(),
            unspaced,
            np.array([code in self.parameters.without_terminal_marks for code in languages], bool),
            of_language(self.parameters.min_words_per_line, languages, off=0),
            of_language(self.parameters.max_word_length, languages, off=_NEVER),
        )
        of_lines = count_sentences(out, starts, stops, np.repeat(unspaced, np.diff(first_lines)))
        sums = np.concatenate([[0], np.cumsum(of_lines, dtype=np.int64)])
        columns = {name: counts(found[:, place]) for name, (place, _) in _LINE_COUNTS.items()}
        columns["c4_sentence_count"] = counts(sums[first_lines[1:]] - sums[first_lines[:-1]])
        text = pa.LargeStringArray.from_buffers(len(batch), pa.py_buffer(out_offsets), pa.py_buffer(out))
        return Measured(columns, text=text)

    def facts(self) -> dict[str, str]:
        return {"unicode": unicode_version()}
