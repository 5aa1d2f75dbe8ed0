from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.domain import read_labelled
from curation.domain.labelled import Labelled, LabelledSet, _divide
from curation.errors import InputError


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(text)
    return path


def rows_of(label: object, count: int, start: int = 0) -> list[dict[str, object]]:
    return [{"text": f"{label} number {number}", "label": label} for number in range(start, start + count)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_formats(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [*rows_of("x", 20), *rows_of("y", 30)])
    found = read_labelled([path])
    assert found.labels == ("x", "y")
    assert [len(found.training), len(found.held_out)] == [45, 5]
    by_label = [document.label for document in found.held_out]
    assert [by_label.count("x"), by_label.count("y")] == [2, 3]
    texts = {document.text for document in [*found.training, *found.held_out]}
    assert texts == {str(row["text"]) for row in [*rows_of("x", 20), *rows_of("y", 30)]}


def test_numbers_and_other_field_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [{"body": f"t{n}", "class": n % 2} for n in range(8)])
    assert read_labelled([path], text_field="body", label_field="class").labels == ("0", "1")


def test_order_and_files_do_not_matter(tmp_path: Path) -> None:
    rows = [*rows_of("x", 40), *rows_of("y", 40)]
    one = read_labelled([write(tmp_path / "one.jsonl", rows)], max_per_label=30)
    halves = [write(tmp_path / "b.jsonl", rows[::-2]), write(tmp_path / "c.jsonl.gz", rows[-2::-2])]
    assert read_labelled(halves, max_per_label=30) == one
    assert one.over_limit == 20
    # A smaller limit takes from what a larger one took.
    fewer = read_labelled(halves, max_per_label=10)
    assert set(fewer.training + fewer.held_out) < set(one.training + one.held_out)


def test_duplicates_and_conflicts(tmp_path: Path) -> None:
    rows = [*rows_of("x", 5), *rows_of("x", 3), *rows_of("y", 5), {"text": "y number 4", "label": "x"}]
    found = read_labelled([write(tmp_path / "a.jsonl", rows)])
    texts = [document.text for document in [*found.training, *found.held_out]]
    assert len(texts) == len(set(texts)) == 9
    assert "y number 4" not in texts
    assert (found.duplicates, found.conflicting) == (3, 2)
    assert len(texts) + found.duplicates + found.conflicting == len(rows)


def test_label_map(tmp_path: Path) -> None:
    rows = [*rows_of("sport", 4), *rows_of("体育", 4), *rows_of("科技", 4), *rows_of("junk", 2)]
    path = write(tmp_path / "a.jsonl", rows)
    names = {"sport": "sports", "体育": "sports", "科技": "technology", "junk": None}
    found = read_labelled([path], label_map=names)
    assert found.labels == ("sports", "technology")
    assert len(found.training) + len(found.held_out) == 12
    assert found.left_out == 2
    with pytest.raises(InputError, match=r"lacks 'sport'; did you mean 'sports'") as raised:
        read_labelled([path], label_map={"sports": "s", "体育": "s"})
    assert raised.value.where == f"{path}:1"
    with pytest.raises(InputError, match=r"no document has the label 'sports' .*did you mean 'sport'"):
        read_labelled([path], label_map={**names, "sports": "s"})


def test_long_texts_are_told_apart_by_their_whole_text(tmp_path: Path) -> None:
    rows = [{"text": "a" * 100 + str(n), "label": str(n % 2)} for n in range(6)]
    found = read_labelled([write(tmp_path / "a.jsonl", rows)], max_characters=50)
    assert [document.text for document in [*found.training, *found.held_out]] == ["a" * 50] * 6


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
    st.none() | st.integers(2, 12),
)
def test_every_label_is_in_both_parts(labels: list[str], share: float, limit: int | None) -> None:
    documents = [Labelled(bytes([number]), str(number), label) for number, label in enumerate(labels)]
    found = LabelledSet(())
    counts = {label: labels.count(label) for label in set(labels)}
    if len(counts) < 2 or min(counts.values()) < 2:
        with pytest.raises(InputError):
            _divide(found, documents, share, limit)
        return
    _divide(found, documents, share, limit)
    assert not set(found.training) & set(found.held_out)
    assert {document.label for document in found.training} == set(counts)
    assert {document.label for document in found.held_out} == set(counts)
    taken = sum(min(count, limit or count) for count in counts.values())
    assert len(found.training) + len(found.held_out) == taken
    assert found.over_limit == len(labels) - taken
    assert found.training == sorted(found.training, key=lambda document: document.digest)


GOOD = [*rows_of("x", 3), *rows_of("y", 3)]


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        ([*GOOD, {"txt": "t", "label": "x"}], 7, "no field 'text'; did you mean 'txt'"),
        ([*GOOD, {"text": "t", "labels": ["x"]}], 7, "no field 'label'; did you mean 'labels'"),
        ([*GOOD, {"text": " \n", "label": "x"}], 7, "the text is empty"),
        ([*GOOD, {"text": None, "label": "x"}], 7, "must be a text"),
        ([{"text": "t", "label": ["x", "y"]}], 1, "needs one label"),
        ([{"text": "t", "label": None}], 1, "must be a label"),
        ([{"text": "t", "label": True}], 1, "must be a label"),
        ([{"text": "t", "label": ""}], 1, "must be a label"),
        ([{"text": "t", "label": 1.5}], 1, "must be a label"),
        ([["text"]], 1, "a JSON object"),
    ],
)
def test_bad_documents_are_named_with_their_line(
    tmp_path: Path, rows: list[dict[str, object]], line: int, message: str
) -> None:
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=message) as raised:
        read_labelled([path])
    assert raised.value.where == f"{path}:{line}"


def test_bad_files(tmp_path: Path) -> None:
    cases = {
        "none.jsonl": (None, "no such file"),
        "a.csv": (b"text,label", "is read from"),
        "broken.jsonl": (b'{"text": ', "not JSON"),
        "broken.jsonl.gz": (gzip.compress(b'{"text": "a", "label": "x"}\n' * 99)[:-9], "cannot be read"),
        "broken.parquet": (b"PAR1", "cannot be read"),
    }
    for name, (content, message) in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as raised:
            read_labelled([tmp_path / name])
        assert raised.value.where
        assert name in raised.value.where
    path = write(tmp_path / "a.parquet", [*GOOD, {"text": "", "label": "x"}])
    with pytest.raises(InputError, match="text is empty") as raised:
        read_labelled([path])
    assert raised.value.where == f"{path}: row 7"


def test_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no labelled files"):
        read_labelled([])
    with pytest.raises(InputError, match="at least two labels, the documents have the label 'x'"):
        read_labelled([write(tmp_path / "a.jsonl", rows_of("x", 9))])
    with pytest.raises(InputError, match="have no label"):
        read_labelled([write(tmp_path / "b.jsonl", [])])
    with pytest.raises(InputError, match="the label 'z' has one document"):
        read_labelled([write(tmp_path / "c.jsonl", [*GOOD, *rows_of("z", 1), *rows_of("z", 1)])])
    for wrong in ({"max_per_label": 1}, {"held_out_share": 0.0}, {"held_out_share": 1.0}):
        with pytest.raises(InputError):
            read_labelled([write(tmp_path / "d.jsonl", GOOD)], **wrong)
