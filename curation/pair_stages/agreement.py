"""The ``language-agreement`` stage: is the answer in the language of the prompt?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import pyarrow as pa
from pydantic import Field

from curation.batch import Batch
from curation.errors import RunError
from curation.language.script import CHINESE
from curation.pair_stages.asked import names_language
from curation.pair_stages.canonical import Side
from curation.pair_stages.prose import Prose, prose_of
from curation.pair_stages.sides import ANSWERS, AnswerNames, Sides, result, sides_of
from curation.pair_stages.thresholds import Share, off
from curation.preferences.messages import Conversation
from curation.stage import Measured, Parameters, Rule, Stage, measure_field


class LanguageAgreementParameters(Parameters):
    """Parameters of the stage.

    Attributes:
        sides: the answers that are compared with the prompt.
        max_disagreement: greatest confidence, 0 to 1, that an answer from which a model learns is in another language
            than its prompt.
        max_rejected_disagreement: the same of the rejected answer.
        min_words: a prompt or an answer of fewer words, code, names and numbers apart, has no language that could be
            told.
    """

    sides: AnswerNames = ANSWERS
    max_disagreement: Share = off()
    max_rejected_disagreement: Share = off()
    min_words: int = Field(default=10, ge=1)


class Spoken(NamedTuple):
    """The language of a text, None where it cannot be told, and how sure it is."""

    prose: Prose
    language: str | None
    score: float


class LanguageAgreement(Stage):
    """How sure it is that an answer is in another language than its prompt.

    The lesser of the two language scores where the languages differ, 0 where they are the same.  A text of mostly
    Chinese characters is Chinese, whatever the identifier says; the languages of Chinese are one.

    Null where one of the languages is not known or the text too short, is code or a row of names or numbers; where
    the prompt speaks of languages, or holds both Chinese and other words and the answer is in one of them; and
    where more of the prompt is said by the system than by all others.
    """

    name: ClassVar[str] = "language-agreement"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = LanguageAgreementParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"max_disagreement", "max_rejected_disagreement"})
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
        p = self.parameters
        limits = {"rejected": p.max_rejected_disagreement}
        return [
            Rule(
                f"{side}-language-differs",
                f"{side}_language_disagreement",
                "<=",
                limits.get(side, p.max_disagreement),
            )
            for side in p.sides
        ]

    def measure(self, batch: Batch) -> Measured:
        missing = [name for name in self.needs if name not in batch.table.column_names]
        if missing:
            sides = ", ".join(("prompt", *self.parameters.sides))
            raise RunError(
                f"{self.name}: no column {missing[0]!r}; put 'stage: language' with 'sides: [{sides}]' first"
            )
        found = batch.feature(sides_of)
        named = [names_language(text) for text in found.text("prompt").to_pylist()]
        columns = {"prompt_names_language": pa.array(named, pa.bool_())}
        system = [_mostly_system(turns) for turns in found.conversations("prompt")]
        asked = self._spoken(batch, found, "prompt")
        for side in self.parameters.sides:
            values = [
                None if hidden or names else _disagreement(*both)
                for hidden, names, both in zip(
                    system, named, zip(asked, self._spoken(batch, found, side), strict=True), strict=True
                )
            ]
            columns[f"{side}_language_disagreement"] = pa.array(values, pa.float32())
        return result(columns, found.without(("prompt", *self.parameters.sides)))

    def _spoken(self, batch: Batch, found: Sides, side: Side) -> list[Spoken]:
        codes = batch.column(f"{side}_language").to_pylist()
        scores = batch.column(f"{side}_language_score").to_pylist()
        proses = map(prose_of, found.text(side).to_pylist())
        return [
            _spoken(prose, code, score or 0.0, self.parameters.min_words)
            for prose, code, score in zip(proses, codes, scores, strict=True)
        ]


def _disagreement(asked: Spoken, answered: Spoken) -> float | None:
    if asked.language is None or answered.language is None:
        return None
    if asked.language == answered.language:
        return 0.0
    if asked.prose.is_mixed and "zh" in (asked.language, answered.language):
        return None
    return min(asked.score, answered.score)


def _spoken(prose: Prose, code: str | None, score: float, min_words: int) -> Spoken:
    if prose.han + prose.words < min_words or not prose.has_language:
        return Spoken(prose, None, 0.0)
    if prose.is_chinese:
        return Spoken(prose, "zh", prose.han / (prose.han + prose.words))
    lacks = (code == "ja" and not prose.kana) or (code == "ko" and not prose.hangul) or code in CHINESE
    return Spoken(prose, None if lacks else code, score)


def _mostly_system(turns: Conversation) -> bool:
    """Whether the language of a prompt is that of its setting rather than that of who asks."""
    system = sum(len(turn.content) for turn in turns if turn.role == "system")
    return 2 * system > sum(len(turn.content) for turn in turns)
