"""The ``language-agreement`` stage: is the answer in the language of the prompt?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.batch import Batch
from curation.errors import RunError
from curation.language.script import CHINESE
from curation.pair_stages.asked import names_language
from curation.pair_stages.canonical import Side
from curation.pair_stages.sides import ANSWERS, AnswerNames, Sides, result, sides_of, words_of
from curation.pair_stages.thresholds import Share, off
from curation.stage import Measured, Parameters, Rule, Stage, measure_field

# What text in these languages never lacks; without it the letters are Chinese characters, or none at all.
_LETTERS = {"ja": re.compile("[\u3041-\u30ff\uff66-\uff9f]"), "ko": re.compile("[\u1100-\u11ff\uac00-\ud7a3]")}
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class LanguageAgreementParameters(Parameters):
    """Parameters of the stage.

    Attributes:
        sides: the answers that are compared with the prompt.
        max_disagreement: greatest confidence, 0 to 1, that an answer is in another language than its prompt.
        min_words: a prompt or an answer of fewer words has no language that could be told.
    """

    sides: AnswerNames = ANSWERS
    max_disagreement: Share = off()
    min_words: int = Field(default=10, ge=1)


class LanguageAgreement(Stage):
    """How sure it is that an answer is in another language than its prompt.

    The lesser of the two language scores where the languages differ, 0 where they are the same; null where one of
    them is not known or the text too short, and where the prompt speaks of languages.  The languages of Chinese are
    one, and what is called Japanese without any kana, or Korean without any hangul, is Chinese.
    """

    name: ClassVar[str] = "language-agreement"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = LanguageAgreementParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"max_disagreement"})
    parameters: LanguageAgreementParameters

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that a stage before this one measures: ``language`` on the prompt and these sides."""
        sides: tuple[Side, ...] = ("prompt", *self.parameters.sides)
        return tuple(name for side in sides for name in (f"{side}_language", f"{side}_language_score"))

    @property
    def schema(self) -> pa.Schema:
        named = measure_field("prompt_names_language", pa.bool_(), "whether the prompt speaks of a language")
        return pa.schema(
            [
                named,
                *(
                    measure_field(
                        f"{side}_language_disagreement",
                        pa.float32(),
                        f"{side}: how sure it is that this is another language than the prompt's, 0 to 1",
                    )
                    for side in self.parameters.sides
                ),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        limit = self.parameters.max_disagreement
        return [
            Rule(f"{side}-language-differs", f"{side}_language_disagreement", "<=", limit)
            for side in self.parameters.sides
        ]

    def measure(self, batch: Batch) -> Measured:
        missing = [name for name in self.needs if name not in batch.table.column_names]
        if missing:
            sides = ", ".join(("prompt", *self.parameters.sides))
            raise RunError(
                f"{self.name}: no column {missing[0]!r}; put 'stage: language' with 'sides: [{sides}]' first"
            )
        found = batch.feature(sides_of)
        named = np.array([names_language(text) for text in found.text("prompt").to_pylist()], bool)
        long = {side: words_of(found, side) >= self.parameters.min_words for side in ("prompt", *self.parameters.sides)}
        columns = {"prompt_names_language": pa.array(named)}
        asked = _languages(batch, found, "prompt")
        for side in self.parameters.sides:
            told = long["prompt"] & long[side] & ~named
            values = [
                None if not sure or a[0] is None or b[0] is None else 0.0 if a[0] == b[0] else min(a[1], b[1])
                for sure, a, b in zip(told, asked, _languages(batch, found, side), strict=True)
            ]
            columns[f"{side}_language_disagreement"] = pa.array(values, pa.float32())
        return result(columns, found.without(("prompt", *self.parameters.sides)))


def _languages(batch: Batch, found: Sides, side: Side) -> list[tuple[str | None, float]]:
    codes = batch.column(f"{side}_language").to_pylist()
    scores = batch.column(f"{side}_language_score").to_pylist()
    texts = found.text(side).to_pylist()
    return [(_language(code, text), score or 0.0) for code, score, text in zip(codes, scores, texts, strict=True)]


def _language(code: str | None, text: str) -> str | None:
    if code in _LETTERS and not _LETTERS[code].search(text):
        return "zh" if _HAN.search(text) else None
    return "zh" if code in CHINESE else code
