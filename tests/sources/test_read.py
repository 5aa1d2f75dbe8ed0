"""The stage ``read``: its parameters, and which records become documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curation.batch import Batch
from curation.read import Read, ReadParameters
from curation.stage import decide
from pipelines.inputs import find_shards
from pipelines.mill import read_shard
from pipelines.plan import make_plan
from pipelines.recipe import load_recipe
from tests.sources.archives import http, member, read, warc

KIB, GIB = 1 << 10, 1 << 30


@pytest.mark.parametrize(
    ("name", "fine", "wrong"),
    [
        ("http_status", [100, 200, 599], [99, 600, 0, -1, "ok"]),
        ("max_record_bytes", [KIB, GIB], [KIB - 1, GIB + 1, 0, -5]),
        ("media_types", [["text/html"], ["no-type"]], [[], [""], ["text/html; charset=utf-8"], ["text/html,a/b"]]),
    ],
)
def test_ranges(name: str, fine: list[Any], wrong: list[Any]) -> None:
    for value in fine:
        assert ReadParameters(**{name: value}).model_dump(mode="json")[name] == value
    for value in wrong:
        with pytest.raises(ValidationError) as caught:
            ReadParameters(**{name: value})
        (error,) = caught.value.errors()
        assert error["loc"][0] == name


def test_media_types_are_compared_as_they_are_written_in_records() -> None:
    parameters = ReadParameters(media_types=(" Text/HTML ", "application/PDF"))
    assert parameters.media_types == ("text/html", "application/pdf")
    assert verdicts(warc("response", http(b"x", "Content-Type: TEXT/html")), parameters) == [None]
    assert verdicts(warc("response", http(b"x", "Content-Type: text/plain")), parameters) == ["media-type"]


def verdicts(data: bytes, parameters: ReadParameters) -> list[str | None]:
    """For each record of a WARC file its error class, else the first rule that it fails, else None."""
    stage = Read(parameters)
    (table,) = stage.batches(read(data, "a.warc"), "0" * 32)
    batch = Batch(table)
    measured = stage.measure(batch)
    rules = stage.rules()
    first = decide(rules, measured.columns, len(batch)).first
    return [
        measured.errors[row].error_class if row in measured.errors else rules[rule].name if rule >= 0 else None
        for row, rule in enumerate(first)
    ]


MESSAGE = "Content-Type: application/http; msgtype=response"


def test_response_without_an_http_header_is_untyped() -> None:
    page = warc("response", b"<html><p>text</p></html>", MESSAGE)
    (record,) = read(page, "a.warc")
    assert (record.content, record.content_type, record.http_status) == (b"<html><p>text</p></html>", None, None)
    assert verdicts(page, ReadParameters()) == [None]
    assert verdicts(page, ReadParameters(untyped=False)) == ["media-type"]
    # What the record itself says of its payload stands, and so does the type of what is no payload.
    assert verdicts(warc("response", b"192.0.2.1\r\n", "Content-Type: text/dns"), ReadParameters()) == ["media-type"]
    request = warc("request", b"GET / HTTP/1.1\r\n\r\n", "Content-Type: application/http; msgtype=request")
    assert [record.content_type for record in read(request, "a.warc")] == ["application/http"]


# --- the limit reaches every format

LONG, SHORT = "long " * 1000, "short"


def shard_of(folder: Path, format_: str) -> Path:
    """A shard with a document of 5,000 bytes and one of 5."""
    path = folder / f"shard.{format_}"
    rows = [{"text": LONG}, {"text": SHORT}]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if format_ == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif format_.startswith("jsonl"):
        path.write_bytes(member(lines) if format_.endswith("gz") else lines)
    else:
        path.write_bytes(b"".join(warc("resource", row["text"].encode(), "Content-Type: text/plain") for row in rows))
    return path


@pytest.mark.parametrize(
    ("format_", "error"),
    [
        ("warc", "record-too-large"),
        ("jsonl", "line-too-long"),
        ("jsonl.gz", "line-too-long"),
        ("parquet", "row-too-large"),
    ],
)
def test_one_limit_for_documents_of_every_format(format_: str, error: str, tmp_path: Path) -> None:
    shards = find_shards([str(shard_of(tmp_path, format_))])
    for limit, errors in ((4000, [error, None]), (6000, [None, None])):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            f"name: r\nread: {{max_record_bytes: {limit}}}\nstages: [{{stage: extraction}}]\ndeduplication: null\n"
        )
        (table,) = read_shard(make_plan(load_recipe(recipe), shards), shards[0])
        assert table.column("error_class").to_pylist() == errors
