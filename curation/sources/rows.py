"""Records out of the rows of line and table formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from curation.record import Record
from curation.sources.dates import normalise_date
from curation.sources.options import SourceOptions


def fill_document(record: Record, row: Mapping[str, Any], options: SourceOptions) -> Record:
    """Fill a record from a row; ``missing-text``, ``text-not-a-string`` or ``invalid-utf8`` if it has no text.

    Args:
        record: with its place; is changed and returned.
        row: values by key or column.
    """
    record.record_id = _identifier(row.get(options.id_field or "id"))
    record.url = _string(row.get(options.url_field or "url"))
    record.crawl_date = normalise_date(row.get(options.date_field or "date"))
    if options.whole:
        return _fill_whole(record, row)
    field = options.html_field or options.text_field
    value = row.get(field)
    if value is None:
        detail = f"{field} is null" if field in row else f"no {field}"
        return failed(record, "missing-text", detail)
    if not isinstance(value, str | bytes):
        return failed(record, "text-not-a-string", f"{field} is of type {type(value).__name__}")
    if options.html_field:
        record.content_type = "text/html"
        if isinstance(value, str):
            record.content, record.charset = value.encode("utf-8", "replace"), "utf-8"
        else:
            record.content = value
        return record
    try:
        record.text = value if isinstance(value, str) else value.decode("utf-8")
    except UnicodeDecodeError as error:
        return failed(record, "invalid-utf8", f"byte {error.start} of {field}")
    return record


def _fill_whole(record: Record, row: Mapping[str, Any]) -> Record:
    """All of the row as JSON; values that JSON has no word for as their text."""
    try:
        record.text = json.dumps(row, ensure_ascii=False, default=str)
    except (ValueError, TypeError, RecursionError) as error:
        return failed(record, "malformed-row", f"the row cannot be written as JSON: {type(error).__name__}")
    return record


def failed(record: Record, error_class: str, error_detail: str) -> Record:
    """The record with an error."""
    record.error_class, record.error_detail = error_class, error_detail
    return record


def _identifier(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _string(value: Any) -> str | None:
    return value or None if isinstance(value, str) else None
