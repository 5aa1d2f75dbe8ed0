"""The ``instruction`` stage: what every conversation to learn from must be, whatever it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curation.batch import Batch
from curation.duplicates.shingles import facts
from curation.pair_stages.canonical import INSTRUCTION, Entry
from curation.pair_stages.sides import canonical_texts, result, sides_of, words_of
from curation.pair_stages.thresholds import off
from curation.pair_stages.visible import visible_characters
from curation.preferences.digests import normalised
from curation.rules.columns import by_language, counts
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field


class InstructionParameters(Parameters):
    """Thresholds of the rules; ``null`` switches one off.

    Attributes:
        min_prompt_characters, min_response_characters: least number of visible characters.
        min_response_words: least length of the response.
        max_words: greatest length of the whole conversation.
        max_repeated_turns: how many turns of the assistant may repeat an earlier one.
    """

    min_prompt_characters: Threshold = by_language(1)
    min_response_characters: Threshold = by_language(1)
    min_response_words: Threshold = off()
    max_words: Threshold = off()
    max_repeated_turns: Threshold = off()


class Instruction(Stage):
    """Turns and lengths; the first stage of instruction data.

    A text that is no instruction is an error; of all others the text becomes the canonical one.
    """

    name: ClassVar[str] = "instruction"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = InstructionParameters
    deciding: ClassVar[frozenset[str]] = frozenset(InstructionParameters.model_fields)
    parameters: InstructionParameters

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("conversation_turns", pa.int32(), "number of turns"),
                measure_field("conversation_words", pa.int32(), "words of all turns; see token_count"),
                measure_field("prompt_words", pa.int32(), "words of all turns but the last"),
                measure_field("prompt_characters", pa.int32(), "visible characters of all turns but the last"),
                measure_field("response_words", pa.int32(), "words of the last turn"),
                measure_field("response_characters", pa.int32(), "visible characters of the last turn"),
                measure_field(
                    "repeated_turns",
                    pa.int32(),
                    "turns of the assistant that repeat an earlier one but for case, width and spaces",
                ),
            ]
        )

    @property
    def changes_text(self) -> bool:
        return True

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        return [
            Rule("empty-instruction", "prompt_characters", ">=", p.min_prompt_characters),
            Rule("empty-response", "response_characters", ">=", p.min_response_characters),
            Rule("short-response", "response_words", ">=", p.min_response_words),
            Rule("too-long", "conversation_words", "<=", p.max_words),
            Rule("repeated-turns", "repeated_turns", "<=", p.max_repeated_turns),
        ]

    def facts(self) -> dict[str, str]:
        """Version of Unicode."""
        return facts()

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(sides_of)
        errors = found.without(INSTRUCTION)
        text = canonical_texts(batch, found.entries, errors)
        prompt, response = (words_of(found, side) for side in INSTRUCTION)
        columns = {
            "conversation_turns": counts(
                np.array([sum(map(len, entry.values())) for entry in found.entries], np.int64)
            ),
            "conversation_words": counts(prompt + response),
            "prompt_words": counts(prompt),
            "prompt_characters": counts(visible_characters(found.text("prompt"))),
            "response_words": counts(response),
            "response_characters": counts(visible_characters(found.text("response"))),
            "repeated_turns": counts(np.array([_repeated(entry) for entry in found.entries], np.int64)),
        }
        return result(columns, errors, text)


def _repeated(entry: Entry) -> int:
    """Turns of the assistant that it said before; users say "go on" as often as they like."""
    turns = [turn for side in INSTRUCTION for turn in entry.get(side, ()) if turn.role == "assistant"]
    said = [content for content in (normalised(turn.content) for turn in turns) if content]
    return len(said) - len(set(said))
