"""Labelled documents from files, without duplicates, and divided into training and held-out documents."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import InputError

PARQUET_ROWS = 1024
# A line of labelled text is no longer than this; a file without line ends must not fill the memory.
MAX_LINE_BYTES = 64 << 20


@dataclass(frozen=True)
class Labelled:
    """One document: the digest of its whole text, its text (a prefix, if it is long), its label."""

    digest: bytes
    text: str
    label: str


@dataclass
class LabelledSet:
    """What ``read_labelled`` found.

    Attributes:
        labels: sorted.
        training, held_out: documents in the order of their digests; each label has some in both.
        duplicates: documents left out since an equal text with the same label was there.
        conflicting: documents left out since an equal text had another label.
        left_out: documents whose label the label map leaves out.
        over_limit: documents left out by ``max_per_label``.
    """

    labels: tuple[str, ...]
    training: list[Labelled] = field(default_factory=list)
    held_out: list[Labelled] = field(default_factory=list)
    duplicates: int = 0
    conflicting: int = 0
    left_out: int = 0
    over_limit: int = 0


def read_labelled(
    paths: Sequence[str | Path],
    *,
    text_field: str = "text",
    label_field: str = "label",
    label_map: Mapping[str, str | None] | None = None,
    held_out_share: float = 0.1,
    max_per_label: int | None = None,
    max_characters: int = 1 << 20,
) -> LabelledSet:
    """Read JSONL (plain or gzip) and Parquet files of labelled text.

    Documents with equal texts count once; where their labels differ, none of them counts.  So no text can
    be in training and held out.  Which documents are held out, and which are taken where there are more than
    ``max_per_label``, follows from the SHA-256 of the text: not from the order of documents or files, nor
    from any seed.  Of each label the share is rounded, but at least one document is held out and one is not.

    Args:
        paths: ``.jsonl``, ``.jsonl.gz``, ``.json``, ``.parquet``; the ending decides.
        text_field, label_field: columns.  A label is a string or a whole number.
        label_map: new name for each label that occurs; None leaves its documents out.
        held_out_share: above 0, below 1.
        max_per_label: greatest number of documents of a label, held-out ones included.
        max_characters: of each text, so many characters are kept in memory.

    Raises:
        InputError: with file and line (row) for a missing file or field, an empty text, an unusable label;
            for labels that do not fit ``label_map``; for fewer than two labels, or a label with one document.
    """
    if not paths:
        raise InputError("no labelled files are given")
    if not 0 < held_out_share < 1:
        raise InputError("held_out_share must lie between 0 and 1")
    if max_per_label is not None and max_per_label < 2:
        raise InputError("max_per_label must be at least 2: one document for training, one held out")
    renaming = _Renaming(label_map)
    found = LabelledSet(())
    by_digest: dict[bytes, Labelled] = {}
    conflicts: Counter[bytes] = Counter()
    for path in paths:
        for where, row in _rows(Path(path), (text_field, label_field)):
            text, given = _text(row, text_field, where), _label(row, label_field, where)
            label = renaming(given, where)
            if label is None:
                found.left_out += 1
                continue
            document = Labelled(hashlib.sha256(text.encode("utf-8", "replace")).digest(), text[:max_characters], label)
            first = by_digest.setdefault(document.digest, document)
            if document.digest in conflicts or first.label != label:
                conflicts[document.digest] += 1
            elif first is not document:
                found.duplicates += 1
    renaming.check_all_used()
    found.conflicting = len(conflicts) + conflicts.total()
    documents = [by_digest[digest] for digest in sorted(by_digest) if digest not in conflicts]
    _divide(found, documents, held_out_share, max_per_label)
    return found


def _divide(found: LabelledSet, documents: Sequence[Labelled], share: float, limit: int | None) -> None:
    """Fill the parts of ``found`` from documents in the order of their digests."""
    by_label: dict[str, list[Labelled]] = {}
    for document in documents:
        by_label.setdefault(document.label, []).append(document)
    if len(by_label) < 2:
        only = f"the label {next(iter(by_label))!r}" if by_label else "no label"
        raise InputError(f"a classifier needs at least two labels, the documents have {only}")
    found.labels = tuple(sorted(by_label))
    for label in found.labels:
        of_label = by_label[label][:limit]
        if len(of_label) < 2:
            raise InputError(f"the label {label!r} has one document; at least two different ones are needed")
        found.over_limit += len(by_label[label]) - len(of_label)
        held_out = min(max(1, round(share * len(of_label))), len(of_label) - 1)
        found.held_out += of_label[:held_out]
        found.training += of_label[held_out:]
    found.held_out.sort(key=lambda document: document.digest)
    found.training.sort(key=lambda document: document.digest)


class _Renaming:
    """A label map that has a word for every label, and nothing that never occurs."""

    def __init__(self, names: Mapping[str, str | None] | None) -> None:
        self._names = names
        self._seen: set[str] = set()

    def __call__(self, label: str, where: str) -> str | None:
        if self._names is None:
            return label
        if label not in self._names:
            raise InputError(
                f"the label map lacks {label!r}{_near(label, self._names)} (null leaves a label out)",
                where,
            )
        self._seen.add(label)
        return self._names[label]

    def check_all_used(self) -> None:
        for label in self._names or ():
            if label not in self._seen:
                raise InputError(f"no document has the label {label!r} of the label map{_near(label, self._seen)}")


def _rows(path: Path, fields: tuple[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each document of a file with its place."""
    if not path.is_file():
        raise InputError("no such file of labelled text", str(path))
    name = path.name.lower()
    if name.endswith(".parquet"):
        yield from _parquet_rows(path, fields)
    elif name.endswith((".jsonl", ".json", ".jsonl.gz", ".json.gz")):
        yield from _json_rows(path, fields)
    else:
        raise InputError("labelled text is read from .jsonl, .jsonl.gz and .parquet", str(path))


def _json_rows(path: Path, fields: tuple[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                where = f"{path}:{number}"
                if len(line) == MAX_LINE_BYTES:
                    raise InputError(f"the line is longer than {MAX_LINE_BYTES:,} bytes", where)
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise InputError(f"not JSON: {error}", where) from None
                if not isinstance(row, dict):
                    raise InputError("each line must be a JSON object", where)
                _check_fields(fields, list(row), where)
                yield where, row
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None


def _parquet_rows(path: Path, fields: tuple[str, str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with pq.ParquetFile(path) as file:
            _check_fields(fields, file.schema_arrow.names, str(path))
            number = 0
            for batch in file.iter_batches(PARQUET_ROWS, columns=list(dict.fromkeys(fields))):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None


def _check_fields(fields: Sequence[str], present: Sequence[str], where: str) -> None:
    for name in fields:
        if name not in present:
            raise InputError(
                f"there is no field {name!r}{_near(name, present)} (there are {', '.join(present)})", where
            )


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise InputError(f"the field {name!r} must be a text", where)
    if not value.strip():
        raise InputError("the text is empty", where)
    return value


def _label(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row[name]
    if isinstance(value, list):
        raise InputError(f"the field {name!r} is a list; each document needs one label", where)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"the field {name!r} must be a label: a text or a whole number", where)
    return str(value).strip()


def _near(name: str, known: Any) -> str:
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
