"""The ``decontamination`` stage: find texts of benchmarks in documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from curation import stage
from curation.batch import Batch
from curation.decontamination.benchmark import Fields, read_benchmark
from curation.decontamination.index import Cut, Index, index_of
from curation.decontamination.kernel import LONGEST
from curation.decontamination.search import Finding, search
from curation.decontamination.words import DEFINITION, words_of
from curation.duplicates.shingles import facts as shingle_facts
from curation.errors import InputError
from curation.stage import Measured, Rule, Stage, Threshold, measure_field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _as_file(value: Any) -> Any:
    return {"path": value} if isinstance(value, (str, Path)) else value


def _as_texts(value: Any) -> Any:
    """A list of names is one text; a list of such lists is several."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(name, str) for name in value):
        return (tuple(value),)
    return value


class BenchmarkFile(BaseModel):
    """Where a benchmark lies and what of it is text.

    Attributes:
        path: a file of JSON lines, plain or gzip.
        fields: names of the fields that are joined to the text of an item, or a list of such lists, for texts that
            are looked for each by itself; null for those of a known benchmark, else all strings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    fields: Annotated[Fields | None, BeforeValidator(_as_texts)] = None

    @field_validator("fields")
    @classmethod
    def _named(cls, fields: Fields | None) -> Fields | None:
        if fields is not None and not (fields and all(fields)):
            raise ValueError("name at least one field for each text")
        return fields


def _default_overlap() -> dict[str, float | None]:
    return {stage.DEFAULT: 0.2}


class DecontaminationParameters(stage.Parameters):
    """Parameters of the stage.

    Attributes:
        benchmarks: by name, a file, or a file with the fields that are its text.
        ngram: words of an n-gram.
        unspaced_ngram: the same for items in scripts written without spaces, where a word is a character.
        min_overlap: from this share of an item's n-grams on, a document goes.
        min_ngrams: an item counts if so many of its n-grams are found, or all that it has.
        min_words: items of fewer words are not looked for; those of fewer than an n-gram's as a whole.
        max_items: n-grams that more items than this have in common are not looked for.
    """

    benchmarks: dict[str, Annotated[BenchmarkFile, BeforeValidator(_as_file)]] = Field(min_length=1)
    ngram: int = Field(default=13, ge=2, le=LONGEST)
    unspaced_ngram: int = Field(default=16, ge=2, le=LONGEST)
    min_overlap: Threshold = Field(default_factory=_default_overlap)
    min_ngrams: int = Field(default=2, ge=1)
    min_words: int = Field(default=8, ge=2, le=LONGEST)
    max_items: int = Field(default=10, ge=1)

    @field_validator("benchmarks")
    @classmethod
    def _names(cls, benchmarks: dict[str, BenchmarkFile]) -> dict[str, BenchmarkFile]:
        for name in benchmarks:
            if not _NAME.fullmatch(name):
                raise ValueError(f"the name of a benchmark is letters, digits, '.', '_' and '-', not {name!r}")
        return benchmarks

    @field_validator("min_overlap")
    @classmethod
    def _share(cls, thresholds: Mapping[str, float | None]) -> Mapping[str, float | None]:
        if any(value is not None and not 0 < value <= 1 for value in thresholds.values()):
            raise ValueError("an overlap is a share above 0, at most 1")
        return thresholds

    @model_validator(mode="after")
    def _short_is_short(self) -> Self:
        if self.min_words > min(self.ngram, self.unspaced_ngram):
            raise ValueError("min_words is no more than ngram and unspaced_ngram")
        return self

    def resolved(self, root: Path) -> Self:
        files = {name: file.model_copy(update={"path": root / file.path}) for name, file in self.benchmarks.items()}
        return self.model_copy(update={"benchmarks": files})


class Decontamination(Stage):
    """The benchmark item of which a document has the greatest share, that share, and where it stands.

    What is measured does not depend on the document's language, only the threshold does.
    """

    name: ClassVar[str] = "decontamination"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[stage.Parameters]] = DecontaminationParameters
    parameters: DecontaminationParameters
    deciding: ClassVar[frozenset[str]] = frozenset({"min_overlap"})

    def __init__(self, parameters: DecontaminationParameters) -> None:
        super().__init__(parameters)
        self.benchmarks = tuple(
            (name, read_benchmark(name, file.path, file.fields)) for name, file in sorted(parameters.benchmarks.items())
        )
        self._check_words()

    def _check_words(self) -> None:
        least = self.parameters.min_words
        for name, benchmark in self.benchmarks:
            texts = (text for item in benchmark.items for text in item)
            if not any(len(words_of(text).words) >= least for text in texts):
                raise InputError(
                    f"benchmark {name!r}: no item has {least} words, so none can be looked for; name its text fields "
                    "with 'fields', or lower min_words",
                    str(self.parameters.benchmarks[name].path),
                )

    @property
    def index(self) -> Index:
        """The index of the benchmarks, made when first asked for and then held by the process."""
        p = self.parameters
        return index_of(self.benchmarks, Cut(p.ngram, p.unspaced_ngram, p.min_words, p.max_items))

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                measure_field(
                    "contamination_ratio",
                    pa.float64(),
                    "greatest share of one benchmark item's n-grams that are in the document; 0 without any",
                ),
                measure_field(
                    "contamination_ngrams",
                    pa.int32(),
                    "places in the document where an n-gram of any benchmark item begins",
                ),
                measure_field("contamination_item", pa.string(), "that item as name:number, numbers from 0"),
                measure_field(
                    "contamination_span",
                    pa.string(),
                    "start:end of its longest stretch in the text that came to this stage, in code points",
                ),
            ]
        )

    def facts(self) -> dict[str, str]:
        """Digests of the benchmarks, what a word is, version of Unicode."""
        digests = {f"benchmark.{name}": f"sha256:{benchmark.digest}" for name, benchmark in self.benchmarks}
        return {"words": DEFINITION, **shingle_facts(), **digests}

    def rules(self) -> Sequence[Rule]:
        return [
            Rule("contaminated", "contamination_ratio", "<", self.parameters.min_overlap, detail="contamination_item")
        ]

    def measure(self, batch: Batch) -> Measured:
        found = search(batch.text, self.index, self.parameters.min_ngrams)
        findings = [found.get(row, _NOTHING) for row in range(len(batch))]
        spans = [f"{finding.start}:{finding.end}" if finding.item else None for finding in findings]
        return Measured(
            {
                "contamination_ratio": pa.array(np.array([finding.ratio for finding in findings], np.float64)),
                "contamination_ngrams": pa.array([finding.ngrams for finding in findings], pa.int32()),
                "contamination_item": pa.array([finding.item for finding in findings], pa.string()),
                "contamination_span": pa.array(spans, pa.string()),
            }
        )


_NOTHING = Finding()
