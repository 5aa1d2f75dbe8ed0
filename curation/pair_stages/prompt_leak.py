"""The ``prompt-leak`` stage: how much of an answer is the prompt again, or what a template left behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from curation.batch import Batch
from curation.duplicates.shingles import facts
from curation.pair_stages.copies import copied_words
from curation.pair_stages.sides import ANSWERS, AnswerNames, result, sides_of
from curation.pair_stages.table import read_table, table_digest
from curation.pair_stages.thresholds import Share, off
from curation.rules.columns import by_language, counts, ratios
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field

MARKS = "template_marks.tsv"


class PromptLeakParameters(Parameters):
    """Parameters of the stage.

    Attributes:
        sides: the answers that are looked at.
        ngram: words in a row that make a copy.
        unspaced_ngram: the same where most words are characters of scripts without spaces.
        max_copy_ratio: greatest share of an answer's words that are copied from the prompt.
        max_copied_words: longest stretch that may be copied.
        max_template_marks: how many marks of templates an answer may hold from which a model learns.
        max_rejected_template_marks: the same for the rejected answer.
    """

    sides: AnswerNames = ANSWERS
    ngram: int = Field(default=8, ge=2, le=64)
    unspaced_ngram: int = Field(default=13, ge=2, le=64)
    max_copy_ratio: Share = off()
    max_copied_words: Threshold = off()
    max_template_marks: Threshold = by_language(0)
    max_rejected_template_marks: Threshold = off()


class PromptLeak(Stage):
    """Share and longest stretch of words copied from the prompt, and marks of chat templates."""

    name: ClassVar[str] = "prompt-leak"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = PromptLeakParameters
    deciding: ClassVar[frozenset[str]] = frozenset(PromptLeakParameters.model_fields) - {
        "sides",
        "ngram",
        "unspaced_ngram",
    }
    parameters: PromptLeakParameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                field
                for side in self.parameters.sides
                for field in (
                    measure_field(
                        f"{side}_copy_ratio",
                        pa.float64(),
                        f"{side}: share of words in n-grams that the prompt has as well; null without words",
                    ),
                    measure_field(
                        f"{side}_copied_words", pa.int32(), f"{side}: words in the longest stretch of such n-grams"
                    ),
                    measure_field(f"{side}_template_residue", pa.int32(), f"{side}: marks of chat templates"),
                )
            ]
        )

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        marks = {
            side: p.max_rejected_template_marks if side == "rejected" else p.max_template_marks for side in p.sides
        }
        return [
            rule
            for side in p.sides
            for rule in (
                Rule(f"{side}-template-residue", f"{side}_template_residue", "<=", marks[side]),
                Rule(f"{side}-copies-prompt", f"{side}_copy_ratio", "<=", p.max_copy_ratio),
                Rule(f"{side}-long-copy", f"{side}_copied_words", "<=", p.max_copied_words),
            )
        ]

    def facts(self) -> dict[str, str]:
        """Digest of the marks, version of Unicode."""
        return {**facts(), "marks": table_digest(MARKS)}

    def measure(self, batch: Batch) -> Measured:
        p, found = self.parameters, batch.feature(sides_of)
        columns: dict[str, pa.Array] = {}
        for side in p.sides:
            text = found.text(side)
            words, copied, longest = copied_words(found.text("prompt"), text, p.ngram, p.unspaced_ngram).T
            columns[f"{side}_copy_ratio"] = ratios(copied, words)
            columns[f"{side}_copied_words"] = counts(longest)
            columns[f"{side}_template_residue"] = pa.array(map(template_residue, text.to_pylist()), pa.int32())
        return result(columns, found.without(("prompt", *p.sides)))


def template_residue(text: str) -> int:
    """How many marks of chat templates a text holds."""
    return sum(1 for _ in _pattern().finditer(text))


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile("|".join(_one(row["mark"], row["where"]) for row in read_table(MARKS)), re.M)


def _one(mark: str, where: str) -> str:
    spelled = re.escape(mark).replace(r"\*", r"[ ]?\w[\w ]{0,63}+")
    return rf"^{spelled}" if where == "line" else spelled
