"""The language stage: code, confidence, runner-up, and whether the language is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curation.batch import Batch
from curation.language.identify import Identifier, Prediction, bundled_model, digest, load_identifier
from curation.language.script import CHINESE, chinese_script
from curation.stage import DEFAULT, Measured, Parameters, Rule, Stage, Threshold, measure_field


class LanguageParameters(Parameters):
    """Parameters of the stage.

    Attributes:
        keep: codes of the languages that are kept, as the model writes them (``en``, ``zh``); None for all.
        min_score: least confidence of the language, by language.  0.65 is the threshold of CCNet's
            successors RefinedWeb and FineWeb.
        max_chars: characters of each document that are looked at, from its beginning; more cost time and
            decide no better (see docs/language.md).
        model: a fastText model with language codes as labels; None for the bundled lid.176.
    """

    keep: tuple[str, ...] | None = None
    min_score: Threshold = Field(default={DEFAULT: 0.65})
    max_chars: int = Field(default=2_000, ge=100, le=10_000_000)
    model: Path | None = None

    @field_validator("keep")
    @classmethod
    def _something(cls, keep: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if keep is not None and not keep:
            raise ValueError("an empty list keeps nothing; leave it out to keep all languages")
        return keep

    @field_validator("min_score")
    @classmethod
    def _share(cls, thresholds: Mapping[str, float | None]) -> Mapping[str, float | None]:
        if any(value is not None and not 0 <= value <= 1 for value in thresholds.values()):
            raise ValueError("a score is between 0 and 1")
        return thresholds

    def resolved(self, root: Path) -> Self:
        return self if self.model is None else self.model_copy(update={"model": root / self.model})


class Language(Stage):
    """The most probable language of each document.

    A document without any visible character has no language: score 0, and it is not among those kept if
    ``keep`` is given.
    """

    name: ClassVar[str] = "language"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]] = LanguageParameters
    parameters: LanguageParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"min_score"})

    def __init__(self, parameters: LanguageParameters) -> None:
        super().__init__(parameters)
        self.model = parameters.model or bundled_model()
        digest(self.model)  # a missing file is noticed before the run starts

    @property
    def identifier(self) -> Identifier:
        """The model, loaded when first asked for."""
        return load_identifier(self.model)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field("language", pa.string(), "most probable language, ISO 639-1 where it has a code"),
                measure_field("language_score", pa.float32(), "probability of the language"),
                measure_field("language_runner_up", pa.string(), "second most probable language"),
                measure_field("language_runner_up_score", pa.float32(), "probability of the second language"),
                measure_field("language_script", pa.string(), "Hans or Hant, for Chinese"),
                measure_field("language_kept", pa.bool_(), "whether the language is among those kept"),
            ]
        )

    def rules(self) -> Sequence[Rule]:
        return [
            Rule("language-not-kept", "language_kept", ">=", {DEFAULT: 1.0}, detail="language"),
            Rule("language-score", "language_score", ">=", self.parameters.min_score),
        ]

    def facts(self) -> dict[str, str]:
        return {"model": digest(self.model), "fasttext-predict": metadata.version("fasttext-predict")}

    def measure(self, batch: Batch) -> Measured:
        texts = pc.utf8_slice_codeunits(batch.text, 0, self.parameters.max_chars).to_pylist()
        found = [self.identifier.identify(text or "") for text in texts]
        scripts = [
            chinese_script(text) if one is not None and one.language in CHINESE else None
            for text, one in zip(texts, found, strict=True)
        ]
        return Measured(self._columns(found, scripts))

    def _columns(self, found: list[Prediction | None], scripts: list[str | None]) -> dict[str, pa.Array]:
        keep = self.parameters.keep
        return {
            "language": pa.array([one and one.language for one in found], pa.string()),
            "language_score": pa.array([one.score if one else 0.0 for one in found], pa.float32()),
            "language_runner_up": pa.array([one and one.runner_up for one in found], pa.string()),
            "language_runner_up_score": pa.array([one and one.runner_up_score for one in found], pa.float32()),
            "language_script": pa.array(scripts, pa.string()),
            "language_kept": pa.array(
                [keep is None or (one is not None and one.language in keep) for one in found], pa.bool_()
            ),
        }
