"""Benchmark files, good and bad."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from curation.decontamination.benchmark import Fields, read_benchmark
from curation.errors import InputError
from tests.support.corpus import write_jsonl

KNOWN = [
    ({"question": "q", "answer": "a"}, ("q", "a")),
    ({"task_id": "t", "prompt": "p", "canonical_solution": "s", "test": "x"}, ("p\ns",)),
    ({"subject": "s", "Question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "A"}, ("q\n1\n2\n3\n4",)),
    ({"passage": "p", "question": "q", "options": ["1", "2"], "answer": None}, ("p\nq\n1\n2", "q\n1\n2")),
    ({"passage": None, "question": "q", "options": ["1", "2"]}, ("q\n1\n2",)),
    ({"question": "q", "subject": "s", "choices": ["1", "2"], "answer": 1}, ("q\n1\n2",)),
    ({"id": 7, "title": "t", "tags": ["x"], "body": "b"}, ("t\nb",)),
]


@pytest.mark.parametrize(("item", "texts"), KNOWN)
def test_texts_of_known_benchmarks(tmp_path: Path, item: dict, texts: tuple[str, ...]) -> None:
    for name in ("plain.jsonl", "packed.jsonl.gz"):
        assert read_benchmark("b", write_jsonl(tmp_path / name, [item])).items == (texts,)


@pytest.mark.parametrize(
    ("fields", "texts"),
    [((("a",),), ("1",)), ((("b", "a"),), ("x\ny\n1",)), ((("a",), ("b",), ("a",)), ("1", "x\ny"))],
)
def test_named_fields(tmp_path: Path, fields: Fields, texts: tuple[str, ...]) -> None:
    path = write_jsonl(tmp_path / "b.jsonl", [{"a": "1", "b": ["x", "y"], "c": 3}])
    assert read_benchmark("b", path, fields).items == (texts,)


def test_blank_lines_and_byte_order_mark_count_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "1"}\r\n\r\n  \n{"a": "2"}')
    assert read_benchmark("b", path).items == (("1",), ("2",))


def test_the_same_file_is_read_once_and_a_changed_one_again(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "b.jsonl", [{"a": "1"}])
    first = read_benchmark("b", path)
    assert read_benchmark("b", path) is first
    write_jsonl(path, [{"a": "22"}])
    os.utime(path, ns=(1, 1))
    assert read_benchmark("b", path).items == (("22",),)
    assert read_benchmark("b", path).digest != first.digest


GOOD = json.dumps({"question": "q", "answer": "a"})
BAD = [
    (f"{GOOD}\n{{oops\n", 2, "not JSON; a benchmark is a file of JSON lines"),
    (f"[\n{GOOD}\n]", 1, "not JSON"),
    (f"{GOOD}\n\n[1, 2]\n", 3, "an item is a JSON object, not a list"),
    ('"text"', 1, "not a string"),
    ("null", 1, "not null"),
    ("true", 1, "not a boolean"),
    (f'{GOOD}\n{{"question": 5, "answer": "a"}}', 2, "'question' is a number; expected is a string"),
    (f'{GOOD}\n{{"question": {{}}, "answer": "a"}}', 2, "'question' is an object"),
    (f'{GOOD}\n{{"question": ["x", 1], "answer": "a"}}', 2, "'question' is a list"),
    (f'{GOOD}\n{{"question": "q"}}', 2, "no field 'answer'; it has 'question'"),
    (f'{GOOD}\n{{"question": " ", "answer": ""}}', 2, "no text in question, answer"),
    ('{"id": 1, "label": [2]}', 1, "no text at all; name its text fields with 'fields'"),
    ("{}", 1, "no text at all"),
    (f'{GOOD}\n{{"question": "\\ud800", "answer": "a"}}', 2, "not valid Unicode"),
    (b'{"question": "\xff"}', 1, "not valid Unicode"),
    ("[" * 100_000, 1, "not JSON"),
]


@pytest.mark.parametrize(("content", "line", "message"), BAD, ids=lambda value: str(value)[:20])
def test_bad_files_are_named_with_the_line(tmp_path: Path, content: str | bytes, line: int, message: str) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    for name, written in (("b.jsonl", data), ("b.jsonl.gz", gzip.compress(data))):
        (tmp_path / name).write_bytes(written)
        with pytest.raises(InputError) as caught:
            read_benchmark("maths", tmp_path / name)
        assert caught.value.where == f"{(tmp_path / name).resolve()}:{line}"
        assert caught.value.message.startswith(f"benchmark 'maths', line {line}: ")
        assert message in caught.value.message


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"", mtime=0)])
def test_an_empty_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="'maths' has no items: the file is empty"):
        read_benchmark("maths", tmp_path / "b.jsonl")


@pytest.mark.parametrize("cut", [lambda data: data[:-12], lambda data: data[:20] + b"\0\0\0\0" + data[24:]])
def test_damaged_gzip(tmp_path: Path, cut: object) -> None:
    data = gzip.compress("".join(f'{{"a": "{number * 7919}"}}\n' for number in range(500)).encode())
    (tmp_path / "b.jsonl.gz").write_bytes(cut(data))  # type: ignore[operator]
    with pytest.raises(InputError, match="'maths' cannot be read: its gzip data is damaged"):
        read_benchmark("maths", tmp_path / "b.jsonl.gz")


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.jsonl", tmp_path / ("n" * 300)):
        with pytest.raises(InputError, match="benchmark 'maths'"):
            read_benchmark("maths", path)
