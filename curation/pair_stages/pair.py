"""The ``pair`` stage: what every preference pair must be, whatever it is about."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.batch import Batch
from curation.duplicates.jaccard import count_pairs
from curation.duplicates.shingles import DEFINITION, facts, shingle_sets
from curation.pair_stages.canonical import PAIR
from curation.pair_stages.sides import Sides, canonical_texts, result, sides_of, words_of
from curation.pair_stages.thresholds import Share, off
from curation.pair_stages.visible import visible_characters
from curation.rules.columns import by_language, counts, ratios
from curation.stage import Measured, Parameters, Rule, Stage, Threshold, measure_field
from curation.text.charclass import MARK, character_flags

_BEFORE_BREAK = re.compile(r"[^\S\n]*\n")
_LONG_RUN = 64
_STOPS = ".!。！"


class PairParameters(Parameters):
    """Thresholds of the rules; ``null`` switches one off.

    Attributes:
        min_prompt_characters, min_chosen_characters, min_rejected_characters: least number of visible characters.
        max_equal_responses: 0 lets no pair pass whose answers a reader cannot tell apart.
        max_near_equal_responses: 0 lets none pass whose answers differ in a full stop at the end.
        max_jaccard: greatest similarity of the two answers by their words; it sees neither marks nor capitals.
        max_words: greatest length of the prompt with the longer answer.
        max_length_ratio: how many times longer than the other one an answer may be.
        min_margin: least margin, for pairs that have one; margins of different sources do not compare.
    """

    min_prompt_characters: Threshold = by_language(1)
    min_chosen_characters: Threshold = by_language(1)
    min_rejected_characters: Threshold = by_language(1)
    max_equal_responses: Threshold = by_language(0)
    max_near_equal_responses: Threshold = off()
    max_jaccard: Share = off()
    max_words: Threshold = off()
    max_length_ratio: Threshold = off()
    min_margin: Threshold = by_language(0)


class Pair(Stage):
    """Turns, lengths and likeness of the two answers; the first stage of preference pairs.

    A text that is no pair is an error; of all others the text becomes the canonical one.
    """

    name: ClassVar[str] = "pair"
    version: ClassVar[int] = 2
    Parameters: ClassVar[type[Parameters]] = PairParameters
    deciding: ClassVar[frozenset[str]] = frozenset(PairParameters.model_fields)
    parameters: PairParameters

    @property
    def schema(self) -> pa.Schema:
        each = [
            field
            for side in PAIR
            for field in (
                measure_field(f"{side}_turns", pa.int32(), f"{side}: number of turns"),
                measure_field(f"{side}_words", pa.int32(), f"{side}: length in words; see token_count"),
                measure_field(f"{side}_characters", pa.int32(), f"{side}: visible characters"),
            )
        ]
        return pa.schema(
            [
                *each,
                measure_field("pair_words", pa.int32(), "words of the prompt and the longer answer"),
                measure_field("length_difference", pa.int32(), "words of the chosen answer less those of the other"),
                measure_field("length_ratio", pa.float64(), "words of the longer answer by those of the shorter one"),
                measure_field("responses_equal", pa.bool_(), "whether both answers look the same"),
                measure_field(
                    "responses_near_equal", pa.bool_(), "whether they do but for a full stop or the like at the end"
                ),
                measure_field(
                    "responses_jaccard", pa.float64(), f"Jaccard similarity of the two answers by {DEFINITION}"
                ),
                measure_field("preference_margin", pa.float64(), "margin that came with the pair; null without one"),
            ]
        )

    @property
    def changes_text(self) -> bool:
        return True

    def rules(self) -> Sequence[Rule]:
        p = self.parameters
        return [
            Rule("empty-prompt", "prompt_characters", ">=", p.min_prompt_characters),
            Rule("empty-chosen", "chosen_characters", ">=", p.min_chosen_characters),
            Rule("empty-rejected", "rejected_characters", ">=", p.min_rejected_characters),
            Rule("equal-responses", "responses_equal", "<=", p.max_equal_responses),
            Rule("near-equal-responses", "responses_near_equal", "<=", p.max_near_equal_responses),
            Rule("similar-responses", "responses_jaccard", "<=", p.max_jaccard),
            Rule("too-long", "pair_words", "<=", p.max_words),
            Rule("length-ratio", "length_ratio", "<=", p.max_length_ratio),
            Rule("small-margin", "preference_margin", ">=", p.min_margin),
        ]

    def facts(self) -> dict[str, str]:
        """Version of Unicode, and what shingles are."""
        return {**facts(), "shingles": DEFINITION}

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(sides_of)
        errors = found.without(PAIR)
        text = canonical_texts(batch, found.entries, errors)
        columns = {**_sizes(found), **_likeness(found), "preference_margin": _margins(batch)}
        return result({name: columns[name] for name in self.schema.names}, errors, text)


def _sizes(found: Sides) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {}
    for side in PAIR:
        columns[f"{side}_turns"] = pa.array([len(turns) for turns in found.conversations(side)], pa.int32())
        columns[f"{side}_words"] = counts(words_of(found, side))
        columns[f"{side}_characters"] = counts(visible_characters(found.text(side)))
    prompt, chosen, rejected = (words_of(found, side).astype(np.int64) for side in PAIR)
    longer, shorter = np.maximum(chosen, rejected), np.minimum(chosen, rejected)
    return columns | {
        "pair_words": counts(prompt + longer),
        "length_difference": counts(chosen - rejected),
        "length_ratio": ratios(longer, shorter),
    }


def _likeness(found: Sides) -> dict[str, pa.Array]:
    chosen, rejected = found.text("chosen"), found.text("rejected")
    count = len(chosen)
    seen = [(as_seen(a), as_seen(b)) for a, b in zip(chosen.to_pylist(), rejected.to_pylist(), strict=True)]
    equal = [a == b for a, b in seen]
    near = [a.rstrip(_STOPS) == b.rstrip(_STOPS) for a, b in seen]
    sets = shingle_sets(pa.concat_arrays([chosen, rejected]))
    common, union = count_pairs(sets, np.arange(count), count + np.arange(count))
    return {
        "responses_equal": pa.array(equal, pa.bool_()),
        "responses_near_equal": pa.array(near, pa.bool_()),
        "responses_jaccard": ratios(common, union),
    }


def as_seen(text: str) -> str:
    """The text as a reader sees it: in NFC, without white space at its ends and at those of its lines."""
    seen = _BEFORE_BREAK.sub("\n", text.strip())
    if unicodedata.is_normalized("NFC", seen) or _has_long_run_of_marks(seen):
        return seen
    return unicodedata.normalize("NFC", seen)


def _has_long_run_of_marks(text: str) -> bool:
    """Whether NFC, which sorts marks by insertion, would take long; no writing has so many on one letter."""
    marks = np.cumsum(character_flags()[np.frombuffer(text.encode("utf-32-le"), np.uint32)] & MARK != 0)
    return bool(marks.size > _LONG_RUN and (marks[_LONG_RUN:] - marks[:-_LONG_RUN]).max() == _LONG_RUN)


def _margins(batch: Batch) -> pa.Array:
    """The margins that came with the batch; what is no number of finite size counts as none."""
    if "margin" not in batch.table.column_names:
        return pa.nulls(len(batch), pa.float64())
    margins = batch.column("margin").cast(pa.float64())
    return pc.if_else(pc.is_finite(margins), margins, pa.scalar(None, pa.float64()))
