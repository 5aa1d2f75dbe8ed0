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
from pipelines.measures import measure_guarded


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
    decision = decide(rules, {"v": pa.array([v for v, _ in rows], pa.int64())}, [code for _, code in rows])
    for row, (value, code) in enumerate(rows):
        first = value is not None and code != "zh" and not eval(f"{value} {comparison} {limit}")
        second = value is not None and value >= 8
        assert decision.failing[:, row].tolist() == [first, second]
        assert decision.first[row] == (0 if first else 1 if second else -1)
        if first or second:
            assert (decision.value[row], decision.threshold[row]) == (value, limit if first else 8)
        else:
            assert np.isnan(decision.value[row])
