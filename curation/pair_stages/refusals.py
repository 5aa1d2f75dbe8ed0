"""The ``refusals`` stage: does an answer decline what was asked?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.batch import Batch
from curation.duplicates.shingles import facts
from curation.pair_stages.sides import ANSWERS, AnswerNames, result, sides_of
from curation.pair_stages.table import read_table, table_digest
from curation.pair_stages.thresholds import Share, off
from curation.preferences.digests import normalised
from curation.stage import Measured, Parameters, Rule, Stage, measure_field

PHRASES = "refusal_phrases.tsv"
# An answer that goes on like this helps after all, or with something else.
_HELPS = re.compile(
    r"\b(?:however|instead,|here (?:is|are)|but (?:i can|here|this|there)|"
    r"i can (?:help|provide|offer|suggest|give|tell))\b(?!')|"
    r"但是?,?(?:我|您|你|可以)|不过|然而|以下是|我可以|可以(?:为您|给您|帮您|提供)|作为替代"
)
_APOSTROPHES = str.maketrans("’‘ʼ＇`´", "''''''")


class RefusalsParameters(Parameters):
    """Parameters of the stage; all rules are off by default, since declining is right where the wish is wrong.

    Attributes:
        sides: the answers that are looked at.
        window: how many characters of an answer, from its beginning, are looked at.
        max_chosen_refusal, max_rejected_refusal, max_response_refusal: greatest score of a kept answer, 0 to 1.
        max_both_refuse: the same for the lesser score of the two answers of a pair.
    """

    sides: AnswerNames = ANSWERS
    window: int = Field(default=200, ge=10, le=10_000)
    max_chosen_refusal: Share = off()
    max_rejected_refusal: Share = off()
    max_response_refusal: Share = off()
    max_both_refuse: Share = off()


class Refusals(Stage):
    """How clearly each answer declines, by its first words.

    The score of a phrase is its strength, less the more of the window lies before it; an answer has that of its best,
    and half of it where the answer goes on to help.
    """

    name: ClassVar[str] = "refusals"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = RefusalsParameters
    deciding: ClassVar[frozenset[str]] = frozenset(RefusalsParameters.model_fields) - {"sides", "window"}
    parameters: RefusalsParameters

    @property
    def schema(self) -> pa.Schema:
        each = [
            measure_field(
                f"{side}_refusal", pa.float64(), f"{side}: how clearly it declines by its first words, 0 to 1"
            )
            for side in self.parameters.sides
        ]
        both = measure_field("both_refusal", pa.float64(), "the lesser of the two answers' scores")
        return pa.schema([*each, both] if self._compares else each)

    @property
    def _compares(self) -> bool:
        return set(self.parameters.sides) == set(ANSWERS)

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        limits = {
            "chosen": p.max_chosen_refusal,
            "rejected": p.max_rejected_refusal,
            "response": p.max_response_refusal,
        }
        both = [Rule("both-refuse", "both_refusal", "<=", p.max_both_refuse)] if self._compares else []
        return [*both, *(Rule(f"{side}-refuses", f"{side}_refusal", "<=", limits[side]) for side in p.sides)]

    def facts(self) -> dict[str, str]:
        """Digest of the phrases, version of Unicode."""
        return {**facts(), "phrases": table_digest(PHRASES)}

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(sides_of)
        scores = {
            side: np.array([refusal(text, self.parameters.window) for text in found.text(side).to_pylist()], float)
            for side in self.parameters.sides
        }
        columns = {f"{side}_refusal": pa.array(values) for side, values in scores.items()}
        if self._compares:
            columns["both_refusal"] = pa.array(np.minimum(scores["chosen"], scores["rejected"]))
        return result(columns, found.without(self.parameters.sides))


def refusal(text: str, window: int) -> float:
    """The score of one answer."""
    said = normalised(text[: 4 * window]).translate(_APOSTROPHES)
    beginning = said[:window]
    best = 0.0
    for strength, pattern in _patterns():
        first = pattern.search(beginning)
        if first:
            best = max(best, strength * (1 - first.start() / window))
    return best / 2 if best and _HELPS.search(said) else best


@cache
def _patterns() -> tuple[tuple[float, re.Pattern[str]], ...]:
    """For each strength, all phrases that have it."""
    by_strength: dict[float, list[str]] = {}
    for row in read_table(PHRASES):
        phrase = re.escape(row["phrase"])
        bounded = rf"(?<![a-z]){phrase}(?![a-z])" if row["phrase"].isascii() else phrase
        by_strength.setdefault(float(row["strength"]), []).append(bounded)
    return tuple((strength, re.compile("|".join(phrases))) for strength, phrases in sorted(by_strength.items()))
