"""The ``truncation`` stage: signs that an answer was cut off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.batch import Batch
from curation.pair_stages.sides import ANSWERS, AnswerNames, result, sides_of, words_of
from curation.pair_stages.thresholds import off
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field
from curation.text.charclass import CLOSING, TERMINAL, character_flags, unicode_version

_FENCE = re.compile(r"^[ \t]{0,3}(?:`{3,}|~{3,})", re.M)
_PAIRS = (("“", "”"), ("「", "」"), ("『", "』"), ("《", "》"), ("（(", "）)"), ("[", "]"), ("{", "}"))
# Words that no sentence ends with.  "To" and "of" may: "look up to", "be proud of"; so may "with", "for" and the like.
_OPEN_WORDS = re.compile(
    r"(?<![A-Za-z])(?:a|an|the|and|or|but|into|as|if|than|that's|your|their|its|my|our|because|including|between|will|"
    r"would|should|may|might|must|The|And|But|"
    r"(?<!proud )(?<!aware )(?<!think )(?<!dream )(?<!tired )(?<!fraid )of|"
    r"(?:[0-9]|likes?|wants?|needs?|going|ha(?:s|ve|d)|seem(?:s|ed)?|able|try|tries|tried|trying|ought|how|order|idea)"
    r" to)$|[A-Za-z]-$"
)
_OPEN_MARKS = ",，、:：—–(（[【{「『《“"
_CLOSERS = "*`~|# \t\n"  # of Markdown, behind the mark that ends a sentence
_EMPHASIS = re.compile(r"(?<![\s_:：])__?\Z")  # but "Date: ____" is to be filled in
_TAG = re.compile(r"<[^<>\n]{1,200}>\Z")
# A letter's "Best,", and a form of which several lines wait for an answer: nothing follows these.
_GREETING = re.compile(r"\n[ \t]*(?:\w+[ \t]+){0,2}\w+[,，]\Z")
_FORM = re.compile(r"[:：][ \t]*\n\s*[^\n]*[:：]\Z")


class Signs(NamedTuple):
    """What the end of one text looks like.

    Attributes:
        unfinished: the last character is no mark that ends a sentence, no closing quotation mark or bracket, and the
            last line is no code.
        open_fence: a fence of code is open.
        open_brackets: outside of code, a quotation mark or bracket of a kind opens more often than it closes.
        cut: the last word or mark is one behind which something must follow.
    """

    unfinished: bool
    open_fence: bool
    open_brackets: bool
    cut: bool


class TruncationParameters(Parameters):
    """Parameters of the stage; its rule is off by default.

    Attributes:
        sides: the answers that are looked at.
        min_words: an answer of fewer words is no text that could be cut; the number of its signs is null.
        max_truncation_signs: how many of the signs, 0 to 4, an answer may show from which a model learns.
        max_rejected_truncation_signs: the same for the rejected answer.
    """

    sides: AnswerNames = ANSWERS
    min_words: int = Field(default=5, ge=1)
    max_truncation_signs: Threshold = off()
    max_rejected_truncation_signs: Threshold = off()


class Truncation(Stage):
    """Four signs that an answer was cut off, each by itself and their number."""

    name: ClassVar[str] = "truncation"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = TruncationParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"max_truncation_signs", "max_rejected_truncation_signs"})
    parameters: TruncationParameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                field
                for side in self.parameters.sides
                for field in (
                    measure_field(
                        f"{side}_unfinished", pa.bool_(), f"{side}: ends without a mark that ends a sentence"
                    ),
                    measure_field(f"{side}_open_fence", pa.bool_(), f"{side}: a fence of code is not closed"),
                    measure_field(
                        f"{side}_open_brackets", pa.bool_(), f"{side}: quotation marks or brackets are not closed"
                    ),
                    measure_field(f"{side}_cut", pa.bool_(), f"{side}: ends where something must follow"),
                    measure_field(
                        f"{side}_truncation_signs",
                        pa.int32(),
                        f"{side}: number of these signs; null for very few words",
                    ),
                )
            ]
        )

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        limits = {"rejected": p.max_rejected_truncation_signs}
        return [
            Rule(f"{side}-truncated", f"{side}_truncation_signs", "<=", limits.get(side, p.max_truncation_signs))
            for side in p.sides
        ]

    def facts(self) -> dict[str, str]:
        """Version of Unicode."""
        return {"unicode": unicode_version()}

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(sides_of)
        columns: dict[str, pa.Array] = {}
        for side in self.parameters.sides:
            signs = [signs_of(text) for text in found.text(side).to_pylist()]
            for place, name in enumerate(Signs._fields):
                columns[f"{side}_{name}"] = pa.array([one[place] for one in signs], pa.bool_())
            columns[f"{side}_truncation_signs"] = pa.array(
                np.array([sum(one) for one in signs], np.int32),
                mask=words_of(found, side) < self.parameters.min_words,
            )
        return result(columns, found.without(self.parameters.sides))


def signs_of(text: str) -> Signs:
    """The signs of one text; an empty text shows none."""
    end = text.rstrip()
    if not end:
        return Signs(False, False, False, False)
    open_fence, prose = _without_code(end)
    in_code = open_fence or not prose.strip() or not end.endswith(prose.rstrip()[-1:]) or bool(_TAG.search(end))
    bare = _EMPHASIS.sub("", end.rstrip(_CLOSERS)).rstrip(_CLOSERS) or end
    finished = bool(character_flags()[ord(bare[-1])] & (TERMINAL | CLOSING)) or bare[-1] in "…~～)]}）】”’\"'"
    return Signs(not finished and not in_code, open_fence, _open_brackets(prose), not in_code and _is_cut(bare))


def _is_cut(bare: str) -> bool:
    """Whether the last word or mark of a text is one behind which something must follow."""
    tail = bare[-100:]
    if bare[-1] in _OPEN_MARKS:
        return not (_GREETING.search(tail) or _FORM.search(tail))
    return _OPEN_WORDS.search(tail) is not None


def _without_code(text: str) -> tuple[bool, str]:
    """Whether a fence is open at the end, and the text outside of fences."""
    parts = _FENCE.split(text)
    return len(parts) % 2 == 0, "\n".join(parts[::2])


def _open_brackets(prose: str) -> bool:
    return any(sum(map(prose.count, first)) > sum(map(prose.count, last)) for first, last in _PAIRS)
