"""Reading plain corpora for fitting: documents in, units of a page's length out."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError

UNIT_CHARACTERS = 8192  # longer documents are cut: a book is not one sample of how a page reads
_ROWS_AT_ONCE = 4096
_SUFFIXES = (".jsonl", ".jsonl.gz", ".txt", ".txt.gz", ".parquet")


def read_documents(path: Path) -> Iterator[str]:
    """The documents of a corpus file, in its order.

    ``.jsonl[.gz]``: the field ``text`` of each line.  ``.txt[.gz]``: paragraphs between blank lines.
    ``.parquet``: the column ``text``; null is skipped.  Text is UTF-8.

    Raises:
        InputError: no such file, another format, or content that is not what the format says.
    """
    if not path.is_file():
        raise InputError("no such corpus file", where=str(path))
    kind = next((suffix for suffix in _SUFFIXES if path.name.endswith(suffix)), None)
    if kind is None:
        raise InputError(f"a corpus is one of {', '.join(_SUFFIXES)}", where=str(path))
    try:
        if kind == ".parquet":
            yield from _parquet(path)
        else:
            with _open_text(path) as stream:
                yield from _jsonl(path, stream) if kind.startswith(".jsonl") else _paragraphs(stream)
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"cannot read it: {error}", where=str(path)) from error


def units(document: str, size: int = UNIT_CHARACTERS) -> Iterator[str]:
    """Consecutive parts of a document, at most ``size`` characters each, cut at line ends where it can be."""
    start = 0
    while len(document) - start > size:
        line_end = document.rfind("\n", start, start + size)
        stop = line_end + 1 if line_end > start else start + size
        yield document[start:stop]
        start = stop
    if start < len(document):
        yield document[start:]


def _open_text(path: Path) -> TextIOWrapper:
    if path.name.endswith(".gz"):
        return TextIOWrapper(cast(BinaryIO, gzip.open(path, "rb")), encoding="utf-8")
    return open(path, encoding="utf-8")


def _jsonl(path: Path, stream: TextIOWrapper) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        if line.isspace():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = None
        if not isinstance(text, str):
            raise InputError('not a JSON object with a string "text"', where=f"{path}:{number}")
        yield text.encode("utf-8", "replace").decode()  # JSON can spell lone surrogates


def _paragraphs(stream: TextIOWrapper) -> Iterator[str]:
    lines: list[str] = []
    for line in stream:
        if not line.isspace():
            lines.append(line)
        elif lines:
            yield "".join(lines)
            lines = []
    if lines:
        yield "".join(lines)


def _parquet(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        if "text" not in file.schema_arrow.names:
            raise InputError("it has no column 'text'", where=str(path))
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["text"]):
            for text in batch.column(0).cast(pa.large_string()).to_pylist():
                if text is not None:
                    yield text
