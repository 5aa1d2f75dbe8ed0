"""The ``prompt-leak`` stage: how much of an answer is the prompt again, and what templates and exports left behind."""

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
from curation.pair_stages.sides import ANSWERS, JOIN, AnswerNames, result, sides_of
from curation.pair_stages.table import read_table, table_digest
from curation.pair_stages.thresholds import Share, off
from curation.preferences.messages import Conversation
from curation.rules.columns import by_language, counts, ratios
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field

MARKS = "template_marks.tsv"
# Of texts that were written into HTML and never read back; other names are as often code (``&str;``).
_ESCAPED = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{2,7}|#[xX][0-9A-Fa-f]{2,6});")


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
        max_prompt_template_marks: the same for the prompt.
        max_escaped: how many characters of a prompt or an answer may be written as HTML does, ``&quot;``.
    """

    sides: AnswerNames = ANSWERS
    ngram: int = Field(default=8, ge=2, le=64)
    unspaced_ngram: int = Field(default=13, ge=2, le=64)
    max_copy_ratio: Share = off()
    max_copied_words: Threshold = off()
    max_template_marks: Threshold = by_language(0)
    max_rejected_template_marks: Threshold = off()
    max_prompt_template_marks: Threshold = off()
    max_escaped: Threshold = off()


class PromptLeak(Stage):
    """Share and longest stretch of words copied from the prompt, marks of templates, and escaped characters.

    A mark of an answer does not count where the user speaks of it.  The prompt's own are those of the assistant's
    turns, and what a template fills in for an input that there is none.
    """

    name: ClassVar[str] = "prompt-leak"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = PromptLeakParameters
    deciding: ClassVar[frozenset[str]] = frozenset(PromptLeakParameters.model_fields) - {
        "sides",
        "ngram",
        "unspaced_ngram",
    }
    parameters: PromptLeakParameters

    @property
    def schema(self) -> pa.Schema:
        prompt = [
            measure_field("prompt_template_residue", pa.int32(), "marks of templates in the prompt"),
            measure_field("prompt_escaped", pa.int32(), "characters of the prompt that are written as in HTML"),
        ]
        return pa.schema(
            [
                *prompt,
                *(
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
                        measure_field(f"{side}_template_residue", pa.int32(), f"{side}: marks of templates"),
                        measure_field(f"{side}_escaped", pa.int32(), f"{side}: characters that are written as in HTML"),
                    )
                ),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        marks = {
            side: p.max_rejected_template_marks if side == "rejected" else p.max_template_marks for side in p.sides
        }
        answers = [
            rule
            for side in p.sides
            for rule in (
                Rule(f"{side}-template-residue", f"{side}_template_residue", "<=", marks[side]),
                Rule(f"{side}-copies-prompt", f"{side}_copy_ratio", "<=", p.max_copy_ratio),
                Rule(f"{side}-long-copy", f"{side}_copied_words", "<=", p.max_copied_words),
                Rule(f"{side}-escaped", f"{side}_escaped", "<=", p.max_escaped),
            )
        ]
        return [
            *answers,
            Rule("prompt-template-residue", "prompt_template_residue", "<=", p.max_prompt_template_marks),
            Rule("prompt-escaped", "prompt_escaped", "<=", p.max_escaped),
        ]

    def facts(self) -> dict[str, str]:
        """Digest of the marks, version of Unicode."""
        return {**facts(), "marks": table_digest(MARKS)}

    def measure(self, batch: Batch) -> Measured:
        p, found = self.parameters, batch.feature(sides_of)
        prompts = found.conversations("prompt")
        asked = [_said(turns, "user", "system", "tool") for turns in prompts]
        columns: dict[str, pa.Array] = {
            "prompt_template_residue": pa.array(map(prompt_residue, prompts), pa.int32()),
            "prompt_escaped": _escaped(found.text("prompt")),
        }
        for side in p.sides:
            text = found.text(side)
            words, copied, longest = copied_words(found.text("prompt"), text, p.ngram, p.unspaced_ngram).T
            columns[f"{side}_copy_ratio"] = ratios(copied, words)
            columns[f"{side}_copied_words"] = counts(longest)
            columns[f"{side}_template_residue"] = pa.array(map(template_residue, text.to_pylist(), asked), pa.int32())
            columns[f"{side}_escaped"] = _escaped(text)
        return result(columns, found.without(("prompt", *p.sides)))


def template_residue(text: str, asked: str = "") -> int:
    """How many marks of templates an answer holds of which the question says nothing."""
    return sum(mark[0].rstrip(":") not in asked for mark in _marks().finditer(text))


def prompt_residue(turns: Conversation) -> int:
    """How many marks of templates a prompt holds.

    Those in turns of the assistant that nobody else speaks of, and turns of the user that end with a line for a
    missing input.
    """
    leaked = template_residue(_said(turns, "assistant"), _said(turns, "user", "system", "tool"))
    return leaked + sum(turn.role == "user" and _no_input().search(turn.content) is not None for turn in turns)


def _said(turns: Conversation, *roles: str) -> str:
    return JOIN.join(turn.content for turn in turns if turn.role in roles)


def _escaped(texts: pa.Array) -> pa.Array:
    return pa.array([len(_ESCAPED.findall(text)) if "&" in text else 0 for text in texts.to_pylist()], pa.int32())


@cache
def _marks() -> re.Pattern[str]:
    rows = [row for row in read_table(MARKS) if row["where"] != "last"]
    return re.compile("|".join(_one(row["mark"], row["where"]) for row in rows), re.M)


@cache
def _no_input() -> re.Pattern[str]:
    """A last line, below others, that says nothing but that there is no input."""
    said = "|".join(re.escape(row["mark"]) for row in read_table(MARKS) if row["where"] == "last")
    return re.compile(rf"\n[ \t]*[\"'“(（\[<]{{0,3}}(?:{said})[.。!！)）\]>\"'”]{{0,3}}\s*\Z", re.I)


def _one(mark: str, where: str) -> str:
    spelled = re.escape(mark).replace(r"\*", r"[ ]?\w[\w ]{0,63}+")
    return rf"^{spelled}" if where == "line" else spelled
