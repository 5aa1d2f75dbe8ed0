"""The ``perplexity`` stage: score each document with the model of its language."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from curation import stage
from curation.batch import Batch, text_buffers
from curation.errors import InputError
from curation.perplexity.files import Percentiles, facts_of, find_model
from curation.perplexity.normalise import PROFILE, normalise_utf8
from curation.perplexity.scorer import load_scorer
from curation.perplexity.script import to_simplified
from curation.stage import Measured, Rule, Stage, Threshold, measure_field

Bucket = Literal["head", "middle", "tail"]
Script = Literal["simplified"]
BUCKETS: tuple[Bucket, ...] = ("head", "middle", "tail")
# CCNet cuts at these percentiles of its reference text.
HEAD_PERCENTILE, MIDDLE_PERCENTILE = 30, 60


def _default_script() -> dict[str, Script | None]:
    return {"zh": "simplified"}


class PerplexityParameters(stage.Parameters):
    """Parameters of the stage.

    Attributes:
        models: by language code, a folder or a path prefix (see ``find_model``).
        profile: normalisation in front of the models.
        max_perplexity: greatest perplexity that is kept, by language; off by default.
        max_percentile: the same as a percentile (0 to 100) of the model's held-out text, for models fitted
            with a table of percentiles; off by default.
        cutoffs: by language, the perplexities below which a document is in the head, and below which it is
            in the middle; by default percentiles 30 and 60 of the model's table.
        keep_buckets: neighbouring buckets that are kept; all by default.
        without_model: what becomes of documents in a language that has no model.
        script: ``simplified`` converts Chinese to simplified characters for scoring only; ``null`` does not.
        max_scored_bytes: longer texts are scored by their first so many bytes (after normalisation), because
            scoring takes some 75 bytes of memory for each byte of text.
    """

    models: dict[str, Path] = Field(min_length=1)
    profile: Literal["ccnet"] = "ccnet"
    max_perplexity: Threshold = Field(default_factory=dict)
    max_percentile: Threshold = Field(default_factory=dict)
    cutoffs: dict[str, tuple[float, float]] = Field(default_factory=dict)
    keep_buckets: tuple[Bucket, ...] = BUCKETS
    without_model: Literal["keep", "drop"] = "keep"
    script: dict[str, Script | None] = Field(default_factory=_default_script)
    max_scored_bytes: int = Field(default=1 << 22, ge=1 << 10, le=1 << 30)

    @field_validator("keep_buckets")
    @classmethod
    def _neighbours(cls, buckets: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
        ranks = sorted({BUCKETS.index(bucket) for bucket in buckets})
        if not ranks or ranks[-1] - ranks[0] != len(ranks) - 1:
            raise ValueError("keep at least one bucket, and only neighbours: head, middle, tail")
        return tuple(BUCKETS[rank] for rank in ranks)

    @field_validator("cutoffs")
    @classmethod
    def _rising(cls, cutoffs: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for language, (head, middle) in cutoffs.items():
            if not 0 < head <= middle:
                raise ValueError(f"{language}: cut-offs are [head_max, middle_max], positive and rising")
        return cutoffs

    @field_validator("max_percentile")
    @classmethod
    def _percentile(cls, thresholds: Mapping[str, float | None]) -> Mapping[str, float | None]:
        if any(value is not None and not 0 <= value <= 100 for value in thresholds.values()):
            raise ValueError("a percentile is between 0 and 100")
        return thresholds

    def resolved(self, root: Path) -> Self:
        return self.model_copy(update={"models": {lang: root / path for lang, path in self.models.items()}})


class Perplexity(Stage):
    """Perplexity under SentencePiece and KenLM models, with CCNet's normalisation and buckets.

    A document that cannot be scored is never passed over in silence: text without any piece fails the rule
    ``empty-text``; a language without a model leaves ``perplexity_scored`` false and the bucket
    ``unscored``, and fails the rule ``no-model`` if ``without_model`` is ``drop``.
    """

    name: ClassVar[str] = "perplexity"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[stage.Parameters]] = PerplexityParameters
    parameters: PerplexityParameters
    deciding: ClassVar[frozenset[str]] = frozenset(
        {"max_perplexity", "max_percentile", "keep_buckets", "without_model"}
    )

    def __init__(self, parameters: PerplexityParameters) -> None:
        super().__init__(parameters)
        self._models = {lang: find_model(lang, path) for lang, path in sorted(parameters.models.items())}
        self._percentiles = {
            language: Percentiles.read(files.percentiles)
            for language, files in self._models.items()
            if files.percentiles is not None
        }
        self._cutoffs = self._resolve_cutoffs()
        self._rules = list(self._make_rules())

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field(
                    "perplexity",
                    pa.float64(),
                    f"Perplexity per piece of the normalised text (profile {PROFILE}), not rounded; "
                    "null for empty text and for a language without a model.",
                ),
                measure_field(
                    "perplexity_pieces",
                    pa.int32(),
                    "SentencePiece pieces that were scored; 0 for empty text, null without a model.",
                ),
                measure_field(
                    "perplexity_bucket",
                    pa.string(),
                    "head, middle or tail by the cut-offs of the language; all where it has none; "
                    "unscored without a model; empty for empty text.",
                ),
                measure_field(
                    "perplexity_scored",
                    pa.bool_(),
                    "Whether there was a model for the language of the document; null for empty text.",
                ),
            ]
        )

    def facts(self) -> dict[str, str]:
        """Whatever alters a perplexity: profile, libraries, Unicode data, model files."""
        facts = {
            "profile": PROFILE,
            "kenlm": version("kenlm"),
            "sentencepiece": version("sentencepiece"),
            "unicode": unicodedata.unidata_version,
        }
        if any(self._converts(language) for language in self._models):
            facts["opencc"] = version("opencc")
        return facts | facts_of(self._models)

    def rules(self) -> Sequence[Rule]:
        return self._rules

    def measure(self, batch: Batch) -> Measured:
        count = len(batch)
        perplexity = np.full(count, np.nan)
        pieces = np.full(count, -1, np.int64)
        bucket = np.full(count, "unscored", object)
        languages = np.array(batch.languages(), object)
        for language in sorted(set(languages)):
            rows = np.flatnonzero(languages == language)
            texts = self._normalised(batch.text.take(pa.array(rows)), language)
            if language in self._models:
                scores = load_scorer(self._models[language]).score(texts)
                perplexity[rows], pieces[rows] = scores
                bucket[rows] = self._bucket(language, scores.perplexity)
            else:
                pieces[rows] = [-1 if text.strip() else 0 for text in texts]
        bucket[pieces == 0] = "empty"
        return Measured(
            {
                "perplexity": pa.array(perplexity, mask=np.isnan(perplexity)),
                "perplexity_pieces": pa.array(pieces, pa.int32(), mask=pieces < 0),
                "perplexity_bucket": pa.array(bucket, pa.string()),
                "perplexity_scored": pa.array(pieces > 0, mask=pieces == 0),
            }
        )

    def _converts(self, language: str) -> bool:
        return self.parameters.script.get(language) == "simplified"

    def _normalised(self, texts: pa.LargeStringArray, language: str) -> list[bytes]:
        if self._converts(language) and language in self._models:
            texts = to_simplified(texts)
        limit = self.parameters.max_scored_bytes
        normalised = normalise_utf8(*text_buffers(texts))
        return [text if len(text) <= limit else _cut(text, limit) for text in normalised]

    def _bucket(self, language: str, perplexity: np.ndarray) -> np.ndarray:
        if language not in self._cutoffs:
            return np.full(len(perplexity), "all", object)
        return np.array(BUCKETS, object)[np.searchsorted(self._cutoffs[language], perplexity, side="right")]

    def _resolve_cutoffs(self) -> dict[str, tuple[float, float]]:
        """The recipe's cut-offs, else those of the model's table; required only where a rule needs them."""
        from_table = {
            language: (table.at(HEAD_PERCENTILE), table.at(MIDDLE_PERCENTILE))
            for language, table in self._percentiles.items()
        }
        cutoffs = from_table | self.parameters.cutoffs
        missing = sorted(set(self._models) - set(cutoffs))
        if missing and self.parameters.keep_buckets != BUCKETS:
            raise InputError(
                f"keep_buckets needs cut-offs for {', '.join(missing)}: give cutoffs: "
                f"{{{missing[0]}: [head_max, middle_max]}}, or a model fitted with a table of percentiles",
                where="perplexity.keep_buckets",
            )
        return cutoffs

    def _make_rules(self) -> Iterator[Rule]:
        parameters = self.parameters
        off: dict[str, float | None] = {stage.DEFAULT: None}
        lowest, highest = parameters.keep_buckets[0], parameters.keep_buckets[-1]
        heads: dict[str, float | None] = {lang: head for lang, (head, _) in self._cutoffs.items()}
        middles: dict[str, float | None] = {lang: middle for lang, (_, middle) in self._cutoffs.items()}
        low = {"head": off, "middle": heads, "tail": middles}[lowest]
        high = {"head": heads, "middle": middles, "tail": off}[highest]
        drop = parameters.without_model == "drop"
        yield Rule("empty-text", "perplexity_pieces", ">=", {stage.DEFAULT: 1.0})
        yield Rule("no-model", "perplexity_scored", ">=", {stage.DEFAULT: 1.0 if drop else None})
        yield Rule("max-perplexity", "perplexity", "<=", parameters.max_perplexity or off)
        yield Rule("max-percentile", "perplexity", "<=", self._percentile_thresholds() or off)
        yield Rule("below-kept-buckets", "perplexity", ">=", low)
        yield Rule("above-kept-buckets", "perplexity", "<", high)

    def _percentile_thresholds(self) -> dict[str, float | None]:
        """``max_percentile`` as perplexities, through the table of each model."""
        wanted = self.parameters.max_percentile
        thresholds: dict[str, float | None] = {}
        for language in self._models:
            percentile = wanted.get(language, wanted.get(stage.DEFAULT))
            if percentile is None:
                continue
            if language not in self._percentiles:
                raise InputError(
                    f"the model for '{language}' has no table of percentiles; give max_perplexity instead, "
                    "or fit a model with gristmill fit perplexity",
                    where="perplexity.max_percentile",
                )
            thresholds[language] = self._percentiles[language].at(percentile)
        return thresholds


def _cut(text: bytes, limit: int) -> bytes:
    """The first ``limit`` bytes, less a broken last character."""
    return text[:limit].decode("utf-8", "ignore").encode()
