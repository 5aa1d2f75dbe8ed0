"""The ``domain`` stage: what a document is about, and whether that is wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from curation import stage
from curation.batch import Batch
from curation.domain.classifier import load_classifier
from curation.domain.device import PRECISION, TOKEN_BUDGET, Choice, Kind, kind_of
from curation.domain.model_directory import digest, read_labels
from curation.errors import InputError
from curation.stage import Measured, Rule, Stage, Threshold, measure_field

# Stored scores are rounded to so many decimals: bfloat16 tells no more apart, and they compress well.
DECIMALS = 4


class Scorer(Protocol):
    """What the stage needs of a classifier; a cluster backend puts remote ones in its place."""

    @property
    def labels(self) -> Sequence[str]:
        """Names of the labels in the order of the scores."""
        ...

    def scores(self, texts: pa.LargeStringArray) -> np.ndarray:
        """``float32[n, labels]``; NaN in the rows of texts without any token."""
        ...


class DomainParameters(stage.Parameters):
    """Parameters of the stage.

    Attributes:
        model: directory of a sequence classifier (see ``DomainClassifier``).
        keep: the labels that are kept; None for all.
        drop: labels that are not kept.
        min_score: least score of the chosen label, by language; off by default.
        max_tokens: tokens of each document that the classifier reads, from its beginning.
        token_budget: padded tokens of one forward pass; None for 256 on a processor and 8,192 on a GPU.
        device: ``cpu`` or ``cuda``; ``auto`` becomes the one or the other when the recipe is read, so that all
            processes of a run, and the ones that go on with it, have the same.
    """

    model: Path
    keep: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    min_score: Threshold = Field(default_factory=dict)
    max_tokens: int = Field(default=512, ge=8, le=1 << 16)
    token_budget: int | None = Field(default=None, ge=8, le=1 << 24)
    device: Choice = "auto"

    @field_validator("keep")
    @classmethod
    def _something(cls, keep: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if keep is not None and not keep:
            raise ValueError("an empty list keeps nothing; leave it out to keep all labels")
        return keep

    @field_validator("device")
    @classmethod
    def _decided(cls, choice: Choice) -> Choice:
        return kind_of(choice)

    @field_validator("min_score")
    @classmethod
    def _share(cls, thresholds: Mapping[str, float | None]) -> Mapping[str, float | None]:
        if any(value is not None and not 0 <= value <= 1 for value in thresholds.values()):
            raise ValueError("a score is between 0 and 1")
        return thresholds

    def resolved(self, root: Path) -> Self:
        return self.model_copy(update={"model": root / self.model})


class Domain(Stage):
    """The scores of all labels for each document, its best label, and whether that label is wanted.

    A document without any token has no domain: its measures are null, and it is selected only if ``keep``
    is not given.  The label is taken from the scores as they are stored; of equal ones, the first.
    """

    name: ClassVar[str] = "domain"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[stage.Parameters]] = DomainParameters
    parameters: DomainParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"min_score"})

    def __init__(self, parameters: DomainParameters) -> None:
        super().__init__(parameters)
        self.labels = read_labels(parameters.model)
        self._selected = self._selected_labels()
        self._classifier: Scorer | None = None

    @property
    def classifier(self) -> Scorer:
        """The classifier, loaded when first asked for; another with the same labels may take its place."""
        if self._classifier is None:
            self._classifier = load_classifier(**self.classifier_settings)
        return self._classifier

    @classifier.setter
    def classifier(self, scorer: Scorer) -> None:
        if tuple(scorer.labels) != self.labels:
            raise InputError("the classifier has other labels than the recipe's model", str(self.parameters.model))
        self._classifier = scorer

    @property
    def device(self) -> Kind:
        """The kind of device that scores, decided when the parameters were made."""
        return kind_of(self.parameters.device)

    @property
    def classifier_settings(self) -> dict[str, Any]:
        """What ``load_classifier`` takes, here or in another process."""
        given = self.parameters
        return {
            "directory": given.model,
            "device": self.device,
            "max_tokens": given.max_tokens,
            "token_budget": given.token_budget,
        }

    @property
    def schema(self) -> pa.Schema:
        scores = measure_field(
            "domain_scores",
            pa.list_(pa.float32()),
            f"scores of all labels, rounded to {DECIMALS} decimals; the field's metadata 'labels' names them",
        )
        return pa.schema(
            [
                measure_field("domain", pa.string(), "label with the highest score; null without any token"),
                measure_field("domain_score", pa.float64(), "its score (softmax), 0 to 1"),
                scores.with_metadata({**scores.metadata, "labels": json.dumps(self.labels, ensure_ascii=False)}),
                measure_field("domain_selected", pa.bool_(), "whether the recipe keeps this label"),
            ]
        )

    def facts(self) -> dict[str, str]:
        """Digest and labels of the model, what it runs on and how, versions of the libraries."""
        facts = {
            "model": digest(self.parameters.model),
            "labels": json.dumps(self.labels, ensure_ascii=False),
            "device": self.device,
            "precision": PRECISION[self.device],
            "token_budget": str(self.parameters.token_budget or TOKEN_BUDGET[self.device]),
        }
        for library in ("torch", "transformers", "tokenizers"):
            try:
                # The suffix behind + names the build: the same version for processor and GPU.
                facts[library] = version(library).partition("+")[0]
            except PackageNotFoundError:
                continue
        return facts

    def rules(self) -> Sequence[Rule]:
        return [
            Rule("domain-not-selected", "domain_selected", ">=", {stage.DEFAULT: 0.5}, detail="domain"),
            Rule("domain-score", "domain_score", ">=", self.parameters.min_score, detail="domain"),
        ]

    def measure(self, batch: Batch) -> Measured:
        scores = np.round(self.classifier.scores(batch.text).astype(np.float64), DECIMALS)
        known = np.asarray(~np.isnan(scores).any(axis=1))
        best = np.where(known, np.nan_to_num(scores, nan=-1.0).argmax(axis=1), -1)
        names = np.array([*self.labels, None], object)
        best_score = scores[np.arange(len(scores)), best]
        return Measured(
            {
                "domain": pa.array(names[best], pa.string()),
                "domain_score": pa.array(best_score, pa.float64(), mask=~known),
                "domain_scores": _lists(scores, known),
                "domain_selected": pa.array(self._selected[best]),
            }
        )

    def _selected_labels(self) -> np.ndarray:
        """``bool[labels + 1]``; the last entry stands for a document without a domain."""
        keep, drop = self.parameters.keep, self.parameters.drop
        for label in (*(keep or ()), *drop):
            if label not in self.labels:
                near = get_close_matches(label, self.labels, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]!r}?" if near else f"its labels are {', '.join(self.labels)}"
                raise InputError(f"the model has no label {label!r}; {hint}")
        both = sorted(set(keep or ()) & set(drop))
        if both:
            raise InputError(f"the label {both[0]!r} is both kept and dropped")
        wanted = [(keep is None or label in keep) and label not in drop for label in self.labels]
        if not any(wanted):
            raise InputError("no label of the model is left to keep")
        return np.array([*wanted, keep is None])


def _lists(scores: np.ndarray, known: np.ndarray) -> pa.ListArray:
    """``list<float32>`` of all rows, null where nothing is known."""
    count, width = scores.shape
    offsets = np.concatenate([[0], np.cumsum(np.where(known, width, 0))]).astype(np.int32)
    values = pa.array(scores[known].astype(np.float32).ravel(), pa.float32())
    mask = pa.array(~known) if count else None
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)
