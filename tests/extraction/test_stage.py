"""The extraction stage in a pipeline."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from curation.batch import Batch
from curation.errors import DocumentError
from curation.extraction import Extraction
from curation.record import Record
from curation.stage import decide

ROWS = [
    {"content": b"<title>One</title><p>Hello", "content_type": "text/html", "declared_charset": None, "text": None},
    {"content": None, "content_type": None, "declared_charset": None, "text": "ready\r\ntext\0"},
    {"content": b"x" * 2000, "content_type": "text/plain", "declared_charset": "utf-8", "text": None},
    {"content": "прив".encode("cp1251"), "content_type": "text/plain", "declared_charset": "cp1251", "text": None},
    {"content": b"<script>1</script>", "content_type": "text/html", "declared_charset": None, "text": None},
    {"content": b"%PDF-1.7", "content_type": "text/html", "declared_charset": None, "text": None},
    {"content": None, "content_type": None, "declared_charset": None, "text": None},
]
SCHEMA = pa.schema(
    [
        ("content", pa.large_binary()),
        ("content_type", pa.string()),
        ("declared_charset", pa.string()),
        ("text", pa.large_string()),
    ]
)


@pytest.mark.parametrize("guard", ["process", "none"])
def test_measures(guard: str) -> None:
    stage = Extraction(Extraction.Parameters(guard=guard, max_html_bytes=1000))
    measured = stage.measure(Batch(pa.Table.from_pylist(ROWS, schema=SCHEMA)))
    assert measured.text is not None
    assert measured.text.type == pa.large_string()
    assert measured.text.to_pylist() == ["Hello", "ready\ntext", "", "прив", "", "", ""]
    assert {row: error.error_class for row, error in measured.errors.items()} == {
        2: "html-too-large",
        5: "binary-content",
    }
    columns = {name: column.to_pylist() for name, column in measured.columns.items()}
    assert columns == {
        "charset": ["utf-8", None, None, "windows-1251", "utf-8", None, None],
        "html_bytes": [26, None, None, 4, 18, None, None],
        "text_bytes": [5, 10, None, 8, 0, None, 0],
        "title": ["One", None, None, None, None, None, None],
    }
    assert [field.type for field in stage.schema] == [column.type for column in measured.columns.values()]
    decision = decide(stage.rules(), measured.columns, len(ROWS))
    assert decision.first.tolist() == [-1, -1, -1, -1, 0, -1, 0]
    assert (decision.value[4], decision.threshold[4]) == (0.0, 1.0)


def test_an_empty_batch() -> None:
    measured = Extraction(Extraction.Parameters()).measure(Batch(SCHEMA.empty_table()))
    assert measured.text is not None
    assert [len(column) for column in (measured.text, *measured.columns.values())] == [0] * 5


def test_records() -> None:
    stage = Extraction(Extraction.Parameters(guard="none"))
    records = [
        Record(0, 10, content=b"<p>page", content_type="text/html"),
        Record(10, 10, text="a\r\nb"),
        Record(20, 10, content=b"GIF89a", content_type="text/html"),
    ]
    page, ready, picture = stage.extract_records(records)
    assert not isinstance(page, DocumentError)
    assert not isinstance(ready, DocumentError)
    assert (page.text, page.charset, ready.text, ready.charset) == ("page", "utf-8", "a\nb", "")
    assert isinstance(picture, DocumentError)


def test_facts_name_what_decides() -> None:
    assert list(Extraction(Extraction.Parameters()).facts()) == ["resiliparse"]
    pytest.importorskip("trafilatura")
    facts = Extraction(Extraction.Parameters(engine="trafilatura")).facts()
    assert list(facts) == ["resiliparse", "trafilatura"]
    assert all(version[0].isdigit() for version in facts.values())


@pytest.mark.parametrize(
    "given", [{"engine": "lynx"}, {"cpu_seconds": 0}, {"memory_bytes": 1}, {"max_depth": 0}, {"unknown": 1}]
)
def test_parameters_are_checked(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Extraction.Parameters(**given)
