"""Benchmark files: JSON lines, one item each, and the texts of an item by which it is recognised."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation.errors import InputError

Fields = tuple[tuple[str, ...], ...]

# Texts of items whose fields are known, by the fields that tell: joined within one text, apart between two.  What
# pages show apart is apart: a question without its solution, a question without the passage it is about.
KNOWN: tuple[tuple[tuple[str, ...], Fields], ...] = (
    (("passage", "question", "options"), (("passage", "question", "options"), ("question", "options"))),  # AGIEval
    (("Question", "A", "B", "C", "D"), (("Question", "A", "B", "C", "D"),)),  # CMMLU
    (("question", "choices"), (("question", "choices"),)),  # MMLU
    (("prompt", "canonical_solution"), (("prompt", "canonical_solution"),)),  # HumanEval
    (("question", "answer"), (("question",), ("answer",))),  # GSM8K
)
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A benchmark as read; the same file read twice is the same object.

    Attributes:
        digest: SHA-256 of the file, in hexadecimal.
        items: the texts of each item, in order.
    """

    digest: str
    items: tuple[tuple[str, ...], ...]


def read_benchmark(name: str, path: Path, fields: Fields | None = None) -> Benchmark:
    """Read a file, plain or gzip; only once while its size and time of change stay.

    Args:
        name: what the recipe calls it, for messages.
        fields: for each text of an item, the names of the fields that are joined to it by newlines; None for those
            of a known benchmark, else all fields that are strings.

    Raises:
        InputError: it is not there or not JSON lines, or an item has no text; with the line.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError
        status = path.stat()
        return _read(name, str(path.resolve()), status.st_size, status.st_mtime_ns, fields)
    except FileNotFoundError:
        raise InputError(f"benchmark {name!r}: there is no such file", str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "its gzip data is damaged"
        raise InputError(f"benchmark {name!r} cannot be read: {said}", str(path)) from None


@lru_cache(maxsize=64)
def _read(name: str, path: str, size: int, changed: int, fields: Fields | None) -> Benchmark:
    data = Path(path).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    items = []
    for number, line in enumerate((gzip.decompress(data) if data.startswith(_GZIP) else data).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            item = _parsed(line)
            fields = fields or _fields_of(item)
            items.append(tuple(_texts(item, fields)))
        except ValueError as error:
            raise InputError(f"benchmark {name!r}, line {number}: {error}", f"{path}:{number}") from None
    if not items:
        raise InputError(f"benchmark {name!r} has no items: the file is empty", path)
    return Benchmark(digest, tuple(items))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        item = json.loads(line.decode("utf-8-sig"))
        json.dumps(item, ensure_ascii=False).encode()
    except UnicodeError:
        raise ValueError("not valid Unicode in UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError("not JSON; a benchmark is a file of JSON lines, one item each") from None
    if not isinstance(item, dict):
        raise ValueError(f"an item is a JSON object, not {_kind(item)}")
    return item


def _fields_of(item: dict[str, Any]) -> Fields:
    """The fields of the known benchmark that this item looks like, else none: all strings."""
    for names, fields in KNOWN:
        if all(name in item and _is_text(item[name]) for name in names):
            return fields
    return ()


def _texts(item: dict[str, Any], fields: Fields) -> Iterator[str]:
    """The texts of an item, repeats left out."""
    if fields:
        joined = ["\n".join(_pieces(item, names)) for names in fields]
    else:
        joined = ["\n".join(value for value in item.values() if isinstance(value, str))]
    texts = dict.fromkeys(text for text in joined if text.strip())
    if not texts:
        looked = f"in {', '.join(dict.fromkeys(name for names in fields for name in names))}" if fields else "at all"
        raise ValueError(f"the item has no text {looked}; name its text fields with 'fields'")
    yield from texts


def _pieces(item: dict[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name not in item:
            raise ValueError(f"the item has no field {name!r}; it has {', '.join(map(repr, item)) or 'none'}")
        value = item[name]
        if not _is_text(value):
            raise ValueError(f"the field {name!r} is {_kind(value)}; expected is a string or a list of strings")
        yield from [value] if isinstance(value, str) else value or []


def _is_text(value: Any) -> bool:
    """Whether a field can be read as text: a string, a list of strings, or null for none."""
    if isinstance(value, list):
        return all(isinstance(piece, str) for piece in value)
    return value is None or isinstance(value, str)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "null")
