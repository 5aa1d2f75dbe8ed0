"""One poisoned document costs one document; decisions follow rules as written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.batch import Batch
from curation.errors import DocumentError, RunError
from curation.stage import Measured, Parameters, Rule, Stage, decide
from pipelines.measures import advance, measure_guarded, settle
from pipelines.remembered import remembered_stages


class Nothing(Parameters):
    """Nothing to choose."""


class Length(Stage):
    """Measures lengths; breaks on a batch that holds a poisoned text."""

    name: ClassVar[str] = "length"
    Parameters: ClassVar[type[Parameters]] = Nothing

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field("length", pa.int64())])

    @property
    def changes_text(self) -> bool:
        return True

    def rules(self) -> Sequence[Rule]:
        return [Rule("short", "length", ">=", {"default": 2.0})]

    def measure(self, batch: Batch) -> Measured:
        texts = batch.text.to_pylist()
        if any("poison" in text for text in texts):
            raise ValueError("poison")
        if any("known" in text for text in texts):
            raise DocumentError("known-evil", "said so")
        return Measured({"length": pa.array([len(t) for t in texts], pa.int64())}, pa.array(texts, pa.large_string()))


class Failing(Length):
    """Raises what it is told to, at one of its documents."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Nothing())
        self.error = error

    def measure(self, batch: Batch) -> Measured:
        if "evil" in batch.text.to_pylist():
            raise self.error
        return super().measure(batch)


class OutOfMemoryError(RuntimeError):
    """Stands for torch's, where torch is not installed."""


class OnItsOwn(OutOfMemoryError):
    """A kind of it."""


def batch_of(*texts: str) -> Batch:
    return Batch(pa.table({"text": pa.array(texts, pa.large_string())}))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no room"), MemoryError),
        (pa.ArrowMemoryError("malloc of size 64 failed"), MemoryError),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError),
        (OnItsOwn("HIP ran out"), MemoryError),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate"),
            MemoryError,
        ),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), MemoryError),
        (RuntimeError("CUDA error: unspecified launch failure"), OSError),
        (RuntimeError("can't start new thread"), OSError),
        (ConnectionError("a classifier actor did not answer"), OSError),
        (RunError("the extraction process did not start"), RunError),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:24],
)
def test_a_failing_machine_is_no_documents_fault(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        measure_guarded(Failing(error), batch_of("a", "evil", "c"))
    assert type(caught.value).__module__ != __name__  # a driver can load it without the library that raised it
    assert str(error).split("\n")[0] in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no CUDA error at all"), ValueError("CUDA out of memory"), RecursionError("too deep"), KeyError("x")],
)
def test_other_errors_cost_a_document(error: Exception) -> None:
    measured = measure_guarded(Failing(error), batch_of("a", "evil", "c"))
    assert {row: found.error_class for row, found in measured.errors.items()} == {1: "length-failed"}
    assert type(error).__name__ in measured.errors[1].detail


def test_torch_says_it_as_expected() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    for error in (caught.value, torch.OutOfMemoryError("CUDA out of memory")):
        with pytest.raises(MemoryError):
            measure_guarded(Failing(error), batch_of("evil"))


TEXTS = st.lists(st.sampled_from(["a", "bb", "ccc", "poison", "known"]), max_size=40)


@given(TEXTS)
def test_only_the_poisoned_are_quarantined(texts: list[str]) -> None:
    measured = measure_guarded(Length(Nothing()), Batch(pa.table({"text": pa.array(texts, pa.large_string())})))
    assert {row: error.error_class for row, error in measured.errors.items()} == {
        row: {"poison": "length-failed", "known": "known-evil"}[text]
        for row, text in enumerate(texts)
        if text in ("poison", "known")
    }
    expected = [None if text in ("poison", "known") else len(text) for text in texts]
    assert measured.columns["length"].to_pylist() == expected


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.sampled_from(["en", "zh", "de"])), max_size=30),
    st.integers(0, 9),
    st.sampled_from([">=", ">", "<=", "<", "=="]),
)
def test_decide_against_plain_python(rows: list[tuple[int | None, str]], limit: int, comparison: str) -> None:
    rules = [
        Rule("off-for-zh", "v", comparison, {"default": float(limit), "zh": None}),  # type: ignore[arg-type]
        Rule("below-eight", "v", "<", {"default": 8.0}),
    ]
    columns = {"v": pa.array([v for v, _ in rows], pa.int64()), "language": pa.array([c for _, c in rows], pa.string())}
    decision = decide(rules, columns, len(rows))
    for row, (value, code) in enumerate(rows):
        first = value is not None and code != "zh" and not eval(f"{value} {comparison} {limit}")
        second = value is not None and value >= 8
        assert decision.failing[:, row].tolist() == [first, second]
        assert decision.first[row] == (0 if first else 1 if second else -1)
        if first or second:
            assert (decision.value[row], decision.threshold[row]) == (value, limit if first else 8)
        else:
            assert np.isnan(decision.value[row])


class Tells(Stage):
    """Measures one column, the same for all."""

    name: ClassVar[str] = "tells"
    Parameters: ClassVar[type[Parameters]] = Nothing

    def __init__(self, column: str) -> None:
        super().__init__(Nothing())
        self.column = column

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([pa.field(self.column, pa.string())])

    def rules(self) -> Sequence[Rule]:
        return []

    def measure(self, batch: Batch) -> Measured:
        return Measured({self.column: pa.array(["en"] * len(batch))})


def test_features_do_not_outlive_the_language_that_they_were_computed_for() -> None:
    batch = Batch(pa.table({"text": pa.array(["long", "enough"], pa.large_string())}))
    asked = []

    def languages(batch: Batch) -> list[str]:
        asked.append(batch.languages())
        return asked[-1]

    for stage in (Tells("title"), Tells("language"), Tells("domain")):
        batch.feature(languages)
        batch = advance(batch, settle(stage, np.arange(2), stage.measure(batch), batch))
    assert batch.feature(languages) == ["en", "en"] and asked == [["und", "und"], ["en", "en"]]


CODES = st.sampled_from([None, "en", "zh", "de"])


@given(
    st.lists(st.tuples(st.integers(0, 9), CODES, CODES, CODES), max_size=30),
    st.dictionaries(st.sampled_from(["default", "und", "en", "zh"]), st.one_of(st.none(), st.integers(0, 9))),
    st.sampled_from([("language",), ("side", "language"), ("side", "language", "stated"), ()]),
    st.sets(st.sampled_from(["side", "language", "stated"])),
)
def test_the_first_known_language_holds(
    rows: list[tuple[int, str | None, str | None, str | None]],
    thresholds: dict[str, float | None],
    by: tuple[str, ...],
    there: set[str],
) -> None:
    names = ("side", "language", "stated")
    columns = {"v": pa.array([row[0] for row in rows], pa.int64())}
    columns |= {name: pa.array([row[names.index(name) + 1] for row in rows], pa.string()) for name in there}
    decision = decide([Rule("least", "v", ">=", thresholds, by=by)], columns, len(rows))
    for place, row in enumerate(rows):
        told = [row[names.index(name) + 1] for name in by if name in there]
        code = next((code for code in told if code is not None), "und")
        limit = thresholds[code] if code in thresholds else thresholds.get("default")
        assert decision.failing[0, place] == (limit is not None and row[0] < limit)
        if decision.failing[0, place]:
            assert decision.threshold[place] == limit


def test_a_run_that_does_not_say_by_which_columns_goes_by_the_row() -> None:
    """A rule as it was stored before; one goes by no column that was measured behind it."""
    rule = {"name": "r", "measure": "v", "comparison": "<", "thresholds": {"default": 1.0}, "detail": None}
    names = [["v", "stated_language"], ["language"], ["chosen_language"]]
    stored = [{"stage": f"s{n}", "columns": names[n], "rules": [rule]} for n in range(2)]
    stored.append({"stage": "s2", "columns": names[2], "rules": [{**rule, "by": ["chosen_language", "language"]}]})
    found = [stage.rules[0].by for stage in remembered_stages({"stages": stored})]
    assert found == [("stated_language",), ("language", "stated_language"), ("chosen_language", "language")]
