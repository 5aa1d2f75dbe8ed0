"""A JSON array is read element by element: as ``json`` has them, tiling the file, damage costing what it hit."""

from __future__ import annotations

import gzip
import io
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.record import Record
from curation.sources import ReadLimits, SourceOptions, check_tiling, read_records

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SPACE = st.text(" \t\r\n", max_size=3)


def read(data: bytes, name: str = "a.json", limit: int = 1 << 20) -> list[Record]:
    limits = ReadLimits(max_record_bytes=limit, max_line_bytes=limit, max_row_bytes=limit)
    records = list(read_records(io.BytesIO(data), name, len(data), limits, SourceOptions()))
    if not name.endswith(".gz"):
        assert check_tiling([(r.offset, r.length, r.inner_offset) for r in records], len(data)) is None
    return records


def texts(records: list[Record]) -> list[str | None]:
    return [record.text for record in records if record.error_class is None]


@given(
    st.lists(st.tuples(TEXTS, VALUES), min_size=1, max_size=8), st.lists(SPACE, min_size=4, max_size=4), st.booleans()
)
def test_elements_are_those_of_json(rows: list[tuple[str, Any]], spaces: list[str], escaped: bool) -> None:
    head, before, after, tail = spaces
    objects = [{"text": text, "more": more} for text, more in rows]
    inner = f"{before},{after}".join(json.dumps(one, ensure_ascii=escaped) for one in objects)
    data = f"{head}[{before}{inner}{after}]{tail}".encode()
    assert json.loads(data) == objects
    records = read(data)
    assert [record.text for record in records] == [text for text, _ in rows]
    for record, one in zip(records, objects, strict=True):  # the range holds the element and no other
        own = data[record.offset : record.offset + record.length].decode().strip(" \t\r\n,[")
        found, _ = json.JSONDecoder().raw_decode(own)
        assert found == one


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_file_of_many_pieces(packed: bool, bom: bytes) -> None:
    chance = random.Random(1)
    objects = [{"text": f"{n} " + 'word {"[\\ ' * chance.randrange(400), "n": n} for n in range(3000)]
    data = bom + json.dumps(objects, indent=chance.choice([None, 1])).encode()
    name = "a.json.gz" if packed else "a.json"
    records = read(gzip.compress(data) if packed else data, name)
    assert [record.text for record in records] == [one["text"] for one in objects]


@given(st.data())
def test_damage_costs_the_element_that_it_hit(data: st.DataObject) -> None:
    """A byte of structure is overwritten inside of one element; its neighbours are read as before."""
    objects = [
        {"text": f"t{n}", "turns": [{"from": "a", "value": f"v{n}"}, {"from": "b", "value": "w"}]} for n in range(7)
    ]
    raw = [json.dumps(one).encode() for one in objects]
    hit = data.draw(st.integers(1, 5))
    places = [place for place, byte in enumerate(raw[hit]) if byte in b'{}[]":,' and place > 0]
    place = data.draw(st.sampled_from(places))
    raw[hit] = raw[hit][:place] + data.draw(st.sampled_from([b"", b"#", b"}", b'"', b"]"])) + raw[hit][place + 1 :]
    records = read(b"[" + b",\n".join(raw) + b"]")
    good = texts(records)
    expected = [one["text"] for one in objects]
    try:
        json.loads(raw[hit])
    except ValueError:
        lost = set(expected) - set(good)
        assert lost <= {expected[hit], expected[hit + 1]} and expected[hit] in lost
        assert any(record.error_class == "malformed-json" for record in records)
    assert [text for text in good if text in expected] == good


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (b"[]", ["empty-file"]),
        (b" [ \n ] ", ["empty-file"]),
        (b"[", ["truncated"]),
        (b'[{"text": "a"}', [None, "truncated"]),
        (b'[{"text": "a"},', [None, "truncated"]),
        (b'[{"text": "a"}, {"text": "b', [None, "truncated"]),
        (b'[{"text": "a"}] x', [None, "malformed-json"]),
        (b'[{"text": "a"}][{"text": "b"}]', [None, "malformed-json"]),
        (b'[1, "a, b", [{"text": "x"}], null, {"text": "a"}]', ["not-an-object"] * 4 + [None]),
        (b'[{"text": 1}, {"x": 1}]', ["text-not-a-string", "missing-text"]),
        (b'[{"text": "a"} {"text": "b"}]', ["malformed-json"]),
        (b'[{"text": "\xff"}, {"text": "b"}]', ["invalid-utf8", None]),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_name(data: bytes, classes: list[str | None]) -> None:
    assert [record.error_class for record in read(data)] == classes


def test_an_element_that_is_too_long_is_passed_over() -> None:
    objects = [{"text": "a"}, {"text": "b" * 5000}, {"text": "c"}]
    records = read(json.dumps(objects).encode(), limit=1000)
    assert [(r.text, r.error_class) for r in records] == [("a", None), (None, "line-too-long"), ("c", None)]


def test_a_cut_gzip_file_keeps_what_came_before() -> None:
    objects = [{"text": f"{n} {random.Random(n).random()}"} for n in range(5000)]
    whole = gzip.compress(json.dumps(objects).encode())
    records = read(whole[: len(whole) // 2], "a.json.gz")
    good = texts(records)
    assert good == [one["text"] for one in objects[: len(good)]] and 1000 < len(good) < 4000
    assert records[-1].error_class in ("truncated", "gzip-damaged")


def test_lines_stay_lines() -> None:
    assert texts(read(b'{"text": "a"}\n{"text": "b"}\n', "a.json")) == ["a", "b"]
    assert [r.error_class for r in read(b'[{"text": "a"}]\n', "a.jsonl")] == ["not-an-object"]


def test_real_files_are_read_whole(real_data: Any) -> None:
    for path in sorted([*(real_data / "preferences").glob("*.json.gz"), *(real_data / "sft").glob("*.json.gz")]):
        whole = json.loads(gzip.decompress(path.read_bytes()))
        records = read(path.read_bytes(), path.name)
        assert len(records) == len(whole)
        assert {record.error_class for record in records} <= {None, "missing-text"}
