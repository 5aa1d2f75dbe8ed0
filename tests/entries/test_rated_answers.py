"""Single rated answers become pairs while a shard is read: those of the naive twin, in the memory of a few batches."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.preferences import Pair, pair_unpaired, read_unpaired
from curation.preferences.messages import as_dicts
from curation.read_entries import EntryParameters, ReadEntries
from curation.stage import decide

Rows = list[dict[str, Any]]


def rated(prompt: str, answer: str, good: bool, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": answer, "label": good, **more}


def lines_of(records: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(record).encode() + b"\n" for record in records]


def read(records: list[dict[str, Any]], kind: str = "preferences", **parameters: Any) -> Rows:
    """Rows in the order in which they come, each with ``rule``, the first that it fails, and ``record``, its number."""
    stage = ReadEntries(EntryParameters(kind=kind, **parameters))
    data = b"".join(lines_of(records))
    begins = [0]
    for line in lines_of(records):
        begins.append(begins[-1] + len(line))
    rows: Rows = []
    for table in stage.tables(io.BytesIO(data), "a.jsonl", len(data), "shard"):
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        first = decide(stage.rules(), columns, table.num_rows).first
        for row, rule in zip(table.to_pylist(), first, strict=True):
            name = None if rule < 0 else stage.rules()[rule].name
            rows.append({**row, "rule": name, "record": begins.index(row["offset"])})
    return rows


def fates(rows: Rows) -> list[tuple[int, str | None]]:
    return [(row["record"], row["rule"]) for row in rows]


def test_the_later_answer_becomes_the_pair() -> None:
    rows = read(
        [
            rated("a", "worse", False, id=1, license="MIT"),
            rated("b", "alone", True, id="x"),
            rated("a", "better", True, id="y", license="MIT"),
        ],
        language="en",
        license="CC0",
        source="here",
    )
    assert fates(rows) == [(0, "in-pair"), (2, None), (1, "no-counterpart")]
    earlier, pair, alone = rows
    assert json.loads(pair["text"]) == {
        "prompt": [{"role": "user", "content": "a"}],
        "chosen": [{"role": "assistant", "content": "better"}],
        "rejected": [{"role": "assistant", "content": "worse"}],
    }
    assert (earlier["paired_with"], pair["paired_with"], alone["paired_with"]) == (pair["id"], earlier["id"], None)
    assert [row["record_id"] for row in rows] == ["1", "y+1", "x"]
    assert [row["entry_count"] for row in rows] == [None, 1, None]
    assert [row["license"] for row in rows] == ["MIT", "MIT", "CC0"]
    assert {(row["kind"], row["language"], row["stated_source"]) for row in rows} == {("kto", "en", "here")}
    assert earlier["text"] is alone["text"] is None


def test_the_first_waits_for_the_first() -> None:
    rows = read([rated("a", answer, answer.isupper()) for answer in "ABcCdeD"])
    assert fates(rows) == [
        (0, "in-pair"), (2, None),  # A and c
        (1, "in-pair"), (4, None),  # B and d
        (3, "in-pair"), (5, None),  # C and e
        (6, "no-counterpart"),
    ]  # fmt: skip


def test_what_is_no_rated_answer_keeps_its_place() -> None:
    rows = read([rated("a", "1", True), {"prompt": "a"}, rated("a", "2", False), rated("a", "3", 1)], shape="kto")  # type: ignore[arg-type]
    assert fates(rows) == [(1, "no-pair"), (0, "in-pair"), (2, None), (3, "no-pair")]
    assert [row["error_class"] for row in rows] == ["missing-response", None, None, "unknown-label"]


@pytest.mark.parametrize(
    "parameters",
    [{"kind": "instructions"}, {"mapping": {"prompt": "prompt", "response": "completion"}}],
    ids=["a recipe for instructions", "a mapping, which knows no labels"],
)
def test_no_rated_answer_is_learnt_from(parameters: dict[str, Any]) -> None:
    (row,) = read([rated("a", "1", True)], **parameters)
    assert row["error_class"] == "wrong-kind" and row["text"] is None


def test_the_row_of_the_pair_decides_whether_it_is_sampled() -> None:
    records = [rated(str(n), f"{n} {good}", good) for n in range(100) for good in (True, False)]
    whole, half = read(records), read(records, sample_share=0.5)
    assert [row["rule"] for row in whole] == ["in-pair", None] * 100
    assert [row["rule"] for row in half[::2]] == ["in-pair"] * 100
    taken = [row["sample_place"] < 0.5 for row in whole[1::2]]
    assert [row["rule"] is None for row in half[1::2]] == taken and 30 < sum(taken) < 70


def test_pairs_across_batches() -> None:
    """All bad answers behind all good ones: four batches, and every answer but the first waits."""
    count = 2000
    records = [rated(f"question {n}", "yes", True) for n in range(count)]
    records += [rated(f"question {n}", "no", False) for n in reversed(range(count))]
    rows = read(records)
    assert fates(rows) == [
        fate for n in reversed(range(count)) for fate in ((n, "in-pair"), (2 * count - 1 - n, None))
    ]  # fmt: skip


WORDS = st.sampled_from(["a", "A", "é", "e\u0301", "人", '"', "\\n"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from("ab"), "completion": WORDS, "label": st.booleans()},
        optional={
            "id": st.integers(0, 99),
            "source": st.sampled_from("st"),
            "language": st.sampled_from(["en", "zh"]),
            "license": st.sampled_from(["MIT", "CC0"]),
            "tools": st.sampled_from(["[]", "[1]"]),
            "system": st.sampled_from(["Be brief.", "Be kind."]),
        },
    ),
    min_size=1,
    max_size=24,
)


def asked(pair: Pair) -> tuple[str, ...]:
    origin = (pair.tools, pair.source, pair.language, pair.license)
    return (json.dumps(as_dicts(pair.prompt)), *(str(value) for value in origin))


@given(RECORDS)
def test_the_pairs_are_those_of_the_twin(records: list[dict[str, Any]]) -> None:
    answers = [read_unpaired(record) for record in records]
    expected, left = pair_unpaired(answers)
    rows = read(records, shape="kto")
    assert sorted(row["record"] for row in rows) == list(range(len(records)))  # one row each

    def plain(pair: Pair) -> tuple[Any, ...]:
        sides = (as_dicts(pair.prompt), as_dicts(pair.chosen), as_dicts(pair.rejected))
        return (*sides, pair.source_id, pair.tools, pair.source, pair.language, pair.license)

    pairs = []
    for row in rows:
        if row["rule"] is None:
            text = json.loads(row["text"])
            names = ("record_id", "tools", "stated_source", "language", "license")
            pairs.append((*(text[side] for side in ("prompt", "chosen", "rejected")), *(row[name] for name in names)))
    # Pairs to one question come in the twin's order; which question is first is another matter.
    key = lambda pair: str((pair[0], *pair[4:]))  # noqa: E731
    assert sorted(pairs, key=key) == sorted(map(plain, expected), key=key)

    # The same answer twice is two entries: identity tells them apart.
    of_twin = {id(answer) for answer in left}
    waited = [number for number, answer in enumerate(answers) if id(answer) in of_twin]
    assert [row["record"] for row in rows if row["rule"] == "no-counterpart"] == waited
    by_id = {row["id"]: row for row in rows}
    for row in rows:
        if row["paired_with"] is not None:
            other = by_id[row["paired_with"]]
            assert other["paired_with"] == row["id"] and {row["rule"], other["rule"]} == {"in-pair", None}
            assert (row["rule"] is None) == (row["record"] > other["record"])


@pytest.mark.slow
def test_waiting_takes_little_memory(tmp_path: Path) -> None:
    """50,000 answers of 1 kB that all wait to the end: 50 MB, nearly all of it elsewhere."""
    path = tmp_path / "a.jsonl"
    with path.open("w") as out:
        for number in range(50_000):
            out.write(json.dumps(rated(f"question {number}", f"{number} " + "x" * 1000, number % 3 == 0)) + "\n")
    stage = ReadEntries(EntryParameters(kind="preferences"))
    counted = 0
    with path.open("rb") as stream:
        tracemalloc.start()
        try:
            for table in stage.tables(stream, "a.jsonl", path.stat().st_size, "shard"):
                counted += table.num_rows
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert counted == 50_000
    assert peak < 30e6, f"{peak:,} bytes"
