"""A stage measures columns; its rules decide from them.

Measuring and deciding are apart so that a threshold can be asked about afterwards without running anything
again: the measured columns are stored for every document that reached the stage, and ``decide`` is a pure
function of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from curation.batch import ROW_LANGUAGE, UNKNOWN, Batch, encoded
from curation.errors import DocumentError

DEFAULT = "default"
Comparison = Literal[">=", ">", "<=", "<", "=="]
_KEEP = {
    ">=": np.greater_equal,
    ">": np.greater,
    "<=": np.less_equal,
    "<": np.less,
    "==": np.equal,
}


def _as_threshold(value: Any) -> Any:
    return value if isinstance(value, Mapping) else {DEFAULT: value}


def _not_negative(thresholds: dict[str, float | None]) -> dict[str, float | None]:
    """No measure is below zero, so a negative threshold is a slip of the pen."""
    for value in thresholds.values():
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"a threshold is a number of at least 0, not {value:g}")
    return thresholds


# A threshold for all languages (``50``), or one by language: ``{default: 50, zh: 100, ja: null}``.
# ``null`` switches the rule off.
Threshold = Annotated[dict[str, float | None], BeforeValidator(_as_threshold), AfterValidator(_not_negative)]


class Parameters(BaseModel):
    """Typed parameters of a stage as a recipe gives them; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def resolved(self, root: Path) -> Self:
        """The same parameters with relative model paths taken from ``root``; a stage with models overrides."""
        return self


@dataclass(frozen=True)
class Rule:
    """A document is kept while ``measure comparison threshold`` holds for it.

    Attributes:
        name: kebab-case, unique in its stage.
        measure: name of the measured column.
        comparison: how a value that is kept compares with the threshold.
        thresholds: by language code, with ``default``; None switches the rule off for that language.
        detail: name of a text column that says more about a document that fails (its media type, say).
        by: columns that tell whose threshold holds: that of the first language known, of ``und`` where none is.  A
            column that is not measured yet where the rule decides tells nothing.
    """

    name: str
    measure: str
    comparison: Comparison
    thresholds: Mapping[str, float | None]
    detail: str | None = None
    by: tuple[str, ...] = ROW_LANGUAGE

    def threshold_of(self, language: str) -> float | None:
        """The threshold that holds for one language."""
        return self.thresholds.get(language, self.thresholds.get(DEFAULT))

    @property
    def differs_by_language(self) -> bool:
        """Whether any language has another threshold than the rest."""
        return any(limit != self.thresholds.get(DEFAULT) for limit in self.thresholds.values())

    def limits(self, columns: Mapping[str, pa.Array | pa.ChunkedArray], count: int) -> np.ndarray:
        """The threshold of each document, ``float64[count]``; NaN where the rule is switched off.

        Args:
            columns: by name; only those that the rule goes by are looked at, and only if thresholds differ.
        """
        limits = np.full(count, self._limit(UNKNOWN))
        for name in reversed(self.by) if self.differs_by_language else ():
            if name in columns:
                indices, codes = encoded(columns[name])
                by_code = np.array([self._limit(code) for code in codes])
                limits = np.where(indices < len(codes) - 1, by_code[indices], limits)
        return limits

    def _limit(self, language: str) -> float:
        limit = self.threshold_of(language)
        return math.nan if limit is None else limit

    def failures(self, values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        """Which values fail.

        Args:
            values: ``float64[n]``; NaN means not measured.
            thresholds: ``float64[n]``; NaN means switched off.

        Returns:
            ``bool[n]``; a missing value or threshold never fails.
        """
        comparable = ~(np.isnan(values) | np.isnan(thresholds))
        failing: np.ndarray = comparable & ~_KEEP[self.comparison](values, thresholds)
        return failing


@dataclass
class Measured:
    """What a stage found out about a batch.

    Attributes:
        columns: one array per name in the stage's ``schema``, each as long as the batch.
        text: new text of each document, where the stage changes it; None where it does not.
        errors: documents that must be quarantined, by row.  Their measured values should be null.
    """

    columns: dict[str, pa.Array]
    text: pa.LargeStringArray | None = None
    errors: dict[int, DocumentError] = field(default_factory=dict)


class Stage(ABC):
    """One step that every document of a shard goes through.

    Class attributes:
        name: kebab-case; the name in recipes and in the ledger.
        version: enters the fingerprint; raise it whenever the same parameters give another result.
        Parameters: the pydantic model of its parameters.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Parameters]]

    def __init__(self, parameters: Any) -> None:
        self.parameters = parameters

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """The columns that ``measure`` adds.  Names are unique over all stages; each has a
        ``description`` in its field metadata."""

    @property
    def changes_text(self) -> bool:
        """Whether ``measure`` returns a new text."""
        return False

    @abstractmethod
    def measure(self, batch: Batch) -> Measured:
        """Measure every document of a batch; pure, deterministic, independent of the batch's neighbours."""

    @abstractmethod
    def rules(self) -> Sequence[Rule]:
        """The rules that decide, in the order in which the first failing one is named."""

    # Parameters that only ``rules`` reads.  When nothing else changed, measured columns are reused and only
    # the decision is taken again.
    deciding: ClassVar[frozenset[str]] = frozenset()

    def facts(self) -> dict[str, str]:
        """What else alters the result and must enter the fingerprint: model digests, library versions."""
        return {}


def measure_field(name: str, type_: pa.DataType, description: str) -> pa.Field:
    """A measured column with its description for people."""
    return pa.field(name, type_, metadata={"description": description})


@dataclass(frozen=True)
class Decision:
    """What the rules say of each document.

    Attributes:
        failing: ``bool[n_rules, n]``.
        first: ``int32[n]``, index of the first failing rule, -1 where none fails.
        value: ``float64[n]``, measured value of that rule, NaN where none fails.
        threshold: ``float64[n]``, its threshold for this document, NaN where none fails.
    """

    failing: np.ndarray
    first: np.ndarray
    value: np.ndarray
    threshold: np.ndarray


def decide(rules: Sequence[Rule], columns: Mapping[str, pa.Array], count: int) -> Decision:
    """Apply every rule to every document; pure, so it can be repeated on stored columns.

    Args:
        rules: in the order of precedence.
        columns: by name: those that the rules measure by, numbers or booleans, and of those that they go by for
            their thresholds the ones that are known by now.
        count: of documents.
    """
    failing = np.zeros((len(rules), count), bool)
    first = np.full(count, -1, np.int32)
    value = np.full(count, np.nan)
    threshold = np.full(count, np.nan)
    for index, rule in enumerate(rules):
        values, limits = as_float(columns[rule.measure]), rule.limits(columns, count)
        failing[index] = rule.failures(values, limits)
        newly = failing[index] & (first < 0)
        first[newly], value[newly], threshold[newly] = index, values[newly], limits[newly]
    return Decision(failing, first, value, threshold)


def as_float(array: pa.Array) -> np.ndarray:
    """Numbers or booleans as ``float64``, null as NaN."""
    return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
